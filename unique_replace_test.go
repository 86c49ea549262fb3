package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func replacing(p *worker.UniquePolicy) { p.Replace = true }

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

// unsettled has a job claimed, which then waits again. What it returns saves the success that the worker had before it died.
func (r *rig) unsettled(job *worker.Job) (succeed func()) {
	r.t.Helper()
	c, err := r.queue.Consume(r.t.Context(), job.Queue, worker.ConsumeOptions{})
	require.NoError(r.t, err)
	claimed, err := c.Claim(r.t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(r.t, err)
	require.Len(r.t, claimed, 1)
	require.NoError(r.t, c.Close(r.t.Context()))
	return func() {
		r.save(worker.Status{JobID: job.ID, Type: job.Type, Queue: job.Queue, State: worker.StateSucceeded,
			Version: claimed[0].Token<<14 | 3<<12})
	}
}

// A worker may die when it has saved a success and not settled it: then the job waits again, and what would take its place
// would be dropped with it.
func TestReplaceLeavesAJobThatIsOver(t *testing.T) {
	for _, late := range []bool{false, true} { // the success is saved while the job is replaced
		t.Run(fmt.Sprint("late ", late), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var ran []int
				r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { ran = append(ran, p.N); return nil })
				first := r.enqueue(1, one())
				succeed := r.unsettled(first)
				r.queue.Fault = func(_ context.Context, call string) error {
					if call == "Replace" && late || call == "Holders" && !late {
						succeed()
						r.queue.Fault = nil
					}
					return nil
				}
				second := r.duplicate(2, first.ID, one(replacing))
				if !late {
					info, err := r.queue.Find(t.Context(), worker.DefaultQueue, first.ID)
					require.NoError(t, err)
					require.JSONEq(t, `{"n":1}`, string(info.Job.Payload))
				}
				r.start()
				defer r.stop()
				r.after(time.Minute)
				require.Empty(t, ran)
				require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), second), "it has kept its id")
				r.after(time.Minute)
				require.Equal(t, []int{2}, ran)
			})
		})
	}
}

// flaky is a fault of one kind of call.
func flaky(call string) func(context.Context, string) error {
	return func(_ context.Context, called string) error {
		if called == call {
			return errFlaky
		}
		return nil
	}
}

// A job that has taken another one's place has its id from then on, whatever the call returns: enqueued again under its own it
// would run a second time.
func TestAJobThatReplacedIsNotEnqueuedOnceMore(t *testing.T) {
	for name, fault := range map[string]func(r *rig){
		"a batch whose rest has an unknown outcome": func(r *rig) {
			r.queue.Fault = flaky("Enqueue")
		},
		"its status is not recorded": func(r *rig) {
			r.store.Fault = func(context.Context, []worker.Status) error { return errFlaky }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				ran := make(map[int]int)
				r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { ran[p.N]++; return nil })
				first := r.enqueue(1, one())
				second, err := worker.NewJob(ping{2}, one(replacing))
				require.NoError(t, err)
				third, err := worker.NewJob(ping{3})
				require.NoError(t, err)
				fault(r)
				require.Error(t, r.pool.Client().EnqueueMany(t.Context(), second, third))
				require.Equal(t, first.ID, second.ID)
				r.queue.Fault, r.store.Fault = nil, nil
				r.start()
				defer r.stop()
				r.after(time.Second)
				err = r.pool.Client().EnqueueMany(t.Context(), second, third)
				failed := (*worker.EnqueueError)(nil)
				require.ErrorAs(t, err, &failed)
				require.Len(t, failed.Failed, 1)
				require.ErrorAs(t, failed.Failed[first.ID], new(*worker.FinishedError))
				r.after(time.Second)
				require.Equal(t, map[int]int{2: 1, 3: 1}, ran)
			})
		})
	}
}

// Two of a call may take the same place, and then both have that one's id: passed again, the later one counts.
func TestTwoThatReplaceTheSameMayBeEnqueuedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var ran []int
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { ran = append(ran, p.N); return nil })
		first := r.enqueue(1, one())
		jobs := make([]*worker.Job, 3)
		for i, opts := range [][]worker.JobOption{{one(replacing)}, {one(replacing)}, {}} {
			job, err := worker.NewJob(ping{i + 2}, opts...)
			require.NoError(t, err)
			jobs[i] = job
		}
		r.queue.Fault = flaky("Enqueue")
		require.ErrorIs(t, r.pool.Client().EnqueueMany(t.Context(), jobs...), errFlaky)
		require.Equal(t, []string{first.ID, first.ID}, []string{jobs[0].ID, jobs[1].ID})
		r.queue.Fault = nil
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), jobs...))
		r.start()
		defer r.stop()
		r.after(time.Second)
		require.ElementsMatch(t, []int{3, 4}, ran)
	})
}

// Without a store nothing but its own id keeps a job out that has run in this period.
func TestAJobThatReplacedRunsOnceInAPeriodWithoutAStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ran := make(map[int]int)
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { ran[p.N]++; return nil }, withoutStore)
		period := func(p *worker.UniquePolicy) { p.Until, p.For = worker.ForPeriod, time.Hour }
		r.enqueue(1, one(replacing, period))
		second, err := worker.NewJob(ping{2}, one(replacing, period))
		require.NoError(t, err)
		third, err := worker.NewJob(ping{3})
		require.NoError(t, err)
		r.queue.Fault = flaky("Enqueue")
		require.ErrorIs(t, r.pool.Client().EnqueueMany(t.Context(), second, third), errFlaky)
		r.queue.Fault = nil
		r.start()
		defer r.stop()
		r.after(time.Second)
		failed := (*worker.EnqueueError)(nil)
		require.ErrorAs(t, r.pool.Client().EnqueueMany(t.Context(), second, third), &failed)
		require.ErrorAs(t, failed.Failed[second.ID], new(*worker.DuplicateError))
		r.after(time.Second)
		require.Equal(t, map[int]int{2: 1, 3: 1}, ran)
	})
}

// That a status is not recorded is said though the job that was replaced is in the same call.
func TestWhatIsNotRecordedIsSaidOfTheJobInItsPlace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		first := r.enqueue(1, one())
		second, err := worker.NewJob(ping{2}, one(replacing))
		require.NoError(t, err)
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].Token() > 0 {
				return errFlaky
			}
			return nil
		}
		failed := (*worker.EnqueueError)(nil)
		require.ErrorAs(t, r.pool.Client().EnqueueMany(t.Context(), first, second), &failed)
		require.ErrorContains(t, failed.Failed[first.ID], "is replaced, its status is not recorded")
	})
}

// The end of a job may be saved at the very moment at which another one takes its place.
func TestReplaceSeesAnEndThatIsSavedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		first := r.enqueue(1, one())
		succeed := r.unsettled(first)
		r.store.Fault = func(context.Context, []worker.Status) error {
			r.store.Fault = nil
			succeed()
			return nil
		}
		r.duplicate(2, first.ID, one(replacing))
	})
}

// What was committed may come later: it waits until the job that is over has left.
func TestAPushedJobWaitsForOneThatIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var ran []int
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { ran = append(ran, p.N); return nil })
		first := r.enqueue(1, one())
		succeed := r.unsettled(first)
		succeed()
		time.Sleep(time.Millisecond)
		second := r.write(2, one(replacing))
		require.ErrorContains(t, r.pool.Client().Push(t.Context(), second), "not enqueued yet")
		require.Equal(t, queued, r.last(second.ID).State)
		r.start()
		defer r.stop()
		r.after(5 * time.Minute)
		require.Equal(t, []int{2}, ran)
	})
}
