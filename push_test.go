package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestInitialStatus(t *testing.T) {
	job := &worker.Job{Type: "ping", Payload: []byte(`{"n":1}`), Delay: time.Hour}
	st, err := worker.InitialStatus(job)
	require.NoError(t, err)
	assert.NotEmpty(t, job.ID)
	assert.Equal(t, job.ID, st.JobID)
	assert.Equal(t, "job:"+job.ID, st.Topic)
	assert.Equal(t, worker.StateScheduled, st.State)
	assert.WithinDuration(t, st.At.Add(time.Hour), st.RunAt, time.Second)
	assert.Zero(t, st.Version)
	assert.Equal(t, job.Payload, st.Job.Payload)

	_, err = worker.InitialStatus(nil)
	require.ErrorContains(t, err, "job is nil")
	_, err = worker.InitialStatus(&worker.Job{Type: "ping", Payload: []byte(`{`)})
	require.ErrorContains(t, err, "payload is not valid JSON")
}

func TestPushEnqueuesWhatATransactionWrote(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil }).start()
		defer r.stop()
		job := r.write(1)
		require.NoError(t, r.pool.Client().Push(t.Context(), job))
		require.NoError(t, r.pool.Client().Push(t.Context(), job), "once more")
		r.quiet()
		assert.Equal(t, []worker.State{worker.StateQueued, worker.StateRunning, worker.StateSucceeded}, r.states(job.ID))
		assert.Equal(t, worker.StateQueued, r.toldStates(job.ID)[0], "the first status is announced, too")
	})
}

func TestPushChecksAllBeforeItPushesAny(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		good, bad := r.write(1), &worker.Job{Type: "ping", Payload: []byte(`{`)}
		require.ErrorContains(t, r.pool.Client().Push(t.Context(), good, bad), "payload is not valid JSON")
		require.ErrorContains(t, r.pool.Client().Push(t.Context(), good, nil), "job 1 is nil")
		require.ErrorContains(t, r.pool.Client().Push(t.Context(), good, good), "in the call twice")
		require.NoError(t, r.pool.Client().Push(t.Context()))
		assert.Zero(t, r.queue.Count(worker.DefaultQueue, worker.PlaceWaiting))
	})
}

// A refused push loses nothing: the row goes on waiting, and a sweep delivers it.
func TestRefusedPushLeavesTheJobToTheSweep(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil })
		refuses := true
		r.queue.Fault = func(_ context.Context, call string) error {
			if refuses && call == "Enqueue" {
				return worker.ErrRefused
			}
			return nil
		}
		job := r.write(1)
		require.ErrorIs(t, r.pool.Client().Push(t.Context(), job), worker.ErrRefused)
		assert.Equal(t, []worker.State{worker.StateQueued}, r.states(job.ID))
		refuses = false
		r.start()
		defer r.stop()
		r.after(3 * time.Minute)
		assert.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
	})
}

// A Push of a job that is dead leaves the row alone that a Requeue has opened, and one that runs again by then.
func TestPushLeavesARequeueAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &hookedStore{MemoryStatusStore: workertest.NewStatusStore()}
		r := newRig(t, noop, func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		job := r.enqueue(1)
		h := r.byHand()
		h.fail()
		h.beginRequeue(job.ID)
		client := r.pool.Client()
		require.ErrorAs(t, client.Push(t.Context(), job), new(*worker.FinishedError))
		require.Equal(t, queued, r.last(job.ID).State)

		store.before = func() {
			require.NoError(t, r.queue.Reopen(t.Context(), job))
			again := h.claim()
			h.record(job.ID, running, again.Token, 1)
		}
		require.NoError(t, client.Push(t.Context(), job), "it is no longer dead")
		require.Equal(t, running, r.last(job.ID).State)
		require.NoError(t, h.consumer.Close(t.Context()))
	})
}

// A Push whose second question to the queue gets no answer tells what the first one said of the other jobs. Whether a job
// that was dead is enqueued by now, nobody knows.
func TestPushTellsWhatItKnowsThoughTheSecondTryFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		dead, full, good := r.write(1), r.write(2), r.write(3)
		asked := 0
		r.queue.Fault = func(_ context.Context, call string) error {
			if call != "Enqueue" {
				return nil
			}
			if asked++; asked > 1 {
				return errFlaky
			}
			return &worker.EnqueueError{Failed: map[string]error{
				dead.ID: &worker.FinishedError{ID: dead.ID, State: worker.StateFailed},
				full.ID: fmt.Errorf("full: %w", worker.ErrRefused),
			}}
		}
		var failed *worker.EnqueueError
		require.ErrorAs(t, r.pool.Client().Push(t.Context(), dead, full, good), &failed)
		require.Equal(t, 2, asked)
		require.Len(t, failed.Failed, 2)
		require.ErrorIs(t, failed.Failed[full.ID], worker.ErrRefused)
		require.ErrorIs(t, failed.Failed[dead.ID], errFlaky)
		require.False(t, errors.As(failed.Failed[dead.ID], new(*worker.FinishedError)))
		require.Equal(t, queued, r.last(dead.ID).State)
	})
}

// pickyStore refuses every status of a job that runs or ran, when told so.
type pickyStore struct {
	*workertest.MemoryStatusStore
	refuses atomic.Bool
}

func (s *pickyStore) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	for i := range statuses {
		if s.refuses.Load() && statuses[i].State != worker.StateQueued {
			return nil, worker.Permanent(errors.New("bad data"))
		}
	}
	return s.MemoryStatusStore.Save(ctx, statuses...)
}

func TestPushRecordsTheEndOfWhatTheQueueKnowsAsDead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &strictStore{MemoryStatusStore: workertest.NewStatusStore()}
		r := newRig(t, noop, func(c *worker.Config) { c.StatusStore, c.SweepInterval = store, -1 })
		r.store = store.MemoryStatusStore
		r.start()
		defer r.stop()
		job := r.enqueue(1)
		r.after(time.Second)
		require.Equal(t, worker.PlaceDead, r.queue.Place(worker.DefaultQueue, job.ID))
		require.Equal(t, running, r.last(job.ID).State)
		store.lenient.Store(true)
		require.ErrorAs(t, r.pool.Client().Push(t.Context(), job), new(*worker.FinishedError))
		assert.Equal(t, worker.StateFailed, r.last(job.ID).State)
		r.quiet()
		assert.Equal(t, 1, len(slices.DeleteFunc(r.toldStates(job.ID), func(s worker.State) bool { return s != queued })))
	})
}
