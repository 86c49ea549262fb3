package worker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// partlyDown is a queue one of whose names answers no claim: each ends by its timeout.
type partlyDown struct {
	worker.Queue
	name  string
	hangs *atomic.Bool
}

func (q partlyDown) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	if err != nil || queue != q.name {
		return c, err
	}
	claim := func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		if q.hangs.Load() {
			time.Sleep(3 * time.Second)
			return nil, context.DeadlineExceeded
		}
		return c.Claim(ctx, opts)
	}
	return oddConsumer{Consumer: c, claim: claim}, nil
}

// claimedFrom is a worker that is given one job of a queue.
func (r *rig) claimedFrom(queue string) worker.Consumer {
	r.t.Helper()
	c, err := r.queue.Consume(r.t.Context(), queue, worker.ConsumeOptions{MaxCrashes: 2})
	require.NoError(r.t, err)
	claimed, err := c.Claim(r.t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(r.t, err)
	require.Len(r.t, claimed, 1)
	return c
}

// A job with its last crash to spend waits until nothing runs beside it, and nothing is claimed meanwhile. When it is
// canceled it ends at once, and the queues go on.
func TestACancelEndsWhatWaitsToRunAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		block := make(chan struct{})
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			if p.N == 1 {
				<-block
			}
			return nil
		}, serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}}), func(c *worker.Config) { c.MaxCrashes = 2 })
		suspect := r.enqueue(2, worker.OnQueue("b"))
		dying := r.claimedFrom("b")
		r.enqueue(1, worker.OnQueue("a"))
		r.start()
		r.after(time.Second)
		r.queue.Crash(dying)
		r.after(20 * time.Second)
		require.Equal(t, worker.PlaceHeld, r.queue.Place("b", suspect.ID), "it waits for the other one to end")
		next := r.enqueue(2, worker.OnQueue("a"))
		r.after(20 * time.Second)
		require.Equal(t, queued, r.last(next.ID).State)

		state, err := r.pool.Client().Cancel(t.Context(), suspect.ID, worker.OnQueue("b"))
		require.NoError(t, err)
		assert.Equal(t, running, state)
		r.after(time.Second)
		assert.Equal(t, worker.StateCanceled, r.last(suspect.ID).State)
		assert.Equal(t, succeeded, r.last(next.ID).State)
		close(block)
		r.stop()
	})
}

// The server of one queue may be down, as a node of a cluster, while that of another is well.
func TestAQueueThatHangsStarvesNoOther(t *testing.T) {
	for name, busy := range map[string]bool{"busy": true, "idle": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var hangs atomic.Bool
				var ran atomic.Int64
				var mu sync.Mutex
				longest := time.Duration(0)
				r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
					mu.Lock()
					longest = max(longest, time.Since(job.EnqueuedAt))
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					ran.Add(1)
					return nil
				}, func(c *worker.Config) {
					c.Queues = map[string]worker.QueueConfig{"a": {}, "b": {}}
					c.Queue = partlyDown{c.Queue, "a", &hangs}
				}).start()
				r.after(time.Second)
				hangs.Store(true)
				if busy {
					for i := range 5000 {
						r.enqueue(i, worker.OnQueue("b"))
					}
					r.after(time.Minute)
					assert.Greater(t, ran.Load(), int64(2300), "of 2400 that 4 slots can run")
				} else {
					for i := range 100 {
						r.enqueue(i, worker.OnQueue("b"))
						r.after(370 * time.Millisecond)
					}
					assert.LessOrEqual(t, longest, 150*time.Millisecond)
				}
				hangs.Store(false)
				job := r.enqueue(0, worker.OnQueue("a"))
				r.after(10 * time.Minute)
				assert.Equal(t, succeeded, r.last(job.ID).State)
				r.stop()
			})
		})
	}
}

// slow is a queue of whose claims of one name each takes as long as takes says.
type slow struct {
	worker.Queue
	name  string
	takes func() time.Duration
}

func (q slow) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	if err != nil || queue != q.name {
		return c, err
	}
	return oddConsumer{Consumer: c, claim: func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		if opts.Limit > 0 {
			time.Sleep(q.takes())
		}
		return c.Claim(ctx, opts)
	}}, nil
}

// A queue whose claim hung doesn't make up for what it could not use meanwhile.
func TestAClaimThatHungStarvesNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y, next := newTally(), new(atomic.Int64)
		r := newRig(t, y.handler, withoutStore, serving(10, map[string]worker.QueueConfig{"light": {Weight: 1}, "heavy": {Weight: 9}}),
			func(c *worker.Config) {
				c.Queue = slow{c.Queue, "heavy", func() time.Duration { return time.Duration(next.Swap(0)) }}
			})
		r.load("light", 10_000, 100)
		r.load("heavy", 10_000, 100)
		r.start()
		defer r.stop()
		r.after(10 * time.Second)
		next.Store(int64(2900 * time.Millisecond))
		r.after(3 * time.Second)
		y.take()
		for range 3 {
			r.after(5 * time.Second)
			got := y.take()
			require.InDelta(t, 50, got["light"], 15, "its tenth of 500: %v", got)
			require.InDelta(t, 450, got["heavy"], 25, "%v", got)
		}
	})
}

// One whose claims are late now and then has its share all the same.
func TestClaimsThatAreOftenLateCostAQueueNoShare(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y, n := newTally(), 0
		r := newRig(t, y.handler, withoutStore, serving(4, map[string]worker.QueueConfig{"light": {Weight: 1}, "heavy": {Weight: 9}}),
			func(c *worker.Config) {
				c.Queue = slow{c.Queue, "heavy", func() time.Duration {
					if n++; n%20 == 0 {
						return 500 * time.Millisecond
					}
					return 2 * time.Millisecond
				}}
			})
		r.load("light", 5_000, 100)
		r.load("heavy", 5_000, 100)
		r.start()
		defer r.stop()
		r.after(10 * time.Second)
		y.take()
		r.after(time.Minute)
		got := y.take()
		heavy, light := float64(got["heavy"]), float64(got["light"])
		require.InDelta(t, .9, heavy/(heavy+light), .02, "%v", got)
	})
}
