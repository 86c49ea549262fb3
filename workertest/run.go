package workertest

import (
	"log/slog"

	"github.com/real-staging-ai/go-worker"
)

// Run runs one job on a payload as a worker would, without a queue to set up, and returns what became of it: a pool in
// memory decodes and validates the payload, calls the handler below its middleware with the timeout that it has, and
// judges what it returned or how it panicked. A job that fails is not run again; Result says whether and when it would be.
//
// The options are those of an enqueue, of which Run ignores After and At. One of the test's own may also set Attempt,
// Crashes and CheckpointData, to run a later attempt. Timeouts go by package time, which a testing/synctest bubble makes
// fake.
//
// The test fails when the payload cannot be enqueued, and when the registry has no handler for it.
func Run(t T, r *worker.Registry, payload worker.Payload, opts ...worker.JobOption) *Result {
	t.Helper()
	re := rehearse(t, r, payload, opts)
	pool := startWatched(t, re.queue, re.config())
	return re.result(t, pool)
}

// rehearsal is one job in a queue and a store of its own.
type rehearsal struct {
	queue    *MemoryQueue
	store    *MemoryStatusStore
	registry *worker.Registry
	job      *worker.Job
}

// rehearse enqueues the job, due and with the past that its options give it.
func rehearse(t T, r *worker.Registry, payload worker.Payload, opts []worker.JobOption) *rehearsal {
	t.Helper()
	re := &rehearsal{queue: &MemoryQueue{Clock: NewClock()}, store: NewStatusStore(), registry: r}
	job, err := worker.NewJob(payload, opts...)
	if err != nil {
		t.Fatalf("%v", err)
	}
	re.job = job
	client, err := worker.NewClient(re.backend())
	if err == nil {
		err = client.EnqueueMany(t.Context(), job)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	re.queue.age(job)
	return re
}

func (re *rehearsal) backend() worker.Backend {
	return worker.Backend{Queue: re.queue, StatusStore: re.store, Logger: slog.New(slog.DiscardHandler)}
}

func (re *rehearsal) config() worker.Config {
	return worker.Config{
		Backend: re.backend(), Registry: re.registry, Concurrency: 1,
		Queues: map[string]worker.QueueConfig{re.job.Queue: {}},
	}
}

// result waits for what becomes of the job and stops the pool.
func (re *rehearsal) result(t T, pool *watched) *Result {
	t.Helper()
	now := pool.look()
	for ; len(now.results) == 0 && now.problem == nil; now = pool.look() {
		<-now.changed
	}
	err := pool.stop(re.queue)
	if now.problem != nil {
		err = now.problem
	}
	if err != nil {
		t.Fatalf("run %s: %v", re.job.Type, err)
		return nil
	}
	return now.results[0]
}

// age makes a job that waits due, and gives it the attempts, crashes and checkpoint that its fields say.
func (q *MemoryQueue) age(job *worker.Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(job.Queue)
	e := l.entries[job.ID]
	l.unlink(e)
	e.attempts, e.crashes, e.checkpoint = max(job.Attempt-1, 0), job.Crashes, job.CheckpointData
	l.wait(e, l.now())
}
