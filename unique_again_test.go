package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// A job comes with its key into a new round, or not at all.
func TestRequeueTakesTheKeyAgain(t *testing.T) {
	for name, misses := range map[string]int{"looked for": 0, "found by the queue": 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *worker.Job, ping) error {
					time.Sleep(time.Second) // has the key meanwhile
					return worker.Permanent(errFlaky)
				}).start()
				defer r.stop()
				first := r.enqueue(1, one())
				r.after(2 * time.Second)
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
				require.Equal(t, worker.StateFailed, r.last(first.ID).State)
				require.Equal(t, errFlaky.Error(), r.last(first.ID).Error, "it is as it was")
				require.Equal(t, 1, r.last(first.ID).Attempt)
				require.Equal(t, worker.PlaceDead, r.queue.Place("default", first.ID))

				r.cancel(second.ID)
				r.quiet() // a worker may have claimed it meanwhile
				require.NoError(t, r.pool.Client().Requeue(t.Context(), first.ID))
				r.duplicate(3, first.ID)
				r.after(2 * time.Second)
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

// Stores read back what they keep, which may be little: the end of a round that is kept out has all that statuses have.
func TestARoundThatIsKeptOutEndsWithAllThatStatusesHave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			time.Sleep(time.Second)
			return worker.Permanent(errFlaky)
		}, withFrugal).start()
		defer r.stop()
		first := r.enqueue(1, one(), worker.WithTopic("ada"))
		r.after(2 * time.Second)
		r.enqueue(2, one(), worker.After(time.Hour))
		require.ErrorAs(t, r.requeueBlindly(first.ID), new(*worker.DuplicateError))
		last := r.store.History(first.ID)
		st := last[len(last)-1]
		require.Equal(t, worker.StateFailed, st.State)
		require.Equal(t, errFlaky.Error(), st.Error)
		require.Equal(t, []string{first.Type, first.Queue, "ada"}, []string{st.Type, st.Queue, st.Topic})
		require.NotNil(t, st.Job)
		require.Positive(t, st.MaxAttempts)
	})
}
