package workertest

import (
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
)

type enqueuesTick = func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error)

// faultyTicks makes a broken backend that enqueues ticks in its own way.
func faultyTicks(what string, spoil func(q *MemoryQueue) enqueuesTick) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) { q.tick = spoil(q.MemoryQueue) })
}

// plainTicks enqueues jobs by their ids alone.
var plainTicks = faultyTicks("looks at ids only", func(q *MemoryQueue) enqueuesTick {
	return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
		err := q.Enqueue(ctx, job)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.rememberLocked(scheduleKey{job.Queue, name}, tick)
		return err == nil, err
	}
})

// changesTicks changes what comes with a tick.
func changesTicks(what string, change func(name *string, tick *time.Time, job *worker.Job)) broken[worker.Queue] {
	return faultyTicks(what, func(q *MemoryQueue) enqueuesTick {
		return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
			delay := job.Delay
			job = copyJob(job)
			job.Delay = delay
			change(&name, &tick, job)
			return q.EnqueueTick(ctx, name, tick, job)
		}
	})
}

// inTwoSteps looks at the last tick, and enqueues afterwards.
var inTwoSteps = faultyTicks("looks first and enqueues then", func(q *MemoryQueue) enqueuesTick {
	return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
		last, _, err := q.LastTick(ctx, job.Queue, name, time.UnixMilli(1))
		if err != nil || !tick.After(last) {
			return false, err
		}
		time.Sleep(time.Millisecond)
		err = q.Enqueue(ctx, job)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.rememberLocked(scheduleKey{job.Queue, name}, tick)
		return true, err
	}
})

// forgetsTicks remembers a tick only if it enqueued a job.
var forgetsTicks = faultyTicks("forgets ticks of known ids", func(q *MemoryQueue) enqueuesTick {
	return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
		if q.Place(job.Queue, job.ID) == worker.PlaceUnknown {
			return q.EnqueueTick(ctx, name, tick, job)
		}
		err := q.Enqueue(ctx, job)
		return err == nil, err
	}
})

// forgetsTurnedAway remembers a tick only if its job was not turned away.
var forgetsTurnedAway = faultyTicks("forgets ticks of duplicates", func(q *MemoryQueue) enqueuesTick {
	return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
		if holders, err := q.Holders(ctx, job); err == nil && holders[0].ID != "" {
			return false, q.Enqueue(ctx, job)
		}
		return q.EnqueueTick(ctx, name, tick, job)
	}
})

// changesLast changes what LastTick is asked and what it says.
func changesLast(what string, change func(queue, name *string, begin *time.Time) func(last, now *time.Time)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.last = func(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
			after := change(&queue, &name, &begin)
			last, now, err = q.MemoryQueue.LastTick(ctx, queue, name, begin)
			if after != nil {
				after(&last, &now)
			}
			return last, now, err
		}
	})
}

var badAtTick = map[string][]broken[worker.Queue]{
	"tick": {
		changesTicks("drops headers", func(_ *string, _ *time.Time, job *worker.Job) { job.Headers = nil }),
		changesTicks("drops RunAt", func(_ *string, _ *time.Time, job *worker.Job) { job.RunAt = time.Time{} }),
		changesTicks("compacts payloads", func(_ *string, _ *time.Time, job *worker.Job) { job.Payload = []byte("{}") }),
		changesTicks("remembers whole seconds", func(_ *string, at *time.Time, _ *worker.Job) { *at = at.Truncate(time.Second) }),
		changesTicks("forgets the tick", func(name *string, _ *time.Time, _ *worker.Job) { *name += "?" }),
	},
	"tick twice":  {plainTicks},
	"older ticks": {plainTicks},
	"unique ticks": {
		changesTicks("drops unique keys", func(_ *string, _ *time.Time, job *worker.Job) { job.Unique = nil }), forgetsTurnedAway,
	},
	"ticks at once": {plainTicks, inTwoSteps},
	"schedules apart": {
		changesTicks("takes all schedules for one", func(name *string, _ *time.Time, _ *worker.Job) { *name = "s" }),
		faulty("has one memory for all queues", func(q *faultyQueue) {
			q.tick = func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
				q.mu.Lock()
				var last time.Time
				for key, t := range q.ticks {
					if key.name == name && t.After(last) {
						last = t
					}
				}
				q.mu.Unlock()
				if !tick.After(last) {
					return false, nil
				}
				return q.MemoryQueue.EnqueueTick(ctx, name, tick, job)
			}
		}),
	},
	"schedule begins": {
		faulty("remembers no beginning", func(q *faultyQueue) {
			q.last = func(_ context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
				q.mu.Lock()
				defer q.mu.Unlock()
				if last, ok := q.ticks[scheduleKey{queue, name}]; ok {
					return last, q.now(), nil
				}
				return begin, q.now(), nil
			}
		}),
		changesLast("begins in the future", func(_, _ *string, begin *time.Time) func(last, now *time.Time) {
			return func(last, _ *time.Time) {
				if last.Before(*begin) {
					*last = *begin
				}
			}
		}),
	},
	"queue's clock": {
		changesLast("has a clock that stands", func(_, _ *string, _ *time.Time) func(last, now *time.Time) {
			return func(last, now *time.Time) { *now = *last }
		}),
	},
	"early ticks": {plainTicks},
	"tick of an active job": {
		forgetsTicks,
		faultyTicks("takes every id as new", func(q *MemoryQueue) enqueuesTick {
			return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
				done, err := q.EnqueueTick(ctx, name, tick, job)
				body, _ := worker.EncodeJob(job)
				q.EnqueueRaw(job.Queue, job.ID, body)
				return done, err
			}
		}),
	},
	"tick of a dead job": {
		forgetsTicks,
		faultyTicks("says nothing of the dead", func(q *MemoryQueue) enqueuesTick {
			return func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
				_, _ = q.EnqueueTick(ctx, name, tick, job)
				return true, nil
			}
		}),
	},
	"delayed ticks": {
		changesTicks("ignores Delay", func(_ *string, _ *time.Time, job *worker.Job) {
			if job.Delay > 0 {
				job.Delay, job.RunAt = 0, time.Time{}
			}
		}),
		changesTicks("ignores RunAt", func(_ *string, _ *time.Time, job *worker.Job) { job.RunAt = time.Time{} }),
	},
}
