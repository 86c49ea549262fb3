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
