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

func replacing(p *worker.UniquePolicy)    { p.Replace = true }
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

// What comes with Replace while its key's job is claimed but not started would be lost if it were turned away: the handler may
// not see it. It is enqueued behind that one.
func TestReplaceComesBehindAJobThatIsAboutToStart(t *testing.T) {
	for _, pushed := range []bool{false, true} {
		t.Run(fmt.Sprint("pushed ", pushed), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var ran []int
				r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { ran = append(ran, p.N); return nil },
					func(c *worker.Config) { c.Concurrency = 1 })
				var up atomic.Bool
				r.queue.Fault = func(_ context.Context, call string) error {
					if call == "Unlock" && !up.Load() {
						return errFlaky
					}
					return nil
				}
				r.start()
				defer r.stop()
				first := r.enqueue(1, one(untilStarted, replacing))
				r.after(time.Second)
				require.Equal(t, worker.PlaceHeld, r.queue.Place("default", first.ID))
				r.duplicate(2, first.ID, one(untilStarted))
				if pushed {
					require.NoError(t, r.pool.Client().Push(t.Context(), r.write(3, one(untilStarted, replacing))))
				} else {
					second := r.enqueue(3, one(untilStarted, replacing))
					require.NotEqual(t, first.ID, second.ID)
					require.Equal(t, second.ID, r.enqueue(4, one(untilStarted, replacing)).ID, "that one waits")
				}
				up.Store(true)
				r.after(10 * time.Second)
				if pushed {
					require.Equal(t, []int{1, 3}, ran)
				} else {
					require.Equal(t, []int{1, 4}, ran)
				}
				require.Equal(t, worker.StateSucceeded, r.last(first.ID).State)
				r.enqueue(5, one())
			})
		})
	}
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

// lookingAway makes a client's looks for keys fail so many times: the queue decides.
func (r *rig) lookingAway(times int) {
	r.queue.Fault = func(_ context.Context, call string) error {
		if call == "Holders" && times > 0 {
			times--
			return errFlaky
		}
		return nil
	}
}

func TestADuplicateThatTheQueueFindsEndsAsCanceled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		first := r.enqueue(1, one())
		r.lookingAway(1)
		second := r.duplicate(2, first.ID)
		row := r.last(second.ID)
		require.Equal(t, worker.StateCanceled, row.State)
		require.Equal(t, int64(0), row.Token())
		require.Contains(t, row.Error, "not enqueued: unique key \"one\" is taken")
		r.quiet()
		require.Equal(t, []worker.State{worker.StateQueued, worker.StateCanceled}, r.toldStates(second.ID))
		r.duplicate(2, first.ID, worker.WithID(second.ID))

		r.start()
		defer r.stop()
		r.quiet()
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), second), "its id is not used up")
		r.quiet()
		require.Equal(t, worker.StateSucceeded, r.last(second.ID).State)
		finished := (*worker.FinishedError)(nil)
		third := r.enqueue(3, one(), worker.After(time.Hour))
		require.ErrorAs(t, r.pool.Client().EnqueueMany(t.Context(), second), &finished, "who has ended is no duplicate of %s", third.ID)
	})
}

func TestReplaceGivesAWaitingJobTheNewPayloadAndTime(t *testing.T) {
	for name, misses := range map[string]int{"looked for": 0, "found by the queue": 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				got := make(chan int, 9)
				r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { got <- p.N; return nil })
				first := r.enqueue(1, one(replacing), worker.After(time.Minute))
				for n := 2; n < 5; n++ {
					r.lookingAway(misses)
					again := r.enqueue(n, one(replacing), worker.After(time.Minute))
					assert.Equal(t, first.ID, again.ID)
					assert.Equal(t, first.Topic, again.Topic)
					row := r.last(first.ID)
					assert.Equal(t, worker.StateScheduled, row.State)
					assert.WithinDuration(t, time.Now().Add(time.Minute), row.RunAt, time.Millisecond)
					assert.JSONEq(t, fmt.Sprintf(`{"n":%d}`, n), string(row.Job.Payload))
					r.after(30 * time.Second)
				}
				r.start()
				defer r.stop()
				r.after(29 * time.Second)
				require.Empty(t, got)
				r.after(2 * time.Second)
				require.Len(t, got, 1)
				require.Equal(t, 4, <-got)
				require.Equal(t, worker.StateSucceeded, r.last(first.ID).State)
				r.enqueue(5, one())
			})
		})
	}
}

func TestReplaceLeavesWhatRunsAndWhatIsAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() })
		first := r.enqueue(1, one())
		_, err := r.pool.Client().Enqueue(t.Context(), choosy{}, one(replacing), worker.OnQueue("default"))
		require.ErrorAs(t, err, new(*worker.DuplicateError), "another type")
		r.start()
		r.quiet()
		second := r.duplicate(2, first.ID, one(replacing))
		_, err = r.store.Get(t.Context(), second.ID)
		require.ErrorIs(t, err, worker.ErrJobNotFound)
		r.cancel(first.ID)
		r.stop()
	})
}

func TestReplaceOfAJobThatWaitsToBeRetried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			if p.N == 1 {
				return worker.RetryAfter(time.Hour, errFlaky)
			}
			return job.SetResult(job.Attempt)
		}).start()
		defer r.stop()
		first := r.enqueue(1, one())
		r.quiet()
		require.Equal(t, worker.StateRetrying, r.last(first.ID).State)
		again := r.enqueue(2, one(replacing), worker.After(time.Minute))
		require.Equal(t, first.ID, again.ID)
		row := r.last(first.ID)
		require.Equal(t, worker.StateRetrying, row.State)
		require.WithinDuration(t, time.Now().Add(time.Minute), row.RunAt, time.Millisecond)
		require.JSONEq(t, `{"n":2}`, string(row.Job.Payload))
		r.after(2 * time.Minute)
		require.Equal(t, worker.StateSucceeded, r.last(first.ID).State)
		require.JSONEq(t, `2`, string(r.last(first.ID).Result))
	})
}

// A job comes with its key into a new round, or not at all.
func TestRequeueTakesTheKeyAgain(t *testing.T) {
	for name, misses := range map[string]int{"looked for": 0, "found by the queue": 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) }).start()
				defer r.stop()
				first := r.enqueue(1, one())
				r.quiet()
				second := r.enqueue(2, one(), worker.After(time.Hour))
				var err error
				if misses > 0 {
					err = r.requeueBlindly(first.ID)
				} else {
					err = r.pool.Client().Requeue(t.Context(), first.ID)
				}
				found := (*worker.DuplicateError)(nil)
				require.ErrorAs(t, err, &found)
				require.Equal(t, second.ID, found.Holder)
				require.True(t, r.last(first.ID).State.Final())
				require.Equal(t, worker.PlaceDead, r.queue.Place("default", first.ID))

				r.cancel(second.ID)
				r.quiet() // a worker may have claimed it meanwhile
				require.NoError(t, r.pool.Client().Requeue(t.Context(), first.ID))
				r.duplicate(3, first.ID)
				r.quiet()
				require.Equal(t, worker.StateFailed, r.last(first.ID).State)
				r.enqueue(3, one())
			})
		})
	}
}

// blind is a queue that finds all keys free.
type blind struct{ *workertest.MemoryQueue }

func (q blind) Holders(_ context.Context, jobs ...*worker.Job) ([]worker.Holder, error) {
	return make([]worker.Holder, len(jobs)), nil
}

func (r *rig) requeueBlindly(id string) error {
	r.t.Helper()
	b := r.cfg.Backend
	b.Queue = blind{r.queue}
	client, err := worker.NewClient(b)
	require.NoError(r.t, err)
	return client.Requeue(r.t.Context(), id)
}

// A committed job whose key is taken ends as canceled, by the push or by a sweep; one that replaces has first taken the place
// of an older one.
func TestPushOfDuplicates(t *testing.T) {
	for _, swept := range []bool{false, true} {
		t.Run(fmt.Sprint("swept ", swept), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, noop)
				older := r.write(1, one(replacing))
				time.Sleep(time.Millisecond)
				first := r.enqueue(2, one(), worker.After(time.Hour))
				time.Sleep(time.Millisecond)
				plain, newer := r.write(3, one()), r.write(4, one(replacing))
				if swept {
					r.after(2 * time.Minute)
					require.Equal(t, 0, r.sweep())
				} else {
					err := r.pool.Client().Push(t.Context(), older, plain, newer)
					failed := (*worker.EnqueueError)(nil)
					require.ErrorAs(t, err, &failed)
					for _, job := range []*worker.Job{older, plain, newer} {
						require.ErrorAs(t, failed.Failed[job.ID], new(*worker.DuplicateError))
					}
				}
				for _, job := range []*worker.Job{older, plain, newer} {
					require.Equal(t, worker.StateCanceled, r.last(job.ID).State)
				}
				require.JSONEq(t, `{"n":4}`, string(r.last(first.ID).Job.Payload))
				require.Equal(t, worker.StateQueued, r.last(first.ID).State, "the newer one is due at once")
			})
		})
	}
}

// A round that a crash kept from being opened ends when its key is another's by then.
func TestSweepEndsARoundWhoseKeyIsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) },
			func(c *worker.Config) { c.SweepInterval = -1 })
		var down atomic.Bool
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Reopen" && down.Load() {
				return errFlaky
			}
			return nil
		}
		r.start()
		defer r.stop()
		first := r.enqueue(1, one())
		r.quiet()
		down.Store(true)
		require.ErrorIs(t, r.pool.Client().Requeue(t.Context(), first.ID), errFlaky)
		require.Equal(t, worker.StateQueued, r.last(first.ID).State)
		down.Store(false)
		second := r.enqueue(2, one(), worker.After(time.Hour))
		r.after(2 * time.Minute)
		require.Equal(t, 0, r.sweep())
		require.Equal(t, worker.StateCanceled, r.last(first.ID).State)
		require.Contains(t, r.last(first.ID).Error, second.ID)
	})
}

// A job that has run before and that Redis lost waits until its key is free: it was accepted.
func TestSweepBringsBackALostJobWhenItsKeyIsFree(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		runs := make(map[int]int)
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			if runs[p.N]++; runs[p.N] == 1 && p.N == 1 {
				return worker.RetryAfter(time.Hour, errFlaky)
			}
			return nil
		}).start()
		first := r.enqueue(1, one())
		r.quiet()
		r.stop()
		fresh := newRig(t, nil)
		fresh.cfg.Registry, fresh.cfg.StatusStore = r.cfg.Registry, r.store // the queue lost everything
		var err error
		fresh.pool, err = worker.NewPool(fresh.cfg)
		require.NoError(t, err)
		second := fresh.enqueue(2, one(), worker.After(10*time.Minute))
		fresh.start()
		defer fresh.stop()
		fresh.after(5 * time.Minute)
		require.Equal(t, worker.StateRetrying, r.last(first.ID).State)
		require.Equal(t, worker.PlaceUnknown, fresh.queue.Place("default", first.ID))
		fresh.after(2 * time.Hour)
		require.Equal(t, worker.StateSucceeded, r.last(second.ID).State)
		require.Equal(t, worker.StateSucceeded, r.last(first.ID).State)
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
