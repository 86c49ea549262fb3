package workertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// scheduleKey is what a MemoryQueue remembers a tick of.
type scheduleKey struct{ queue, name string }

// maxEarly is how far a tick may be ahead of the queue's clock.
const maxEarly = time.Minute

// LastTick implements worker.Ticker.
func (q *MemoryQueue) LastTick(
	ctx context.Context, queue, name string, begin time.Time,
) (last, now time.Time, err error) {
	if err := q.beginOn(ctx, "LastTick", queue); err != nil {
		return time.Time{}, time.Time{}, err
	}
	if name == "" {
		return time.Time{}, time.Time{}, errNameless
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.now()
	key := scheduleKey{queue, name}
	last, known := q.ticks[key]
	if !known {
		if last = begin; now.Before(begin) {
			last = now
		}
		q.rememberLocked(key, last)
	}
	return last, now, nil
}

// EnqueueTick implements worker.Ticker.
func (q *MemoryQueue) EnqueueTick(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
	if err := q.begin(ctx, "EnqueueTick"); err != nil {
		return false, err
	}
	if name == "" {
		return false, fmt.Errorf("%w: %w", worker.ErrRefused, errNameless)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if tick.Sub(q.now()) > maxEarly {
		return false, fmt.Errorf("%w: the tick %s of %q is ahead of the queue's clock", worker.ErrRefused, tick, name)
	}
	key := scheduleKey{job.Queue, name}
	if last, known := q.ticks[key]; known && !tick.After(last) {
		return false, nil
	}
	err := q.enqueueLocked(job)
	if err == nil || errors.As(err, new(*worker.FinishedError)) || errors.As(err, new(*worker.DuplicateError)) {
		q.rememberLocked(key, tick)
	}
	if err != nil {
		return false, &worker.EnqueueError{Failed: map[string]error{job.ID: err}}
	}
	return true, nil
}

var errNameless = errors.New("the schedule has no name")

func (q *MemoryQueue) rememberLocked(key scheduleKey, tick time.Time) {
	if q.ticks == nil {
		q.ticks = make(map[scheduleKey]time.Time)
	}
	q.ticks[key] = tick
}
