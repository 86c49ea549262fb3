package simulation

import (
	"context"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// powers is a queue with all powers that redisqueue's has.
type powers interface {
	worker.Queue
	worker.Canceler
	worker.Requeuer
	worker.Knower
	worker.Uniquer
	worker.Ticker
	worker.Inspector
	worker.Editor
}

// sweptQueue is a worker's queue, which its sweeps alone enqueue to: it writes down the jobs that they bring back.
type sweptQueue struct {
	powers
	process *process

	mu    sync.Mutex
	asked map[string]answer // of the last page, by id
}

// answer is what a sweep was told of a job.
type answer struct {
	at    time.Time // when it asked
	place worker.Place
}

// swept writes down what a worker's sweeps bring back, where everybody takes steps at will.
func (p *process) swept(q worker.Queue) worker.Queue {
	if p.slot[0] != 'w' || p.world.turns != nil {
		return q
	}
	return &sweptQueue{powers: q.(powers), process: p}
}

func (q *sweptQueue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	now := time.Now()
	places, err := q.powers.Know(ctx, queue, ids...)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = make(map[string]answer)
	for i, place := range places {
		q.asked[ids[i]] = answer{now, place}
	}
	return places, err
}

// Enqueue is called with jobs that were unknown, and with those that were dead though their rows don't say so.
func (q *sweptQueue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	for _, job := range jobs {
		row, told := q.process.world.rowOf(job.ID), q.told(job.ID)
		if told.place == worker.PlaceUnknown && row != nil && !opensRound(row) {
			q.missing(row, told.at)
		}
	}
	return q.powers.Enqueue(ctx, jobs...)
}

// Reopen is called with dead jobs whose rows say that a new round was opened. One that was reopened may have died again.
func (q *sweptQueue) Reopen(ctx context.Context, job *worker.Job) error {
	w := q.process.world
	row, told := w.rowOf(job.ID), q.told(job.ID)
	if row != nil && opensRound(row) && w.reopenedBy(job.ID, told.at) && !w.startedSince(job.ID, row.Token()) {
		q.missing(row, told.at)
	}
	return q.powers.Reopen(ctx, job)
}

// opensRound reports whether a row was saved by a Requeue: until that is answered, its job may be nowhere.
func opensRound(row *worker.Status) bool {
	const ofPhase = 1<<14 - 1 // the bits of a version below its token: 0 for a waiting job's
	return row.State == worker.StateQueued && row.Token() > 0 && row.Version&ofPhase == 0
}

func (q *sweptQueue) told(id string) answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.asked[id]
}

// missing writes that a job was missing when the sweep asked: what came meanwhile does not count.
func (q *sweptQueue) missing(row *worker.Status, at time.Time) {
	w := q.process.world
	w.tell(q.process, "sweep: %s is missing", row.JobID)
	e := history.Event{At: at.UnixNano(), Proc: q.process.name, Op: history.OpMissing, Job: row.JobID, Token: row.Token()}
	if err := w.events.Append(e); err != nil {
		w.blame("history: %v", err)
	}
}

// requeued says that a producer was told that a new round is open.
func (w *world) requeued(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memoryOf(id).requeued = time.Now()
}

// reopenedBy reports whether by then a producer had been told that a new round of the job is open.
func (w *world) reopenedBy(id string, by time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.memoryOf(id).requeued
	return !at.IsZero() && at.Before(by)
}

// startedSince reports whether the job was started under a later token.
func (w *world) startedSince(id string, token int64) bool {
	for _, e := range w.events.Events() {
		if e.Op == history.OpStart && e.Job == id && e.Token > token {
			return true
		}
	}
	return false
}
