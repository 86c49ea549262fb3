package worker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// over gives the row of a job that waits another state, with a later token: a final one, as when its worker died before it
// settled, or a host has ended it.
func (r *rig) over(job *worker.Job, state worker.State) {
	r.t.Helper()
	st := *r.last(job.ID)
	st.State, st.Version = state, 1<<40|3<<12 // of the final phase, with some token
	r.save(st)
}

// A job that the store knows to be with a later claim is passed over, as after the queue has lost data; the error tells of it.
func TestPurgeOfWhatALaterClaimHas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		for n := range 250 {
			job := r.enqueue(n)
			if n == 0 {
				r.over(job, worker.StateRunning)
			}
		}
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceWaiting, nil)
		require.ErrorContains(t, err, "is running by a later claim")
		require.Equal(t, 249, n)
		require.Equal(t, 1, r.queue.Count("default", worker.PlaceWaiting))
	})
}

// What the store knows to be over is deleted from the queue like any other job, and keeps its row.
func TestDeleteOfAJobThatIsOverInTheStoreOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		for _, state := range []worker.State{worker.StateSucceeded, worker.StateCanceled, worker.StateFailed} {
			job := r.enqueue(1, worker.UniqueBy("one", worker.UniquePolicy{}))
			r.over(job, state)
			require.NoError(t, r.pool.Client().Delete(t.Context(), job.ID))
			require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID), state)
			require.Equal(t, state, r.last(job.ID).State)
		}
	})
}

// A purge that leaves a job where it is would go through the place for ever.
func TestPurgeOfWhatIsOverInTheStoreOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		for n := range 250 {
			job := r.enqueue(n)
			if n%2 == 0 {
				r.over(job, worker.StateSucceeded)
			}
		}
		lists := 0
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "List" {
				if lists++; lists > 100 {
					return errors.New("there is no end")
				}
			}
			return nil
		}
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceWaiting, nil)
		require.NoError(t, err)
		require.Equal(t, 250, n)
		require.Zero(t, r.queue.Count("default", worker.PlaceWaiting))
	})
}

// A job that runs is left alone: its handler is not told to stop.
func TestDeleteLeavesAloneWhatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Minute):
				return nil
			}
		}).start()
		job := r.enqueue(1)
		r.after(time.Second)
		require.ErrorIs(t, r.pool.Client().Delete(t.Context(), job.ID), worker.ErrJobActive)
		r.after(time.Hour)
		require.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

// A cancel that was cut short behind the status is finished by the next one, also where nobody claims.
func TestCancelAgainFinishesWhatWasCutShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		unique := worker.UniqueBy("one", worker.UniquePolicy{})
		job := r.enqueue(1, unique)
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "RemoveCanceled" {
				return errFlaky
			}
			return nil
		}
		_, err := r.pool.Client().Cancel(t.Context(), job.ID)
		require.ErrorIs(t, err, errFlaky)
		require.Equal(t, worker.StateCanceled, r.last(job.ID).State)
		_, err = r.pool.Client().Cancel(t.Context(), job.ID)
		require.ErrorIs(t, err, errFlaky)
		r.queue.Fault = nil
		state, err := r.pool.Client().Cancel(t.Context(), job.ID)
		require.NoError(t, err)
		require.Equal(t, worker.StateCanceled, state)
		require.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		r.enqueue(2, unique)
	})
}

// A worker that claims a job in the midst of its deletion ends it as canceled; it is deleted by the next call.
func TestDeleteOfWhatIsClaimedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		c, err := r.queue.Consume(t.Context(), "default", worker.ConsumeOptions{})
		require.NoError(t, err)
		job := r.enqueue(1)
		var held []*worker.Job
		r.queue.Fault = func(ctx context.Context, call string) error {
			if call != "RemoveCanceled" {
				return nil
			}
			held, err = c.Claim(ctx, worker.ClaimOptions{Limit: 1})
			return err
		}
		require.ErrorIs(t, r.pool.Client().Delete(t.Context(), job.ID), worker.ErrJobActive)
		r.queue.Fault = nil
		require.Len(t, held, 1)
		require.ErrorIs(t, held[0].Reject, worker.ErrCanceled)
		require.NoError(t, c.Settle(t.Context(), worker.Verdict{Job: held[0], Action: worker.ActionCancel}))
		require.Equal(t, worker.StateCanceled, r.last(job.ID).State)
		require.NoError(t, r.pool.Client().Delete(t.Context(), job.ID))
		require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
		require.NoError(t, c.Close(t.Context()))
	})
}

// A scheduled job that is deleted becomes due by that, so an idle worker claims it at once. It is not left among the dead.
func TestDeleteWaitsForTheWorkerThatEndsTheJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1, worker.After(time.Hour))
		var saves atomic.Int32
		r.store.Fault = func(context.Context, []worker.Status) error {
			if saves.Add(1) == 1 { // the client's
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Settle" {
				time.Sleep(400 * time.Millisecond)
			}
			return nil
		}
		r.start()
		require.NoError(t, r.pool.Client().Delete(t.Context(), job.ID))
		require.GreaterOrEqual(t, saves.Load(), int32(2), "its worker's")
		r.after(time.Minute)
		require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
		require.Equal(t, worker.StateCanceled, r.last(job.ID).State)
		r.stop()
	})
}

// Somebody else requeues the job just behind Delete's look at its row: what is deleted then is the new round, and the row
// tells of that one only.
func TestDeleteOfAJobThatIsRequeuedMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r *rig
		var id string
		requeue := sync.OnceFunc(func() { require.NoError(t, r.pool.Client().Requeue(t.Context(), id)) })
		r = newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			job.Progress(0.5, "half")
			return worker.Permanent(errFlaky)
		}, func(c *worker.Config) { c.Queue = lateQueue{c.Queue.(*workertest.MemoryQueue), requeue} }).start()
		id = r.enqueue(1).ID
		r.after(time.Minute)
		r.stop()
		require.Equal(t, failed, r.last(id).State)
		before := r.last(id).Token()
		require.NoError(t, r.pool.Client().Delete(t.Context(), id))
		require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", id))
		require.Equal(t, worker.StateCanceled, r.last(id).State)
		require.Greater(t, r.last(id).Token(), before)
		require.Zero(t, r.last(id).Attempt)
		require.Zero(t, r.last(id).Progress)
		require.Empty(t, r.last(id).Message)
	})
}

// Without a store it is the same: a worker that claims a marked job in the midst of its deletion is waited for.
func TestDeleteWaitsForTheWorkerWithoutAStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, withoutStore)
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "RemoveCanceled" || call == "Settle" {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		}
		r.start()
		for range 10 {
			_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.After(time.Hour))
			require.NoError(t, err)
		}
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceScheduled, nil)
		require.NoError(t, err)
		require.Equal(t, 10, n)
		require.Zero(t, r.queue.Count("default", worker.PlaceDead))
		r.stop()
	})
}
