package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// setPayload returns a change of a job's payload.
func setPayload(n int) func(*worker.Job) error {
	return func(job *worker.Job) error {
		job.Payload = json.RawMessage(`{"n":` + strconv.Itoa(n) + `}`)
		return nil
	}
}

// given is what handlers were given, in their order.
type given struct {
	mu      sync.Mutex
	numbers []int
}

func (g *given) all() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.numbers)
}

// handle keeps what it was given.
func (g *given) handle(_ context.Context, _ *worker.Job, p ping) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.numbers = append(g.numbers, p.N)
	return nil
}

// failOnce keeps what it was given, and fails the first attempt.
func (g *given) failOnce(ctx context.Context, job *worker.Job, p ping) error {
	_ = g.handle(ctx, job, p)
	if job.Attempt == 1 {
		return errFlaky
	}
	return nil
}

func TestEditedJobRunsAsItIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got given
		r := newRig(t, got.handle)
		client := r.pool.Client()
		job := r.enqueue(1, worker.After(time.Hour))
		require.NoError(t, client.Edit(t.Context(), job.ID, setPayload(7)))
		row := r.last(job.ID)
		assert.Equal(t, worker.StateScheduled, row.State)
		assert.JSONEq(t, `{"n":7}`, string(row.Job.Payload), "a sweep would enqueue the job as it is now")
		assert.WithinDuration(t, time.Now().Add(time.Hour), row.RunAt, time.Second)
		r.start()
		r.after(2 * time.Hour)
		assert.Equal(t, []int{7}, got.all())
		assert.Equal(t, []worker.State{worker.StateScheduled, worker.StateScheduled, worker.StateRunning, succeeded}, r.states(job.ID))
		r.stop()
	})
}

// An edit moves a job to another time, and the status follows.
func TestEditMovesAJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got given
		r := newRig(t, got.handle)
		client := r.pool.Client()
		job := r.enqueue(1)
		later := func(job *worker.Job) error { job.Delay = time.Hour; return nil }
		require.NoError(t, client.Edit(t.Context(), job.ID, later))
		assert.Equal(t, worker.StateScheduled, r.last(job.ID).State)
		r.start()
		r.after(59 * time.Minute)
		assert.Empty(t, got.all())
		tomorrow := time.Now().Add(24 * time.Hour)
		require.NoError(t, client.Edit(t.Context(), job.ID, func(job *worker.Job) error { job.RunAt = tomorrow; return nil }))
		assert.WithinDuration(t, tomorrow, r.last(job.ID).RunAt, time.Millisecond)
		r.after(23 * time.Hour)
		assert.Empty(t, got.all())
		r.after(2 * time.Hour)
		assert.Equal(t, []int{1}, got.all())
		r.stop()
	})
}

func TestRunNow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got given
		r := newRig(t, got.failOnce, func(c *worker.Config) { c.Retry.Base, c.Retry.Max = 100*time.Hour, 100*time.Hour }).start()
		client := r.pool.Client()
		job := r.enqueue(1, worker.After(time.Hour), worker.WithRetry(worker.RetryPolicy{MaxAttempts: 3, Base: 1000 * time.Hour}))
		r.after(time.Minute)
		require.NoError(t, client.RunNow(t.Context(), job.ID))
		r.after(time.Second)
		require.Equal(t, []int{1}, got.all())
		require.Equal(t, worker.StateRetrying, r.last(job.ID).State)
		require.NoError(t, client.RunNow(t.Context(), job.ID), "so does one that waits for its next attempt")
		r.after(time.Second)
		require.Equal(t, []int{1, 1}, got.all())
		row := r.last(job.ID)
		require.Equal(t, succeeded, row.State)
		require.Equal(t, 2, row.Attempt)
		finished := (*worker.FinishedError)(nil)
		require.ErrorAs(t, client.RunNow(t.Context(), job.ID), &finished)
		require.ErrorIs(t, client.RunNow(t.Context(), "nobody's"), worker.ErrJobNotFound)
		r.stop()
	})
}

func TestRunNowLeavesWhatIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1)
		require.NoError(t, r.pool.Client().RunNow(t.Context(), job.ID))
		require.Equal(t, []worker.State{worker.StateQueued}, r.states(job.ID))
	})
}

// A job that runs is nobody's to edit, and what was written about it stays.
func TestEditLeavesAJobThatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-hold; return nil }).start()
		job := r.enqueue(1)
		r.quiet()
		client := r.pool.Client()
		require.ErrorIs(t, client.Edit(t.Context(), job.ID, setPayload(7)), worker.ErrJobActive)
		require.ErrorIs(t, client.Delete(t.Context(), job.ID), worker.ErrJobActive)
		close(hold)
		r.quiet()
		require.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

// The job is claimed between the edit and its status: the status yields.
func TestEditsStatusYieldsToAClaim(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got given
		r := newRig(t, got.handle)
		job := r.enqueue(1)
		claimed := false
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].State == worker.StateQueued && !claimed {
				claimed = true
				r.start()
				r.after(time.Second)
			}
			return nil
		}
		require.NoError(t, r.pool.Client().Edit(t.Context(), job.ID, setPayload(7)))
		require.True(t, claimed)
		require.Equal(t, []int{7}, got.all())
		require.Equal(t, []worker.State{worker.StateQueued, worker.StateRunning, succeeded}, r.states(job.ID))
		r.stop()
	})
}

// editThen is a queue after whose edits something happens at once.
type editThen struct {
	*workertest.MemoryQueue
	then func()
}

func (q editThen) Edit(ctx context.Context, before, after *worker.Job, move bool) (time.Time, error) {
	due, err := q.MemoryQueue.Edit(ctx, before, after, move)
	q.then()
	return due, err
}

// The job runs already when the edit's status comes: it doesn't overrule what its worker writes.
func TestEditsStatusOverrulesNoWorker(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		var r *rig
		r = newRig(t, func(context.Context, *worker.Job, ping) error { <-hold; return nil }, func(c *worker.Config) {
			c.Queue = editThen{c.Queue.(*workertest.MemoryQueue), func() {
				r.start()
				r.after(time.Second)
			}}
		})
		job := r.enqueue(1)
		require.NoError(t, r.pool.Client().Edit(t.Context(), job.ID, setPayload(7)))
		require.Equal(t, worker.StateRunning, r.last(job.ID).State)
		close(hold)
		r.after(time.Second)
		require.Equal(t, []worker.State{worker.StateQueued, worker.StateRunning, succeeded}, r.states(job.ID))
		r.stop()
	})
}

func TestEditKeepsWhatAJobIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client := r.pool.Client()
		job := r.enqueue(1)
		for name, change := range map[string]func(*worker.Job){
			"id":      func(job *worker.Job) { job.ID = "other" },
			"type":    func(job *worker.Job) { job.Type = "other" },
			"queue":   func(job *worker.Job) { job.Queue = "other" },
			"topic":   func(job *worker.Job) { job.Topic = "other" },
			"key":     func(job *worker.Job) { job.Key = "other" },
			"payload": func(job *worker.Job) { job.Payload = json.RawMessage(`{`) },
		} {
			err := client.Edit(t.Context(), job.ID, func(job *worker.Job) error { change(job); return nil })
			require.Error(t, err, name)
		}
		refused := errors.New("no")
		require.ErrorIs(t, client.Edit(t.Context(), job.ID, func(*worker.Job) error { return refused }), refused)
		require.Len(t, r.states(job.ID), 1)
	})
}

// Of two edits at once, the slower one sees what the faster one has done.
func TestEditsSeeEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client := r.pool.Client()
		job := r.enqueue(1)
		calls := 0
		require.NoError(t, client.Edit(t.Context(), job.ID, func(job *worker.Job) error {
			if calls++; calls == 1 {
				require.NoError(t, client.Edit(t.Context(), job.ID, func(job *worker.Job) error {
					job.Headers = map[string]string{"first": "yes"}
					return nil
				}))
			}
			return setPayload(7)(job)
		}))
		require.Equal(t, 2, calls)
		info, err := r.queue.Find(t.Context(), "default", job.ID)
		require.NoError(t, err)
		require.Equal(t, "yes", info.Job.Headers["first"])
		require.JSONEq(t, `{"n":7}`, string(info.Job.Payload))
	})
}

func TestDelete(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, stored := range []bool{true, false} {
			r := newRig(t, nil, func(c *worker.Config) {
				worker.Handle(c.Registry, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) })
				if !stored {
					c.StatusStore = nil
				}
			})
			client := r.pool.Client()
			dead := r.enqueue(1)
			r.start()
			r.after(time.Second)
			r.stop()
			waiting, scheduled := r.enqueue(2), r.enqueue(3, worker.After(time.Hour))
			for _, job := range []*worker.Job{dead, waiting, scheduled} {
				require.NoError(t, client.Delete(t.Context(), job.ID))
				require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
				if stored {
					require.True(t, r.last(job.ID).State.Final())
					require.NoError(t, client.Delete(t.Context(), job.ID), "twice is once")
				} else {
					require.ErrorIs(t, client.Delete(t.Context(), job.ID), worker.ErrJobNotFound)
				}
			}
			require.ErrorIs(t, client.Delete(t.Context(), "nobody's"), worker.ErrJobNotFound)
			if stored {
				n, err := client.Sweep(t.Context())
				require.NoError(t, err)
				require.Zero(t, n)
				time.Sleep(time.Hour)
				n, err = client.Sweep(t.Context())
				require.NoError(t, err)
				require.Zero(t, n, "what was deleted is over in the store")
				require.Equal(t, worker.StateFailed, r.last(dead.ID).State)
				require.Equal(t, worker.StateCanceled, r.last(waiting.ID).State)
			}
		}
	})
}

// A dead job whose end the store doesn't have would be enqueued by a sweep once the queue has forgotten it.
func TestDeleteRecordsTheEndOfADeadJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) })
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			for _, st := range statuses {
				if st.State == worker.StateFailed {
					return worker.Permanent(errors.New("not this"))
				}
			}
			return nil
		}
		r.start()
		job := r.enqueue(1)
		r.after(time.Second)
		r.stop()
		require.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		require.False(t, r.last(job.ID).State.Final())
		require.NoError(t, r.pool.Client().Delete(t.Context(), job.ID))
		require.True(t, r.last(job.ID).State.Final())
	})
}

func TestRequeueDead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mended atomic.Bool
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			if !mended.Load() || p.N == 5 {
				return worker.Permanent(errFlaky)
			}
			return nil
		}).start()
		for n := range 250 {
			r.enqueue(n)
		}
		r.after(time.Minute)
		require.Equal(t, 250, r.queue.Count("default", worker.PlaceDead))
		mended.Store(true)
		client := r.pool.Client()
		even := func(info *worker.JobInfo) bool {
			var p ping
			require.NoError(t, json.Unmarshal(info.Job.Payload, &p))
			return p.N%2 == 0
		}
		n, err := client.RequeueDead(t.Context(), "default", even)
		require.NoError(t, err)
		require.Equal(t, 125, n)
		r.after(time.Minute)
		require.Equal(t, 125, r.queue.Count("default", worker.PlaceDead))
		n, err = client.RequeueDead(t.Context(), "default", nil)
		require.NoError(t, err)
		require.Equal(t, 125, n, "one that dies again meanwhile isn't reopened again")
		r.after(time.Minute)
		require.Equal(t, 1, r.queue.Count("default", worker.PlaceDead))
		r.stop()
	})
}

func TestPurge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client := r.pool.Client()
		var ids []string
		for n := range 250 {
			ids = append(ids, r.enqueue(n).ID)
			r.enqueue(n, worker.After(time.Hour))
		}
		n, err := client.Purge(t.Context(), "default", worker.PlaceWaiting, nil)
		require.NoError(t, err)
		require.Equal(t, 250, n)
		require.Equal(t, 250, r.queue.Count("default", worker.PlaceWaiting), "the scheduled ones")
		require.Equal(t, worker.StateCanceled, r.last(ids[0]).State)
		n, err = client.Purge(t.Context(), "default", worker.PlaceScheduled, nil)
		require.NoError(t, err)
		require.Equal(t, 250, n)
		_, err = client.Purge(t.Context(), "default", worker.PlaceHeld, nil)
		require.Error(t, err)
	})
}

// Jobs that are claimed while a purge goes on run; the others go.
func TestPurgePassesOverWhatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-hold; return nil })
		for n := range 10 {
			r.enqueue(n)
		}
		started := false
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceWaiting, func(*worker.JobInfo) bool {
			if !started {
				started = true
				r.start()
				r.after(time.Second)
			}
			return true
		})
		require.NoError(t, err)
		require.Equal(t, 6, n)
		require.Equal(t, 4, r.queue.Count("default", worker.PlaceHeld))
		close(hold)
		r.after(time.Second)
		r.stop()
	})
}

// bare is a queue without powers.
type bare struct{ worker.Queue }

func TestManagingNeedsPowers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = bare{c.Queue} })
		client := r.pool.Client()
		require.ErrorIs(t, client.Edit(t.Context(), "x", setPayload(1)), errors.ErrUnsupported)
		require.ErrorIs(t, client.RunNow(t.Context(), "x"), errors.ErrUnsupported)
		require.ErrorIs(t, client.Delete(t.Context(), "x"), errors.ErrUnsupported)
		_, err := client.RequeueDead(t.Context(), "default", nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = client.Purge(t.Context(), "default", worker.PlaceDead, nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	})
}

func TestWorkersTellTheirProcess(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, name := range []string{"", "resizer"} {
			r := newRig(t, noop, func(c *worker.Config) { c.Name = name }).start()
			activity, err := r.queue.Activity(t.Context(), "default")
			require.NoError(t, err)
			require.Len(t, activity.Workers, 1)
			host, err := os.Hostname()
			require.NoError(t, err)
			want := worker.Process{Name: name, Host: host, PID: os.Getpid(), Started: activity.Workers[0].Process.Started}
			if name == "" {
				want.Name = host + ":" + strconv.Itoa(os.Getpid())
			}
			require.Equal(t, want, activity.Workers[0].Process)
			require.WithinDuration(t, time.Now(), want.Started, time.Second)
			r.stop()
		}
		_, err := worker.NewPool(worker.Config{Backend: worker.Backend{Queue: newRig(t, noop).queue}, Name: "a\nb",
			Registry: worker.NewRegistry()})
		require.ErrorContains(t, err, "Name")
	})
}

// The version of an edit's status lies between those that were written before it and those of any later claim.
func TestBringsJob(t *testing.T) {
	for _, c := range []struct {
		phase, sequence int64
		brings          bool
	}{{0, 0, true}, {0, 3, true}, {1, 0, false}, {1, 7, false}, {2, 0, false}, {2, 1, true}, {3, 0, false}} {
		st := worker.Status{Version: 9<<14 | c.phase<<12 | c.sequence}
		require.Equal(t, c.brings, st.BringsJob(), "phase %d, sequence %d", c.phase, c.sequence)
	}
}
