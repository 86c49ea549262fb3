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
		assert.True(t, row.BringsJob(), "for stores that keep the first one else")
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
		require.NoError(t, client.Edit(t.Context(), job.ID, setPayload(2)), "a copy of its unique key is no other one")
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
