package worker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

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

// The first one saves its status after the second one.
func TestTheRowIsThatOfTheLastReplacement(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		replaced, goOn := make(chan struct{}), make(chan struct{})
		saved := make(chan error)
		r := newRig(t, noop, func(c *worker.Config) {
			c.Queue = replaceThen{c.Queue.(*workertest.MemoryQueue), func(after *worker.Job) {
				if string(after.Payload) == `{"n":2}` {
					close(replaced)
					<-goOn
				}
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
		close(goOn)
		require.NoError(t, <-saved)
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

// The attempts that a row tells of are those of the job's own policy, where it has one.
func TestTheRowOfAnEditedJobTellsOfItsPolicy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client := r.pool.Client()
		job := r.enqueue(1, worker.MaxAttempts(3))
		for _, c := range []struct {
			policy worker.RetryPolicy
			want   int
		}{{worker.RetryPolicy{MaxAttempts: 7}, 7}, {worker.RetryPolicy{}, 7}, {worker.RetryPolicy{Window: time.Hour}, 0}} {
			require.NoError(t, client.Edit(t.Context(), job.ID, func(job *worker.Job) error { job.Retry = c.policy; return nil }))
			require.Equal(t, c.want, r.last(job.ID).MaxAttempts)
		}
	})
}

// A job is enqueued just after an edit has looked for its row: the row that it has by then follows the edit.
func TestEditOfAJobThatIsEnqueuedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r *rig
		enqueue := sync.OnceFunc(func() { r.enqueue(1, worker.WithID("late")) })
		r = newRig(t, noop, func(c *worker.Config) { c.Queue = lateQueue{c.Queue.(*workertest.MemoryQueue), enqueue} })
		require.NoError(t, r.pool.Client().Edit(t.Context(), "late", setPayload(2)))
		row := r.last("late")
		require.JSONEq(t, `{"n":2}`, string(row.Job.Payload))
		require.Positive(t, row.Token())
	})
}
