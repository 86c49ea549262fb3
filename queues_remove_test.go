package worker_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestRemoveQueueLetsJobsFinishAndGivesBackTheRest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, p ping) error {
			select {
			case <-time.After(time.Duration(p.N) * time.Second):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}, serving(3, map[string]worker.QueueConfig{"a": {}, "b": {}}),
			func(c *worker.Config) { c.DrainTimeout = 10 * time.Second }).start()
		short, long := r.enqueue(5, worker.OnQueue("a")), r.enqueue(50, worker.OnQueue("a"))
		other := r.enqueue(30, worker.OnQueue("b"))
		r.quiet()
		waits := r.enqueue(1, worker.OnQueue("a"))
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, succeeded, r.last(short.ID).State)
		assert.Equal(t, []worker.State{queued, running, queued}, r.states(long.ID))
		assert.Equal(t, []worker.State{queued}, r.states(waits.ID))
		assert.Empty(t, r.queue.Consumers("a"))

		elsewhere := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			assert.Equal(t, 1, job.Attempt, "no attempt is burnt")
			return nil
		}, serving(1, map[string]worker.QueueConfig{"a": {}}),
			func(c *worker.Config) { c.Queue, c.StatusStore = r.queue, r.store }).start()
		r.quiet()
		assert.Equal(t, succeeded, r.last(long.ID).State)
		assert.Equal(t, succeeded, r.last(waits.ID).State)
		elsewhere.stop()
		r.after(30 * time.Second)
		assert.Equal(t, succeeded, r.last(other.ID).State, "the pool goes on")
		r.stop()
	})
}

func TestRemoveQueueReturnsWhenItsJobsHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		r.load("a", 2, 3000)
		r.load("b", 2, 20_000)
		r.quiet()
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Empty(t, r.queue.Consumers("a"))
		r.stop()
	})
}

func TestRemoveQueueKeepsItsContextsDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil },
			serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		stuck := r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		began := time.Now()
		err := r.pool.RemoveQueue(ctx, "a")
		assert.ErrorIs(t, err, worker.ErrAbandoned)
		assert.ErrorContains(t, err, `remove queue "a": 1 handlers still run`)
		assert.LessOrEqual(t, time.Since(began), 8*time.Second)
		assert.Equal(t, queued, r.last(stuck.ID).State)
		assert.Empty(t, r.queue.Consumers("a"))
		close(release)
		r.stop()
	})
}

func TestRemoveQueueWithAnEndedContextCancelsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() },
			serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		job := r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		assert.NoError(t, r.pool.RemoveQueue(ctx, "a"))
		assert.Zero(t, time.Since(began))
		assert.Equal(t, queued, r.last(job.ID).State)
		r.stop()
	})
}

func TestLeaseThatIsLostWhileItsQueueIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var causes []error
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return ctx.Err()
		}, serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		r.queue.Crash(r.queue.Consumers("a")[0])
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, []error{worker.ErrLeaseLost}, causes)
		assert.Less(t, time.Since(began), 15*time.Second, "nothing is left to wait for")
		assert.Empty(t, r.queue.Consumers("a"), "and no new session was opened")
		r.stop()
	})
}

func TestRemoveQueueWhileTheStoreIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		y := newTally()
		r := newRig(t, y.handler, serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}}),
			func(c *worker.Config) { c.DrainTimeout = 10 * time.Second })
		r.store.Fault = func(context.Context, []worker.Status) error {
			if down.Load() {
				return errors.New("database is down")
			}
			return nil
		}
		r.start()
		job := r.enqueue(1000, worker.OnQueue("a"))
		r.quiet()
		down.Store(true)
		err := r.pool.RemoveQueue(t.Context(), "a")
		assert.ErrorContains(t, err, "could not be recorded in time")
		assert.Empty(t, r.queue.Consumers("a"))
		down.Store(false)
		r.after(10 * time.Second)
		assert.Equal(t, running, r.last(job.ID).State, "the old session says nothing more")
		r.setQueue("a", worker.QueueConfig{})
		r.after(10 * time.Second)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		assert.Equal(t, 2, y.take()["a"])
		r.stop()
	})
}

// tardy is a queue whose replies take a second, whatever the caller's context says.
type tardy struct{ *workertest.MemoryQueue }

func (q tardy) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.MemoryQueue.Consume(ctx, queue, opts)
	return slowClaims{c}, err
}

type slowClaims struct{ worker.Consumer }

func (c slowClaims) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	jobs, err := c.Consumer.Claim(ctx, opts)
	time.Sleep(time.Second) // the bubble's clock
	return jobs, err
}

func TestClaimThatReturnsAfterItsQueueWasRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(2, map[string]worker.QueueConfig{"a": {}}),
			func(c *worker.Config) { c.Queue = tardy{c.Queue.(*workertest.MemoryQueue)} })
		job := r.enqueue(5000, worker.OnQueue("a"))
		r.start()
		r.after(500 * time.Millisecond)
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, 500*time.Millisecond, time.Since(began), "it waits for the claim, and not for a job")
		assert.Equal(t, []worker.State{queued}, r.states(job.ID))
		assert.Empty(t, r.queue.Consumers("a"))
		r.stop()
	})
}

// slowOpening is a queue whose sessions take a while to open.
type slowOpening struct {
	*workertest.MemoryQueue
	wait func()
}

func (q slowOpening) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.MemoryQueue.Consume(ctx, queue, opts)
	q.wait()
	return c, err
}

func TestQueueIsRemovedWhileItsSessionIsOpenedAnew(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, time.Minute} {
		inBubble(t, func(t *testing.T) {
			var slow atomic.Bool
			r := newRig(t, noop, serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}}), func(c *worker.Config) {
				c.Queue = slowOpening{c.Queue.(*workertest.MemoryQueue), func() {
					if slow.Load() {
						time.Sleep(takes) // the bubble's clock, whatever the context says
					}
				}}
			}).start()
			slow.Store(true)
			r.queue.Crash(r.queue.Consumers("a")[0])
			r.after(10*time.Second + 500*time.Millisecond)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			assert.NoError(t, r.pool.RemoveQueue(ctx, "a"))
			if takes == time.Second {
				assert.Empty(t, r.queue.Consumers("a"))
			}
			r.after(time.Minute)
			assert.Empty(t, r.queue.Consumers("a"))
			r.stop()
		})
	}
}

func TestRemoveQueueGivesBackAJobThatWaitsToRunAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, p ping) error {
			time.Sleep(time.Duration(p.N) * time.Second) // the bubble's clock
			return nil
		}, serving(2, map[string]worker.QueueConfig{"b": {}}), func(c *worker.Config) { c.MaxCrashes = 2 })
		job := r.enqueue(1, worker.OnQueue("a"))
		victim, err := r.queue.Consume(t.Context(), "a", worker.ConsumeOptions{MaxCrashes: 2})
		require.NoError(t, err)
		_, err = victim.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
		require.NoError(t, err)
		r.queue.Crash(victim)
		r.after(11 * time.Second)
		r.enqueue(20, worker.OnQueue("b"))
		r.start()
		r.quiet()
		r.setQueue("a", worker.QueueConfig{})
		r.quiet()
		began := time.Now()
		r.removeQueue("a")
		assert.Zero(t, time.Since(began))
		assert.Equal(t, []worker.State{queued}, r.states(job.ID))
		r.stop()
	})
}

func TestRemovedQueuesLeaveNoGoroutine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop).start()
		r.quiet()
		before := runtime.NumGoroutine()
		for range 20 {
			r.setQueue("a", worker.QueueConfig{})
			r.enqueue(1, worker.OnQueue("a"))
			r.quiet()
			r.removeQueue("a")
		}
		r.after(time.Second)
		assert.LessOrEqual(t, runtime.NumGoroutine(), before+2, "but for a hand")
		r.stop()
	})
}

type hangingClose struct{ *workertest.MemoryQueue }

func (q hangingClose) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.MemoryQueue.Consume(ctx, queue, opts)
	return lateClose{c}, err
}

type lateClose struct{ worker.Consumer }

func (c lateClose) Close(ctx context.Context) error {
	time.Sleep(time.Minute) // the bubble's clock, whatever the context says
	return c.Consumer.Close(context.WithoutCancel(ctx))
}

func TestRemoveQueueDoesNotWaitForASessionThatDoesNotClose(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}}), func(c *worker.Config) {
			c.Queue = hangingClose{c.Queue.(*workertest.MemoryQueue)}
		}).start()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		assert.ErrorIs(t, r.pool.RemoveQueue(ctx, "a"), context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.ErrorIs(t, r.pool.Stop(ctx), context.DeadlineExceeded)
		r.after(2 * time.Minute)
	})
}
