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
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestSweepFinishesARequeueThatWasCutShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var fails atomic.Bool
		fails.Store(true)
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			if fails.Load() {
				return worker.Permanent(errFlaky)
			}
			return nil
		})
		r.queue.Fault = func(_ context.Context, call string) error {
			if fails.Load() && call == "Reopen" {
				return errors.New("cut")
			}
			return nil
		}
		r.start()
		defer r.stop()
		job := r.enqueue(1)
		r.quiet()
		require.Equal(t, worker.StateFailed, r.last(job.ID).State)
		require.ErrorContains(t, r.pool.Client().Requeue(t.Context(), job.ID), "cut")
		require.Equal(t, worker.StateQueued, r.last(job.ID).State)
		fails.Store(false)
		r.after(3 * time.Minute)
		assert.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
	})
}

// A job that is requeued, and buried again since the store refuses all that becomes of it, is not taken for a Requeue
// that was cut short, time and again.
func TestSweepReopensARoundOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var starts atomic.Int32
		store := &pickyStore{MemoryStatusStore: workertest.NewStatusStore()}
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return worker.Permanent(errFlaky) },
			func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		r.start()
		defer r.stop()
		job := r.enqueue(1)
		r.quiet()
		store.refuses.Store(true)
		require.NoError(t, r.pool.Client().Requeue(t.Context(), job.ID))
		r.after(time.Hour)
		assert.LessOrEqual(t, starts.Load(), int32(3), "the first, the requeued, and one that may have been cut short")
	})
}

// byHand is a consumer whose jobs go their way step by step.
type byHand struct {
	*rig
	consumer worker.Consumer
}

func (r *rig) byHand() *byHand {
	c, err := r.queue.Consume(r.t.Context(), worker.DefaultQueue, worker.ConsumeOptions{MaxCrashes: 3})
	require.NoError(r.t, err)
	return &byHand{r, c}
}

func (h *byHand) claim() *worker.Job {
	jobs, err := h.consumer.Claim(h.t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(h.t, err)
	require.Len(h.t, jobs, 1)
	return jobs[0]
}

func (h *byHand) bury(job *worker.Job) {
	require.NoError(h.t, h.consumer.Settle(h.t.Context(), worker.Verdict{Job: job, Action: worker.ActionBury}))
}

// record saves a state of the job in a phase of a token.
func (h *byHand) record(id string, state worker.State, token, phase int64) {
	st := *h.last(id)
	st.State, st.Version = state, token<<14|phase<<12
	h.save(st)
}

// fail claims a job and lets it fail for good.
func (h *byHand) fail() *worker.Job {
	job := h.claim()
	h.record(job.ID, worker.StateFailed, job.Token, 3)
	h.bury(job)
	return job
}

// beginRequeue does all of a Requeue but the move.
func (h *byHand) beginRequeue(id string) {
	_, token, err := h.queue.DrawToken(h.t.Context(), worker.DefaultQueue, id)
	require.NoError(h.t, err)
	h.record(id, queued, token, 0)
}

// sweep sweeps and checks how many jobs it enqueued.
func (h *byHand) sweep(want int) {
	h.t.Helper()
	n, err := h.pool.Client().Sweep(h.t.Context())
	require.NoError(h.t, err)
	require.Equal(h.t, want, n)
}

// runsOnce lets the pool run the job, which must succeed at once.
func (h *byHand) runsOnce(id string, starts *atomic.Int32) {
	h.t.Helper()
	require.NoError(h.t, h.consumer.Close(h.t.Context()))
	h.start()
	h.quiet()
	assert.Equal(h.t, succeeded, h.last(id).State)
	assert.EqualValues(h.t, 1, starts.Load())
	h.stop()
}

// A sweep that comes to finish a Requeue and finds the job held, as a claim of an earlier round has it that was let in by
// another Requeue, has not reopened the round: the next one does.
func TestSweepFinishesARequeueLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var starts atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil })
		job := r.enqueue(1)
		h := r.byHand()
		first := h.fail()
		h.beginRequeue(job.ID)
		r.after(2 * time.Minute)
		var late *worker.Job
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Reopen" {
				r.queue.Fault = nil
				require.NoError(t, r.queue.Reopen(t.Context(), first))
				late = h.claim()
			}
			return nil
		}
		h.sweep(0)
		h.bury(late)
		h.sweep(1)
		h.runsOnce(job.ID, &starts)
	})
}

// hookedStore does something before it is read.
type hookedStore struct {
	*workertest.MemoryStatusStore
	before func()
}

func (s *hookedStore) Get(ctx context.Context, id string) (*worker.Status, error) {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	return s.MemoryStatusStore.Get(ctx, id)
}

// Between a sweep's question to the queue and its look at the row, a job may be pushed, fail, and be requeued as far as
// the row. The end that the queue then tells of is not the new round's.
func TestSweepLeavesARequeueThatHasJustBegun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var starts atomic.Int32
		store := &hookedStore{MemoryStatusStore: workertest.NewStatusStore()}
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil },
			func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		job, err := worker.NewJob(ping{1})
		require.NoError(t, err)
		st, err := worker.InitialStatus(job)
		require.NoError(t, err)
		r.save(st)
		r.after(2 * time.Minute)
		h := r.byHand()
		store.before = func() {
			require.NoError(t, r.queue.Enqueue(t.Context(), job))
			h.fail()
			h.beginRequeue(job.ID)
		}
		h.sweep(0)
		require.Equal(t, queued, r.last(job.ID).State)
		r.after(2 * time.Minute)
		h.sweep(1)
		h.runsOnce(job.ID, &starts)
	})
}
