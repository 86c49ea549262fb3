package worker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

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
