package worker_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// The tests here are about time that a job has: to be tried again, and to start at all.

// failing makes a rig whose handler always fails, and counts its runs.
func failing(t *testing.T, change ...func(*worker.Config)) (*rig, *atomic.Int64) {
	t.Helper()
	runs := new(atomic.Int64)
	return newRig(t, func(context.Context, *worker.Job, ping) error { runs.Add(1); return errFlaky }, change...), runs
}

func TestRetryForTriesUntilTheWindowIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, runs := failing(t)
		r.start()
		job := r.enqueue(1, worker.RetryFor(2*time.Hour))
		assert.Zero(t, r.last(job.ID).MaxAttempts, "no number of attempts is promised")
		r.after(time.Hour)
		assert.Equal(t, worker.StateRetrying, r.last(job.ID).State)
		r.after(time.Hour)
		last := r.last(job.ID)
		assert.Equal(t, worker.StateFailed, last.State)
		assert.Equal(t, "flaky", last.Error, "the handler's error")
		assert.Greater(t, runs.Load(), int64(12), "the default number is no bound")
		assert.LessOrEqual(t, last.At.Sub(job.EnqueuedAt), 2*time.Hour)
		r.stop()
	})
}

func TestRetryForCountsFromWhenTheJobWasToRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, runs := failing(t, func(c *worker.Config) { c.Retry = worker.RetryPolicy{Base: time.Minute, Max: time.Minute} })
		r.start()
		job := r.enqueue(1, worker.After(24*time.Hour), worker.RetryFor(time.Hour))
		r.after(24*time.Hour + 30*time.Minute)
		assert.Greater(t, runs.Load(), int64(20))
		assert.Equal(t, worker.StateRetrying, r.last(job.ID).State)
		r.after(time.Hour)
		assert.Equal(t, worker.StateFailed, r.last(job.ID).State)
		r.stop()
	})
}

func TestFirstAttemptStartsHoweverLate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, runs := failing(t)
		job := r.enqueue(1, worker.RetryFor(time.Hour))
		r.after(5 * time.Hour)
		r.start()
		r.after(time.Minute)
		assert.Equal(t, int64(1), runs.Load())
		assert.Equal(t, worker.StateFailed, r.last(job.ID).State)
		r.stop()
	})
}

func TestRetryThatIsClaimedAfterTheWindowFails(t *testing.T) {
	for _, lacking := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			r, runs := failing(t)
			r.start()
			job := r.enqueue(1, worker.RetryFor(time.Hour))
			r.quiet()
			r.stop()
			r.after(2 * time.Hour) // nobody works
			next, again := failing(t, func(c *worker.Config) {
				c.Queue, c.StatusStore = r.queue, r.store
				if lacking {
					c.Registry = worker.NewRegistry()
				}
			})
			next.start()
			r.after(time.Minute)
			assert.Equal(t, int64(1), runs.Load())
			assert.Zero(t, again.Load())
			last := r.last(job.ID)
			assert.Equal(t, worker.StateFailed, last.State)
			assert.Equal(t, worker.ErrRetryWindow.Error(), last.Error)
			require.NoError(t, next.pool.Client().Requeue(t.Context(), job.ID), "a new round has the whole window")
			r.after(10 * time.Minute)
			assert.False(t, r.last(job.ID).State.Final())
			next.stop()
		})
	}
}

// A process that lacks the handler doesn't know what it says, so it fails no job that the handler might still run.
func TestAProcessWithoutTheHandlerKnowsTheJobsWindowOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil, func(c *worker.Config) { c.Retry.Window = time.Minute })
		r.start()
		first := r.enqueue(1)
		windowed := r.enqueue(2, worker.RetryFor(time.Minute))
		r.after(time.Hour)
		assert.Equal(t, []worker.State{queued}, r.states(first.ID))
		assert.Equal(t, []worker.State{queued}, r.states(windowed.ID), "its first attempt is still to come")
		r.stop()
	})
}

// It waits for one that has the handler for as long as the job has time.
func TestAProcessWithoutTheHandlerWaitsForTheWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		plain, windowed := r.enqueue(1), r.enqueue(2, worker.RetryFor(26*time.Hour))
		r.after(25 * time.Hour)
		assert.Equal(t, worker.StateFailed, r.last(plain.ID).State, "a day is enough for others")
		assert.Equal(t, queued, r.last(windowed.ID).State)
		r.after(2 * time.Hour)
		assert.Contains(t, r.last(windowed.ID).Error, worker.ErrUnknownType.Error())
		r.stop()
	})
}

func TestNoRetryComesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, runs := failing(t, func(c *worker.Config) {
			c.Retry = worker.RetryPolicy{MaxAttempts: 9, Base: time.Hour, Max: math.MaxInt64}
		})
		r.start()
		for range 50 {
			r.enqueue(1)
		}
		r.after(6*time.Minute - time.Second)
		assert.Equal(t, int64(50), runs.Load(), "a tenth of the delay passes at least")
		r.after(time.Hour)
		assert.GreaterOrEqual(t, runs.Load(), int64(100))
		r.stop()
	})
}

func TestHugeDelayIsOutsideAnyWindow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			time.Sleep(time.Second) // the bubble's clock
			return worker.RetryAfter(math.MaxInt64, errFlaky)
		}).start()
		job := r.enqueue(1, worker.RetryFor(time.Hour))
		r.after(time.Second)
		assert.Equal(t, worker.StateFailed, r.last(job.ID).State)
		r.stop()
	})
}

func TestNoAttemptStartsAfterTheExpiry(t *testing.T) {
	const expiry = time.Minute
	tests := []struct {
		name   string
		answer error
		starts int
		cause  string
	}{
		{"retried", worker.RetryAfter(50*time.Second, errFlaky), 2, "flaky"},
		{"snoozed", worker.Snooze(50 * time.Second), 2, worker.ErrExpired.Error()},
		{"snoozed for too long", worker.Snooze(70 * time.Second), 1, worker.ErrExpired.Error()},
	}
	for _, tt := range tests {
		inBubble(t, func(t *testing.T) {
			var starts []time.Time
			r := newRig(t, func(context.Context, *worker.Job, ping) error {
				starts = append(starts, time.Now())
				return tt.answer
			}).start()
			job := r.enqueue(1, worker.ExpireAfter(expiry))
			r.after(45 * time.Second)
			assert.False(t, r.last(job.ID).State.Final(), tt.name)
			r.after(time.Hour)
			assert.Len(t, starts, tt.starts, tt.name)
			assert.Equal(t, worker.StateFailed, r.last(job.ID).State, tt.name)
			assert.Equal(t, tt.cause, r.last(job.ID).Error, tt.name)
			r.stop()
		})
	}
}

func TestRetryThatWouldStartAfterTheExpiryIsNoRetry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			return worker.RetryAfter(time.Hour, errFlaky)
		}).start()
		job := r.enqueue(1, worker.ExpireAfter(time.Minute))
		r.quiet()
		assert.Equal(t, []worker.State{queued, running, worker.StateFailed}, r.states(job.ID), "retrying would be a lie")
		assert.Equal(t, "flaky", r.last(job.ID).Error)
		r.stop()
	})
}

func TestJobThatExpiresAfterItsClaimDoesNotStart(t *testing.T) {
	tests := []struct {
		name   string
		save   time.Duration // of Save(running)
		states []worker.State
	}{
		{"while its status is saved", 2 * time.Second, []worker.State{scheduled, running, worker.StateFailed}},
		{"while the store is down", time.Hour, []worker.State{scheduled, worker.StateFailed}},
	}
	for _, tt := range tests {
		inBubble(t, func(t *testing.T) {
			r, runs := failing(t, func(c *worker.Config) { c.Concurrency = 1 })
			until := time.Now().Add(tt.save)
			r.store.Fault = func(ctx context.Context, statuses []worker.Status) error {
				if statuses[0].State != running {
					return nil
				}
				if tt.save < 5*time.Second {
					time.Sleep(tt.save) // the bubble's clock
					return nil
				}
				if time.Now().Before(until) {
					return errors.New("database is down")
				}
				return nil
			}
			r.start()
			job := r.enqueue(1, worker.ExpireAfter(time.Second), worker.After(10*time.Millisecond))
			r.after(2 * time.Hour)
			assert.Zero(t, runs.Load(), tt.name)
			assert.Equal(t, tt.states, r.states(job.ID), tt.name)
			assert.Equal(t, worker.ErrExpired.Error(), r.last(job.ID).Error, tt.name)
			r.stop()
		})
	}
}

func TestJobThatExpiresWhileItWaitsToRunAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var ran []int
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			ran = append(ran, p.N)
			time.Sleep(20 * time.Second) // the bubble's clock
			return nil
		}, func(c *worker.Config) { c.MaxCrashes, c.Queues = 2, map[string]worker.QueueConfig{"a": {}, "b": {}} })
		job := r.enqueue(1, worker.OnQueue("b"), worker.ExpireAfter(15*time.Second))
		victim, err := r.queue.Consume(t.Context(), "b", worker.ConsumeOptions{MaxCrashes: 2})
		require.NoError(t, err)
		_, err = victim.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
		require.NoError(t, err)
		r.queue.Crash(victim)
		require.NoError(t, r.pool.RemoveQueue(t.Context(), "b"))
		r.enqueue(2, worker.OnQueue("a"))
		r.start()
		r.after(11 * time.Second)
		require.NoError(t, r.pool.SetQueue(t.Context(), "b", worker.QueueConfig{}))
		r.after(time.Minute)
		assert.Equal(t, []int{2}, ran)
		assert.Equal(t, []worker.State{queued, worker.StateFailed}, r.states(job.ID))
		assert.Equal(t, worker.ErrExpired.Error(), r.last(job.ID).Error)
		r.stop()
	})
}

func TestScheduledJobThatExpiresBeforeItIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, runs := failing(t)
		r.start()
		job := r.enqueue(1, worker.After(time.Hour), worker.ExpireAfter(time.Minute))
		r.after(59 * time.Minute)
		assert.Equal(t, worker.StateScheduled, r.last(job.ID).State, "it is looked at when it is due")
		r.after(2 * time.Minute)
		assert.Equal(t, worker.ErrExpired.Error(), r.last(job.ID).Error)
		assert.Zero(t, runs.Load())

		require.NoError(t, r.pool.Client().Requeue(t.Context(), job.ID))
		r.quiet()
		assert.Equal(t, int64(1), runs.Load(), "a new round has no expiry")
		r.stop()
	})
}

// behind is a queue whose clock is far behind the workers'.
type behind struct{ *workertest.MemoryQueue }

func (q behind) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.MemoryQueue.Consume(ctx, queue, opts)
	return lateClaims{c}, err
}

type lateClaims struct{ worker.Consumer }

func (c lateClaims) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	jobs, err := c.Consumer.Claim(ctx, opts)
	for _, job := range jobs {
		job.Reject = nil
	}
	return jobs, err
}

// What the queue's clock calls fit to run, a worker whose clock is ahead runs.
func TestExpiryIsByTheQueuesClock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r, runs := failing(t, func(c *worker.Config) {
			c.Queue = behind{c.Queue.(*workertest.MemoryQueue)}
			c.Retry.MaxAttempts = 2
		})
		job := r.enqueue(1, worker.ExpireAt(time.Now().Add(-time.Minute)))
		r.start()
		r.after(2 * time.Hour)
		assert.Equal(t, int64(2), runs.Load())
		assert.Equal(t, "flaky", r.last(job.ID).Error)
		r.stop()
	})
}

func TestAProcessWithoutTheHandlerEndsWhatMustNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		expired := r.enqueue(1, worker.ExpireAfter(-time.Minute))
		r.after(time.Second)
		assert.Equal(t, worker.ErrExpired.Error(), r.last(expired.ID).Error)
		late := r.enqueue(2, worker.ExpireAfter(time.Minute))
		r.after(2 * time.Minute)
		assert.Equal(t, worker.ErrExpired.Error(), r.last(late.ID).Error, "put back, and claimed again")
		r.stop()
	})
}
