package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// one makes a job the only one of its kind.
func one(change ...func(*worker.UniquePolicy)) worker.JobOption {
	policy := worker.UniquePolicy{}
	for _, c := range change {
		c(&policy)
	}
	return worker.UniqueBy("one", policy)
}

func untilStarted(p *worker.UniquePolicy) { p.Until = worker.UntilStarted }

// duplicate enqueues what must be turned away for the holder.
func (r *rig) duplicate(n int, holder string, opts ...worker.JobOption) *worker.Job {
	r.t.Helper()
	job, err := r.pool.Client().Enqueue(r.t.Context(), ping{n}, append([]worker.JobOption{one()}, opts...)...)
	found := (*worker.DuplicateError)(nil)
	require.ErrorAs(r.t, err, &found)
	require.Equal(r.t, worker.DuplicateError{Key: "one", Holder: holder}, *found)
	return job
}

func TestADuplicateIsTurnedAwayAndLeavesNoRow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		first := r.enqueue(1, one())
		second := r.duplicate(2, first.ID)
		_, err := r.store.Get(t.Context(), second.ID)
		require.ErrorIs(t, err, worker.ErrJobNotFound)
		require.Empty(t, r.told.Of(second.ID))

		third, err := worker.NewJob(ping{3})
		require.NoError(t, err)
		err = r.pool.Client().EnqueueMany(t.Context(), third, second)
		failed := (*worker.EnqueueError)(nil)
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed.Failed, 1)
		require.ErrorAs(t, failed.Failed[second.ID], new(*worker.DuplicateError))
		require.Equal(t, worker.StateQueued, r.last(third.ID).State)

		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), first), "it is no duplicate of its own")
		r.start()
		defer r.stop()
		r.quiet()
		require.Equal(t, worker.StateSucceeded, r.last(first.ID).State)
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), second))
	})
}

func TestAUniqueKeyIsFreeInEveryFinalState(t *testing.T) {
	ends := map[string]struct {
		handler worker.HandlerFunc[ping]
		options []worker.JobOption
		meddle  func(r *rig, job *worker.Job)
		want    worker.State
	}{
		"success":    {handler: noop, want: worker.StateSucceeded},
		"failure":    {handler: func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) }, want: worker.StateFailed},
		"last retry": {handler: func(context.Context, *worker.Job, ping) error { return errFlaky }, want: worker.StateFailed},
		"declined":   {handler: func(context.Context, *worker.Job, ping) error { return worker.Cancel(errFlaky) }, want: worker.StateCanceled},
		"panic":      {handler: func(context.Context, *worker.Job, ping) error { panic("no") }, want: worker.StateFailed},
		"expired":    {handler: noop, options: []worker.JobOption{worker.ExpireAt(time.Unix(1, 0))}, want: worker.StateFailed},
		"canceled while it waits": {
			handler: noop, options: []worker.JobOption{worker.After(time.Hour)},
			meddle: func(r *rig, job *worker.Job) { r.cancel(job.ID) }, want: worker.StateCanceled,
		},
		"canceled while it runs": {
			handler: func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() },
			meddle:  func(r *rig, job *worker.Job) { r.cancel(job.ID) }, want: worker.StateCanceled,
		},
		"crash cap": {
			handler: func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() },
			meddle: func(r *rig, _ *worker.Job) {
				for range 3 {
					for _, c := range r.queue.Consumers("default") {
						r.queue.Crash(c)
					}
					r.after(20 * time.Second)
				}
			}, want: worker.StateFailed,
		},
	}
	for name, end := range ends {
		for _, until := range []worker.UniqueUntil{worker.UntilFinal, worker.UntilStarted} {
			t.Run(fmt.Sprint(name, " ", until), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r := newRig(t, end.handler, func(c *worker.Config) { c.Retry.MaxAttempts = 2 }).start()
					defer r.stop()
					job := r.enqueue(1, append(end.options, one(func(p *worker.UniquePolicy) { p.Until = until }))...)
					r.quiet()
					if end.meddle != nil {
						end.meddle(r, job)
					}
					r.after(time.Minute)
					require.Equal(t, end.want, r.last(job.ID).State)
					r.enqueue(2, one())
				})
			})
		}
	}
}

func (r *rig) cancel(id string) {
	r.t.Helper()
	_, err := r.pool.Client().Cancel(r.t.Context(), id)
	require.NoError(r.t, err)
}

// What comes while a job runs that was unique until it started is enqueued behind it; what came before was turned away.
func TestUniqueUntilStarted(t *testing.T) {
	for name, change := range map[string]func(*worker.Config){"with a store": func(*worker.Config) {}, "without": withoutStore} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var r *rig
				var second *worker.Job
				r = newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
					if p.N == 1 {
						if second == nil {
							second = r.enqueue(2, one(untilStarted))
						}
						return errFlaky // its next attempt takes no key
					}
					return nil
				}, change, func(c *worker.Config) { c.Retry.MaxAttempts = 2 })
				first := r.enqueue(1, one(untilStarted), worker.After(time.Second))
				r.duplicate(9, first.ID)
				r.start()
				defer r.stop()
				r.after(time.Minute)
				require.NotNil(t, second)
				require.NotEqual(t, first.ID, second.ID)
				r.enqueue(3, one())
			})
		})
	}
}

// A job that replaced one which had failed before keeps the attempts of that, and frees its key all the same when it starts.
func TestAKeyIsFreedBeforeALaterAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r *rig
		var third *worker.Job
		r = newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			switch p.N {
			case 1:
				return worker.RetryAfter(time.Hour, errFlaky)
			case 2:
				assert.Equal(t, 2, job.Attempt)
				third = r.enqueue(3, one(untilStarted))
			}
			return nil
		}).start()
		defer r.stop()
		first := r.enqueue(1, one())
		r.quiet()
		second := r.enqueue(2, one(replacing, untilStarted))
		require.Equal(t, first.ID, second.ID)
		r.after(time.Minute)
		require.NotNil(t, third)
		require.Equal(t, worker.StateSucceeded, r.last(third.ID).State)
	})
}

// A handler isn't called before its job's key is free, as what is turned away then is not done by anybody.
func TestAHandlerWaitsForItsKeyToBeFree(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var started atomic.Bool
		r := newRig(t, func(context.Context, *worker.Job, ping) error { started.Store(true); return nil })
		var up atomic.Bool
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Unlock" && !up.Load() {
				return errFlaky
			}
			return nil
		}
		r.start()
		defer r.stop()
		job := r.enqueue(1, one(untilStarted))
		r.after(10 * time.Second)
		require.False(t, started.Load())
		require.Equal(t, worker.StateRunning, r.last(job.ID).State)
		r.duplicate(2, job.ID)
		up.Store(true)
		r.after(10 * time.Second)
		require.True(t, started.Load())
		require.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
	})
}

// A pool that stops while a key cannot be freed gives the job back.
func TestStopEndsTheWaitForAKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { t.Error("it has run"); return nil })
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Unlock" {
				return errFlaky
			}
			return nil
		}
		r.start()
		job := r.enqueue(1, one(untilStarted))
		r.after(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.pool.Stop(ctx)
		require.NoError(t, ctx.Err())
		require.Equal(t, worker.PlaceWaiting, r.queue.Place("default", job.ID))
	})
}

func TestALeaseThatIsLostEndsTheWaitForAKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var runs, unlocks atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error { runs.Add(1); return nil })
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Unlock" && unlocks.Add(1) == 1 {
				for _, c := range r.queue.Consumers("default") {
					r.queue.Crash(c)
				}
				return worker.ErrLeaseLost
			}
			return nil
		}
		r.start()
		defer r.stop()
		job := r.enqueue(1, one(untilStarted))
		r.after(time.Minute)
		require.EqualValues(t, 1, runs.Load())
		require.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
	})
}

// plainQueue has no power of its own.
type plainQueue struct{ worker.Queue }

func TestAQueueThatCannotKeepJobsUniqueIsGivenNone(t *testing.T) {
	store := workertest.NewStatusStore()
	client, err := worker.NewClient(worker.Backend{Queue: plainQueue{workertest.NewQueue()}, StatusStore: store})
	require.NoError(t, err)
	job, err := client.Enqueue(t.Context(), ping{1}, one())
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = store.Get(t.Context(), job.ID)
	require.ErrorIs(t, err, worker.ErrJobNotFound)
}

// What outlives its job, and what nothing ends, an operator frees by hand.
func TestReleaseUnique(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client := r.pool.Client()
		first := r.enqueue(1, one(func(p *worker.UniquePolicy) { p.Until = worker.ForPeriod }))
		require.NoError(t, client.Delete(t.Context(), first.ID))
		r.duplicate(2, first.ID)
		holder, err := client.ReleaseUnique(t.Context(), "default", "one")
		require.NoError(t, err)
		require.Equal(t, first.ID, holder)
		r.enqueue(2, one())

		_, err = client.ReleaseUnique(t.Context(), "no queue", "")
		require.ErrorContains(t, err, "queue")
		require.ErrorContains(t, err, "unique key is empty")
		r.queue.Fault = func(context.Context, string) error { return errFlaky }
		_, err = client.ReleaseUnique(t.Context(), "default", "one")
		require.ErrorIs(t, err, errFlaky)
		plain, err := worker.NewClient(worker.Backend{Queue: plainQueue{r.queue}})
		require.NoError(t, err)
		_, err = plain.ReleaseUnique(t.Context(), "default", "one")
		require.ErrorIs(t, err, errors.ErrUnsupported)
	})
}

func TestUniqueUntilNames(t *testing.T) {
	for until, want := range map[worker.UniqueUntil]string{
		worker.UntilFinal: "until final", worker.UntilStarted: "until started", worker.ForPeriod: "for period", 7: "until(7)",
	} {
		require.Equal(t, want, until.String())
	}
}
