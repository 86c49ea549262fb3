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

// write puts the first status of a job into the store, as a host's transaction does, and returns the job.
func (r *rig) write(n int, opts ...worker.JobOption) *worker.Job {
	r.t.Helper()
	job, err := worker.NewJob(ping{n}, opts...)
	require.NoError(r.t, err)
	first, err := worker.InitialStatus(job)
	require.NoError(r.t, err)
	r.save(first)
	return job
}

func (r *rig) sweep() int {
	r.t.Helper()
	n, err := r.pool.Client().Sweep(r.t.Context())
	require.NoError(r.t, err)
	return n
}

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

func TestPoolsSweepWhatTheQueueDoesNotKnow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var starts atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil }).start()
		defer r.stop()
		var jobs []*worker.Job
		for n := range 250 { // more than a page
			jobs = append(jobs, r.write(n))
		}
		r.after(29 * time.Second)
		assert.Zero(t, starts.Load(), "swept before a minute had passed")
		r.after(3 * time.Minute)
		for _, job := range jobs {
			require.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
		}
		r.after(10 * time.Minute)
		assert.EqualValues(t, len(jobs), starts.Load())
	})
}

func TestSweepLeavesAloneWhatTheQueueKnows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var starts atomic.Int32
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			starts.Add(1)
			time.Sleep(20 * time.Minute)
			return nil
		}, func(c *worker.Config) { c.Concurrency = 1 }).start()
		defer r.stop()
		r.enqueue(1)
		r.enqueue(2)
		r.enqueue(3, worker.After(time.Hour))
		r.after(10 * time.Minute)
		assert.Zero(t, r.sweep())
		assert.EqualValues(t, 1, starts.Load())
		r.after(2 * time.Hour)
		assert.EqualValues(t, 3, starts.Load())
	})
}

func TestSweptJobIsDueAtItsRowsRunAt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var ran time.Time
		r := newRig(t, func(context.Context, *worker.Job, ping) error { ran = time.Now(); return nil }).start()
		defer r.stop()
		job := r.write(1)
		retrying := *r.last(job.ID)
		retrying.State, retrying.Attempt, retrying.Version = worker.StateRetrying, 2, 5<<14|2<<12
		retrying.RunAt = time.Now().Add(time.Hour)
		r.save(retrying)
		r.after(4 * time.Minute)
		require.Equal(t, worker.PlaceWaiting, r.queue.Place(worker.DefaultQueue, job.ID))
		r.after(2 * time.Hour)
		assert.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
		assert.WithinDuration(t, retrying.RunAt, ran, time.Second)
	})
}

// staleRows lists rows as they were before their jobs ended.
type staleRows struct {
	*workertest.MemoryStatusStore
	rows []worker.Status
}

func (s *staleRows) Unfinished(context.Context, time.Duration, string, int) ([]worker.Status, string, error) {
	return s.rows, "", nil
}

func TestSweepDoesNotRunWhatHasJustEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &staleRows{MemoryStatusStore: workertest.NewStatusStore()}
		var starts atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil },
			func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		r.start()
		defer r.stop()
		job := r.write(1)
		store.rows = []worker.Status{*r.last(job.ID), {JobID: "nobody's", Queue: "default"}, {JobID: "odd", Queue: "{}"}}
		require.NoError(t, r.pool.Client().Push(t.Context(), job))
		r.quiet()
		require.Equal(t, worker.StateSucceeded, r.last(job.ID).State)
		assert.Zero(t, r.sweep())
		r.quiet()
		assert.EqualValues(t, 1, starts.Load())
	})
}

// A row that was copied by hand, with the job of another in it, runs neither.
func TestSweepDoesNotRunAnothersJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var starts atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil }).start()
		defer r.stop()
		job := r.enqueue(1)
		r.quiet()
		copied := r.store.History(job.ID)[0]
		copied.JobID = "copy"
		r.save(copied)
		r.after(10 * time.Minute)
		assert.EqualValues(t, 1, starts.Load())
		assert.Equal(t, worker.PlaceUnknown, r.queue.Place(worker.DefaultQueue, "copy"))
	})
}

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

// The store forgot a job that the queue still has among the dead, and a transaction wrote it anew.
func TestSweepTellsTheEndOfWhatTheQueueKnowsAsDead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) },
			withoutStore).start()
		job := r.enqueue(1)
		r.quiet()
		r.stop()
		require.Equal(t, worker.PlaceDead, r.queue.Place(worker.DefaultQueue, job.ID))

		again := newRig(t, nil, func(c *worker.Config) { c.Queue = r.queue })
		again.write(1, worker.WithID(job.ID))
		again.after(2 * time.Minute)
		assert.Zero(t, again.sweep())
		assert.Equal(t, worker.StateFailed, again.last(job.ID).State)
	})
}

// strictStore refuses, for its data, every end of a job but one without a result.
type strictStore struct {
	*workertest.MemoryStatusStore
	lenient atomic.Bool
}

func (s *strictStore) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	for i := range statuses {
		if !s.lenient.Load() && statuses[i].State.Final() {
			return nil, worker.Permanent(errors.New("bad data"))
		}
	}
	return s.MemoryStatusStore.Save(ctx, statuses...)
}

// A job whose end the store refuses for its data is buried in the queue, and its row goes on running: the job must not
// run again for that, and its end is recorded as soon as the store takes it.
func TestSweepDoesNotRunAgainWhatTheQueueHasBuried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &strictStore{MemoryStatusStore: workertest.NewStatusStore()}
		var starts atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil },
			func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		r.start()
		defer r.stop()
		job := r.enqueue(1)
		r.after(10 * time.Minute)
		require.Equal(t, worker.PlaceDead, r.queue.Place(worker.DefaultQueue, job.ID))
		require.Equal(t, worker.StateRunning, r.last(job.ID).State)
		store.lenient.Store(true)
		r.after(3 * time.Minute)
		assert.Equal(t, worker.StateFailed, r.last(job.ID).State)
		assert.EqualValues(t, 1, starts.Load())
	})
}

// pickyQueue refuses some jobs, and doesn't answer about some queues.
type pickyQueue struct {
	*workertest.MemoryQueue
	refused map[string]bool // by job id
	silent  string          // the queue
}

func (q *pickyQueue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	if queue == q.silent {
		return nil, errors.New("silent")
	}
	return q.MemoryQueue.Know(ctx, queue, ids...)
}

func (q *pickyQueue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	failed := make(map[string]error)
	for _, job := range jobs {
		if q.refused[job.ID] {
			failed[job.ID] = worker.ErrRefused
		} else if err := q.MemoryQueue.Enqueue(ctx, job); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return &worker.EnqueueError{Failed: failed}
	}
	return nil
}

func TestOneRefusedJobKeepsNoOtherFromBeingSwept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := &pickyQueue{MemoryQueue: workertest.NewQueue(), refused: make(map[string]bool)}
		r := newRig(t, nil, func(c *worker.Config) { c.Queue = q })
		var refused string
		for n := range 250 {
			job := r.write(n)
			if n == 10 {
				refused, q.refused[job.ID] = job.ID, true
			}
		}
		r.after(2 * time.Minute)
		n, err := r.pool.Client().Sweep(t.Context())
		require.ErrorIs(t, err, worker.ErrRefused)
		assert.Equal(t, 249, n)
		assert.Equal(t, 249, q.Count(worker.DefaultQueue, worker.PlaceWaiting))
		assert.Equal(t, worker.StateQueued, r.last(refused).State, "it waits for a better time")
	})
}

func TestOneSilentQueueKeepsNoOtherFromBeingSwept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := &pickyQueue{MemoryQueue: workertest.NewQueue(), silent: "silent"}
		r := newRig(t, nil, func(c *worker.Config) { c.Queue = q })
		for n := range 150 {
			r.write(n, worker.OnQueue("silent"))
			r.write(n)
		}
		r.after(2 * time.Minute)
		n, err := r.pool.Client().Sweep(t.Context())
		require.ErrorContains(t, err, `queue "silent"`)
		assert.Equal(t, 150, n)
	})
}

// slowStore takes its time for each row that is read, and cannot read some.
type slowStore struct {
	*workertest.MemoryStatusStore
	takes    time.Duration
	broken   map[string]bool // by job id
	readers  atomic.Int32
	together atomic.Bool // two read at a time
}

func (s *slowStore) Get(ctx context.Context, id string) (*worker.Status, error) {
	if s.readers.Add(1) > 1 {
		s.together.Store(true)
	}
	defer s.readers.Add(-1)
	time.Sleep(s.takes)
	if s.broken[id] {
		return nil, errors.New("cannot be read")
	}
	return s.MemoryStatusStore.Get(ctx, id)
}

func TestRowsThatCannotBeReadKeepNoOtherFromBeingSwept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &slowStore{MemoryStatusStore: workertest.NewStatusStore(), broken: make(map[string]bool)}
		r := newRig(t, nil, func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		for n := range 250 {
			if job := r.write(n); n == 10 || n == 20 {
				store.broken[job.ID] = true
			}
		}
		r.after(2 * time.Minute)
		n, err := r.pool.Client().Sweep(t.Context())
		require.ErrorContains(t, err, "cannot be read")
		assert.Equal(t, 248, n)
	})
}

// A page that takes long must not cost its sweeper the lock: others would begin anew, and no pass come to its end.
func TestSlowSweepsComeToTheirEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &slowStore{MemoryStatusStore: workertest.NewStatusStore(), takes: 600 * time.Millisecond}
		q := &pickyQueue{MemoryQueue: workertest.NewQueue(), refused: make(map[string]bool)}
		var starts atomic.Int32
		rigs := make([]*rig, 20)
		for i := range rigs {
			rigs[i] = newRig(t, func(context.Context, *worker.Job, ping) error { starts.Add(1); return nil },
				func(c *worker.Config) { c.StatusStore, c.Queue = store, q })
			rigs[i].store = store.MemoryStatusStore
		}
		r := rigs[0]
		for n := range 300 {
			q.refused[r.write(n).ID] = n < 100
		}
		for _, r := range rigs {
			r.start()
			defer r.stop()
		}
		r.after(20 * time.Minute)
		assert.EqualValues(t, 200, starts.Load())
		assert.False(t, store.together.Load(), "one sweeps at a time")
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

func TestSweepStopsWhenTheQueueIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		for n := range 250 {
			r.write(n)
		}
		r.after(2 * time.Minute)
		var calls atomic.Int32
		r.queue.Fault = func(context.Context, string) error { calls.Add(1); return errors.New("away") }
		_, err := r.pool.Client().Sweep(t.Context())
		require.ErrorContains(t, err, "away")
		assert.EqualValues(t, 1, calls.Load())
	})
}

// countedStore counts the passes of sweeps.
type countedStore struct {
	*workertest.MemoryStatusStore
	passes atomic.Int32
	fault  func()
}

func (s *countedStore) Unfinished(ctx context.Context, idle time.Duration, cursor string, n int) ([]worker.Status, string, error) {
	s.passes.Add(1)
	if s.fault != nil {
		s.fault()
	}
	return s.MemoryStatusStore.Unfinished(ctx, idle, cursor, n)
}

func TestPoolsShareTheWorkOfSweeping(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &countedStore{MemoryStatusStore: workertest.NewStatusStore()}
		for range 20 {
			r := newRig(t, nil, func(c *worker.Config) { c.StatusStore = store }).start()
			defer r.stop()
		}
		time.Sleep(30 * time.Minute)
		assert.Greater(t, store.passes.Load(), int32(15))
		assert.LessOrEqual(t, store.passes.Load(), int32(61), "more than two a minute")
	})
}

func TestPoolOutlivesAStoreThatPanicsWhenSwept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &countedStore{MemoryStatusStore: workertest.NewStatusStore(), fault: func() { panic("rows") }}
		r := newRig(t, nil, func(c *worker.Config) { c.StatusStore = store }).start()
		defer r.stop()
		r.after(10 * time.Minute)
		assert.Greater(t, store.passes.Load(), int32(3))
	})
}

func TestSweepIntervalSaysHowOftenAndWhether(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, c := range []struct {
			interval    time.Duration
			least, most int32
		}{{-1, 0, 0}, {5 * time.Second, 60, 240}} {
			store := &countedStore{MemoryStatusStore: workertest.NewStatusStore()}
			r := newRig(t, nil, func(cfg *worker.Config) { cfg.StatusStore, cfg.SweepInterval = store, c.interval }).start()
			r.after(10 * time.Minute)
			r.stop()
			assert.GreaterOrEqual(t, store.passes.Load(), c.least)
			assert.LessOrEqual(t, store.passes.Load(), c.most)
		}
	})
}

func TestSweepAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil)
		mine, err := r.store.LockSweep(t.Context(), "another", time.Minute, 0)
		require.NoError(t, err)
		require.True(t, mine)
		_, err = r.pool.Client().Sweep(t.Context())
		require.ErrorIs(t, err, worker.ErrSweeping)
		r.after(2 * time.Minute)
		assert.Zero(t, r.sweep(), "another's lock has ended")
		assert.Zero(t, r.sweep(), "a sweep gives its lock back, and may follow at once")

		_, err = newRig(t, nil, withoutStore).pool.Client().Sweep(t.Context())
		require.ErrorIs(t, err, errors.ErrUnsupported)
	})
}
