package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
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

// What stores are given is theirs: a producer may go on with its job.
func TestStoresAreGivenACopy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		var saved *worker.Job
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			saved = statuses[0].Job
			return nil
		}
		job := r.enqueue(1, worker.UniqueBy("one", worker.UniquePolicy{}))
		job.Unique.Key, job.Type, job.Headers = "another", "other", map[string]string{"a": "b"}
		require.Equal(t, "one", saved.Unique.Key)
		require.Equal(t, "ping", saved.Type)
		require.Empty(t, saved.Headers)
	})
}

// editThen is a queue after whose edits something happens at once.
type editThen struct {
	*workertest.MemoryQueue
	then func()
}

func (q editThen) Edit(ctx context.Context, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
	edited, err := q.MemoryQueue.Edit(ctx, before, after, move)
	q.then()
	return edited, err
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
		job := r.enqueue(1, worker.UniqueBy("one", worker.UniquePolicy{}))
		for name, change := range map[string]func(*worker.Job){
			"id":      func(job *worker.Job) { job.ID = "other" },
			"type":    func(job *worker.Job) { job.Type = "other" },
			"queue":   func(job *worker.Job) { job.Queue = "other" },
			"topic":   func(job *worker.Job) { job.Topic = "other" },
			"key":     func(job *worker.Job) { job.Key = "other" },
			"unique":  func(job *worker.Job) { job.Unique = nil },
			"period":  func(job *worker.Job) { job.Unique.For = time.Minute },
			"payload": func(job *worker.Job) { job.Payload = json.RawMessage(`{`) },
		} {
			err := client.Edit(t.Context(), job.ID, func(job *worker.Job) error { change(job); return nil })
			require.Error(t, err, name)
			require.NotErrorIs(t, err, worker.ErrJobChanged, name)
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
		row := r.last(job.ID).Job
		require.Equal(t, "yes", row.Headers["first"], "a sweep enqueues what the row has")
		require.JSONEq(t, `{"n":7}`, string(row.Payload))
	})
}

// replaceThen is a queue after whose replacements something happens at once.
type replaceThen struct {
	*workertest.MemoryQueue
	then func(after *worker.Job)
}

func (q replaceThen) Replace(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
	place, token, err := q.MemoryQueue.Replace(ctx, before, after)
	q.then(after)
	return place, token, err
}

// Both have read the row before either has saved.
func TestTheRowIsThatOfTheLastReplacement(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		replaced, goOn := make(chan struct{}), make(chan struct{})
		saved := make(chan error)
		r := newRig(t, noop, func(c *worker.Config) {
			c.Queue = replaceThen{c.Queue.(*workertest.MemoryQueue), func(after *worker.Job) {
				if string(after.Payload) == `{"n":2}` {
					close(replaced)
					<-goOn
					return
				}
				close(goOn)
				require.NoError(t, <-saved)
			}}
		})
		client := r.pool.Client()
		unique := worker.UniqueBy("one", worker.UniquePolicy{Replace: true})
		job := r.enqueue(1, unique)
		go func() {
			_, err := client.Enqueue(t.Context(), ping{2}, unique)
			saved <- err
		}()
		<-replaced
		_, err := client.Enqueue(t.Context(), ping{3}, unique)
		require.NoError(t, err)
		info, err := r.queue.Find(t.Context(), "default", job.ID)
		require.NoError(t, err)
		require.JSONEq(t, `{"n":3}`, string(info.Job.Payload))
		require.JSONEq(t, `{"n":3}`, string(r.last(job.ID).Job.Payload))
	})
}

// A job that is to run now is due, and keeps what it says of its time.
func TestRunNowSaysThatTheJobIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1, worker.After(time.Hour))
		require.NoError(t, r.pool.Client().RunNow(t.Context(), job.ID))
		row := r.last(job.ID)
		require.Equal(t, worker.StateQueued, row.State)
		require.True(t, row.RunAt.IsZero())
		require.Equal(t, job.RunAt, row.Job.RunAt)
		info, err := r.queue.Find(t.Context(), "default", job.ID)
		require.NoError(t, err)
		require.Equal(t, job.RunAt, info.Job.RunAt)
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

// lateQueue is a queue on which something happens just before a job is looked at to be edited, or replaced.
type lateQueue struct {
	*workertest.MemoryQueue
	before func()
}

func (q lateQueue) Find(ctx context.Context, queue, id string) (worker.JobInfo, error) {
	q.before()
	return q.MemoryQueue.Find(ctx, queue, id)
}

func (q lateQueue) Replace(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
	q.before()
	return q.MemoryQueue.Replace(ctx, before, after)
}

// What became of a job between the look at its row and the change of it stays in the row.
func TestTheRowOfAChangedJobKeepsItsAttempts(t *testing.T) {
	unique := worker.UniqueBy("one", worker.UniquePolicy{Replace: true})
	for name, change := range map[string]func(*worker.Client, string) error{
		"edit": func(c *worker.Client, id string) error { return c.Edit(context.Background(), id, setPayload(2)) },
		"replace": func(c *worker.Client, _ string) error {
			_, err := c.Enqueue(context.Background(), ping{2}, unique)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var r *rig
				runOnce := sync.OnceFunc(func() {
					r.start().after(time.Second)
					r.stop()
				})
				r = newRig(t, func(context.Context, *worker.Job, ping) error { return worker.RetryAfter(time.Hour, errFlaky) },
					func(c *worker.Config) { c.Queue = lateQueue{c.Queue.(*workertest.MemoryQueue), runOnce} })
				job := r.enqueue(1, unique)
				require.NoError(t, change(r.pool.Client(), job.ID))
				row := r.last(job.ID)
				require.JSONEq(t, `{"n":2}`, string(row.Job.Payload))
				require.Equal(t, worker.StateRetrying, row.State)
				require.Equal(t, 1, row.Attempt)
				require.Equal(t, "flaky", row.Error)
			})
		})
	}
}
