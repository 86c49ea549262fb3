package workertest

import (
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// badAtReplacing are backends that tell of a wrong holder, or replace what they should not.
var badAtReplacing = map[string][]broken[worker.Queue]{
	"holders": {
		tellsHolders("tells nothing", func(_ *worker.Job, h *worker.Holder) { *h = worker.Holder{} }),
		tellsHolders("tells without the job", func(_ *worker.Job, h *worker.Holder) { h.Job = nil }),
		tellsHolders("tells a job that nobody wants", func(job *worker.Job, h *worker.Holder) { h.Job = job }),
		tellsHolders("takes a job for its own holder", func(job *worker.Job, h *worker.Holder) {
			if h.ID == "" && job.Unique.Key == "key" {
				h.ID = job.ID
			}
		}),
		tellsHolders("has nothing to say about the dead", func(job *worker.Job, h *worker.Holder) {
			if job.Unique.Key == "dead" {
				h.ID = ""
			}
		}),
		tellsHolders("keeps all out", func(_ *worker.Job, h *worker.Holder) { h.ID = "nobody" }),
	},
	"replace": {
		faulty("draws no token", func(q *faultyQueue) {
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
				place, _, err := q.MemoryQueue.Replace(ctx, before, after)
				return place, 1, err
			}
		}),
		faulty("replaces nothing", func(q *faultyQueue) {
			q.replace = func(context.Context, *worker.Job, *worker.Job) (worker.Place, int64, error) {
				return worker.PlaceWaiting, q.token + 1, nil
			}
		}),
		changesReplaced("keeps checkpoints", func(_ *lane, e *entry, before entry) { e.checkpoint = before.checkpoint }),
		changesReplaced("counts attempts anew", func(_ *lane, e *entry, _ entry) { e.attempts = 0 }),
		changesReplaced("goes to the end of the line", func(l *lane, e *entry, _ entry) {
			l.unlink(e)
			l.wait(e, time.Time{})
		}),
		changesReplaced("takes the key away", func(l *lane, _ *entry, _ entry) { clear(l.unique) }),
	},
	"replace moves": {
		changesReplaced("is due as before", func(l *lane, e *entry, before entry) {
			l.unlink(e)
			l.wait(e, before.due)
		}),
		changesReplaced("is due at once", func(l *lane, e *entry, _ entry) { l.hasten(e) }),
	},
	"replace what waits": {
		faulty("says that it has replaced", func(q *faultyQueue) {
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
				_, token, err := q.MemoryQueue.Replace(ctx, before, after)
				return worker.PlaceWaiting, token, err
			}
		}),
		replacesAfter("doesn't compare", func(_ *lane, e *entry, _ *worker.Job) *worker.Job { return e.job() }),
		replacesAfter("doesn't look at marks", func(_ *lane, e *entry, before *worker.Job) *worker.Job {
			e.canceled = false
			return before
		}),
		replacesAfter("doesn't look at the key", func(l *lane, e *entry, before *worker.Job) *worker.Job {
			l.unique[before.Unique.Key] = taken{e.id, l.now().Add(time.Hour)}
			return before
		}),
		replacesAfter("takes the key of whatever is held", func(l *lane, e *entry, before *worker.Job) *worker.Job {
			if e.place == worker.PlaceHeld {
				l.unlock(before.Unique, e.id)
			}
			return before
		}),
	},
}

func (q *faultyQueue) Holders(ctx context.Context, jobs ...*worker.Job) ([]worker.Holder, error) {
	got, err := q.MemoryQueue.Holders(ctx, jobs...)
	if q.holders != nil {
		q.holders(jobs, got)
	}
	return got, err
}

func (q *faultyQueue) Replace(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
	if q.replace != nil {
		return q.replace(ctx, before, after)
	}
	return q.MemoryQueue.Replace(ctx, before, after)
}

// tellsHolders changes what is told about each job.
func tellsHolders(what string, change func(*worker.Job, *worker.Holder)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.holders = func(jobs []*worker.Job, got []worker.Holder) {
			for i := range got {
				change(jobs[i], &got[i])
			}
		}
	})
}

// changesReplaced does something to the entry that was replaced.
func changesReplaced(what string, change func(l *lane, e *entry, before entry)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
			l := q.laneLocked(after.Queue)
			was := entry{}
			if e := l.entries[after.ID]; e != nil {
				was = *e
			}
			place, token, err := q.MemoryQueue.Replace(ctx, before, after)
			if place == worker.PlaceWaiting {
				change(l, l.entries[after.ID], was)
			}
			return place, token, err
		}
	})
}

// replacesAfter does something to a queue before it replaces.
func replacesAfter(what string, spoil func(l *lane, e *entry, before *worker.Job) *worker.Job) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
			l := q.laneLocked(after.Queue)
			if e := l.entries[after.ID]; e != nil {
				before = spoil(l, e, before)
			}
			return q.MemoryQueue.Replace(ctx, before, after)
		}
	})
}
