package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// deaf is a queue whose consumers can claim but not wait.
type deaf struct {
	worker.Queue
	claims *atomic.Int64
}

type deafConsumer struct {
	worker.Consumer
	claims *atomic.Int64
}

func (q deaf) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	return deafConsumer{c, q.claims}, err
}

func (c deafConsumer) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	c.claims.Add(1)
	if opts.Limit == 0 {
		return nil, errors.New("blocking commands are not allowed")
	}
	return c.Consumer.Claim(ctx, opts)
}

func TestQueueThatCannotWaitIsPolledNotSpunOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var claims atomic.Int64
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = deaf{c.Queue, &claims} }).start()
		r.after(time.Minute)
		assert.Less(t, claims.Load(), int64(200))
		job := r.enqueue(1)
		r.after(3 * time.Second)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

// odd is a queue that breaks its contract in the ways that a panicking pool would not survive.
type odd struct {
	worker.Queue
	consume func(worker.Consumer) worker.Consumer
}

func (q odd) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	if err != nil {
		return nil, err
	}
	return q.consume(c), nil
}

type oddConsumer struct {
	worker.Consumer
	claim  func(worker.Consumer, context.Context, worker.ClaimOptions) ([]*worker.Job, error)
	settle func()
	close  func()
}

func (c oddConsumer) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	if c.claim != nil {
		return c.claim(c.Consumer, ctx, opts)
	}
	return c.Consumer.Claim(ctx, opts)
}

func (c oddConsumer) Settle(ctx context.Context, verdicts ...worker.Verdict) error {
	if c.settle != nil {
		c.settle()
	}
	return c.Consumer.Settle(ctx, verdicts...)
}

func (c oddConsumer) Close(ctx context.Context) error {
	if c.close != nil {
		c.close()
	}
	return c.Consumer.Close(ctx)
}

func TestQueueThatBreaksItsContractCrashesNothing(t *testing.T) {
	var calls atomic.Int64
	for name, consumer := range map[string]oddConsumer{
		"claims nil": {claim: func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
			jobs, err := c.Claim(ctx, opts)
			if opts.Limit > 0 && calls.Add(1) < 3 {
				jobs = append(jobs, nil)
			}
			return jobs, err
		}},
		"claim panics": {claim: func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
			if calls.Add(1) < 3 {
				panic("ouch")
			}
			return c.Claim(ctx, opts)
		}},
		"settle panics": {settle: func() {
			if calls.Add(1) < 3 {
				panic("ouch")
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			inBubble(t, func(t *testing.T) {
				r := newRig(t, noop, func(c *worker.Config) {
					c.Queue = odd{c.Queue, func(c worker.Consumer) worker.Consumer {
						o := consumer
						o.Consumer = c
						return o
					}}
				}).start()
				job := r.enqueue(1)
				r.after(time.Minute)
				assert.Equal(t, succeeded, r.last(job.ID).State)
				r.stop()
			})
		})
	}
}

func TestNoConsumerIsAnErrorOfStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) {
			c.Queue = odd{c.Queue, func(worker.Consumer) worker.Consumer { return nil }}
		})
		assert.ErrorContains(t, r.pool.Start(t.Context()), "no consumer")
		r.queue.Crash(r.queue.Consumers("default")[0])
	})
}

func TestStopReturnsThoughCloseHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, noop, func(c *worker.Config) {
			c.Queue = odd{c.Queue, func(c worker.Consumer) worker.Consumer {
				return oddConsumer{Consumer: c, close: func() { <-release }}
			}}
		}).start()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		assert.ErrorIs(t, r.pool.Stop(ctx), context.DeadlineExceeded)
		assert.LessOrEqual(t, time.Since(began), 3*time.Second)
		close(release)
	})
}

func TestStopCutsAHangingStartShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		r.queue.Fault = func(ctx context.Context, call string) error {
			if call != "Consume" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		started := make(chan error, 1)
		go func() { started <- r.pool.Start(t.Context()) }()
		r.quiet()
		began := time.Now()
		assert.ErrorIs(t, r.pool.Start(t.Context()), worker.ErrPoolStarted)
		r.stop()
		assert.ErrorIs(t, <-started, worker.ErrPoolStopped)
		assert.Zero(t, time.Since(began))
	})
}

// Until Start has ended the pool has not stopped, whatever Stop has been called.
func TestStopHasNotEndedBeforeStartHas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		release := make(chan struct{})
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Consume" {
				<-release // and ignores its context
			}
			return nil
		}
		started, stopped := make(chan error, 1), make(chan error, 1)
		go func() { started <- r.pool.Start(t.Context()) }()
		r.quiet()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.pool.Stop(ctx), context.DeadlineExceeded)
		r.sick(worker.ProblemStopping)
		go func() { stopped <- r.pool.Stop(context.Background()) }()
		r.after(time.Second)
		assert.Empty(t, stopped)
		close(release)
		r.quiet()
		assert.ErrorIs(t, <-started, worker.ErrPoolStopped)
		require.NoError(t, <-stopped)
		r.sick(worker.ProblemStopped)
	})
}

func TestRevokedJobsThatHaveNotStartedDoNotStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var runs atomic.Int32
		gate := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { runs.Add(1); return nil })
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].State == running {
				<-gate
			}
			return nil
		}
		r.start()
		job := r.enqueue(1)
		r.quiet()
		state, err := r.pool.Client().Cancel(t.Context(), job.ID)
		require.NoError(t, err)
		assert.Equal(t, running, state)
		r.after(3 * time.Second)
		close(gate)
		r.after(3 * time.Second)
		assert.Zero(t, runs.Load())
		assert.Equal(t, canceled, r.last(job.ID).State)
		r.stop()
	})
}
