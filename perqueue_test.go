package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
)

// perQueue changes how one of the queues is claimed from.
type perQueue struct {
	worker.Queue
	name  string
	claim func(worker.Consumer, context.Context, worker.ClaimOptions) ([]*worker.Job, error)
}

func (q perQueue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	if err != nil || queue != q.name {
		return c, err
	}
	return oddConsumer{Consumer: c, claim: q.claim}, nil
}

// Whether a queue can be claimed from isn't known while other queues have all slots: an earlier failure says nothing then.
func TestHealthForgetsAFailedClaimWhileOthersHoldTheSlots(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var fails atomic.Bool
		r := newRig(t, func(context.Context, *worker.Job, ping) error { time.Sleep(20 * time.Minute); return nil },
			func(c *worker.Config) {
				c.Concurrency, c.Queues = 1, map[string]worker.QueueConfig{"a": {}, "b": {}}
				c.Queue = perQueue{c.Queue, "a", func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
					if fails.Load() {
						return nil, errFlaky
					}
					return c.Claim(ctx, opts)
				}}
			}).start()
		r.after(time.Second)
		fails.Store(true)
		r.after(10 * time.Second)
		assert.Equal(t, "a", r.sick(worker.ProblemQueueUnreachable).Queue)
		r.enqueue(1, worker.OnQueue("b"))
		r.after(10 * time.Second)
		r.well()
		r.after(20 * time.Minute)
		assert.Equal(t, "a", r.sick(worker.ProblemQueueUnreachable).Queue, "it is claimed from again, and still fails")
		fails.Store(false)
		r.after(time.Minute)
		r.well()
		r.stop()
	})
}

// A claim that goes on when its context ends may come back to a session that the pool has closed.
func TestAClaimThatOutlivesItsSessionLosesNoLease(t *testing.T) {
	for name, end := range map[string]func(*worker.Pool, context.Context) error{
		"stop":   (*worker.Pool).Stop,
		"remove": func(p *worker.Pool, ctx context.Context) error { return p.RemoveQueue(ctx, "default") },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var slow atomic.Bool
				rec := record()
				r := newRig(t, noop, rec.by, func(c *worker.Config) {
					c.Queue = perQueue{c.Queue, "default", func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
						if slow.Load() && opts.Limit > 0 {
							time.Sleep(2 * time.Second)
							ctx = context.WithoutCancel(ctx)
						}
						return c.Claim(ctx, opts)
					}}
				}).start()
				r.after(time.Second)
				slow.Store(true)
				r.enqueue(1)
				r.quiet()
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_ = end(r.pool, ctx)
				r.after(time.Minute)
				assert.NotContains(t, rec.metrics(t), "worker.lease.lost")
				assert.NotContains(t, rec.log.String(), "ERROR")
				assert.Equal(t, 1, r.queue.Count("default", worker.PlaceWaiting))
				_ = r.pool.Stop(context.Background())
			})
		})
	}
}
