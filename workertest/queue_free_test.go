package workertest

import (
	"bytes"
	"context"

	"github.com/real-staging-ai/go-worker"
)

// badAtFreeing are backends that free keys wrongly before their jobs end.
var badAtFreeing = map[string][]broken[worker.Queue]{
	"replace what starts": {
		faulty("keeps the keys of all that is held", func(q *faultyQueue) {
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
				if e := q.laneLocked(after.Queue).entries[after.ID]; e != nil && e.place == worker.PlaceHeld {
					return worker.PlaceHeld, 0, nil
				}
				return q.MemoryQueue.Replace(ctx, before, after)
			}
		}),
		faulty("says that it is held", func(q *faultyQueue) {
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
				place, token, err := q.MemoryQueue.Replace(ctx, before, after)
				if e := q.laneLocked(after.Queue).entries[after.ID]; e != nil {
					place = e.place
				}
				return place, token, err
			}
		}),
		replacesAfter("doesn't compare what is held", func(_ *lane, e *entry, _ *worker.Job) *worker.Job { return e.job() }),
		replacesAfter("takes anybody's key", func(l *lane, e *entry, before *worker.Job) *worker.Job {
			if bytes.Equal(e.body, must(worker.EncodeJob(before))) {
				delete(l.unique, before.Unique.Key)
			}
			return before
		}),
		faulty("replaces what is held", func(q *faultyQueue) {
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
				place, token, err := q.MemoryQueue.Replace(ctx, before, after)
				e := q.laneLocked(after.Queue).entries[after.ID]
				if e != nil && e.place == worker.PlaceHeld && bytes.Equal(e.body, must(worker.EncodeJob(before))) {
					e.body = must(worker.EncodeJob(after))
				}
				return place, token, err
			}
		}),
	},
	"release unique": {
		releases("frees nothing", func(l *lane, key, _ string, before taken) { l.unique[key] = before }),
		releases("frees all keys", func(l *lane, _, _ string, _ taken) { clear(l.unique) }),
		releases("ends the job", func(l *lane, _, holder string, _ taken) {
			if e := l.entries[holder]; e != nil && e.place == worker.PlaceWaiting {
				l.unlink(e)
				delete(l.entries, holder)
			}
		}),
		faulty("tells no holder", func(q *faultyQueue) {
			q.release = func(ctx context.Context, queue, key string) (string, error) {
				_, err := q.MemoryQueue.ReleaseUnique(ctx, queue, key)
				return "", err
			}
		}),
		faulty("keeps periods", func(q *faultyQueue) {
			q.release = func(ctx context.Context, queue, key string) (string, error) {
				l := q.laneLocked(queue)
				if e := l.entries[l.holder(key)]; e == nil {
					return l.holder(key), nil
				}
				return q.MemoryQueue.ReleaseUnique(ctx, queue, key)
			}
		}),
		faulty("frees the keys of all queues", func(q *faultyQueue) {
			q.release = func(ctx context.Context, queue, key string) (string, error) {
				for _, l := range q.lanes {
					if l != q.laneLocked(queue) {
						delete(l.unique, key)
					}
				}
				return q.MemoryQueue.ReleaseUnique(ctx, queue, key)
			}
		}),
	},
}

func (q *faultyQueue) ReleaseUnique(ctx context.Context, queue, key string) (string, error) {
	if q.release != nil {
		return q.release(ctx, queue, key)
	}
	return q.MemoryQueue.ReleaseUnique(ctx, queue, key)
}

// releases does something to a queue after a key that somebody had was released.
func releases(what string, spoil func(l *lane, key, holder string, before taken)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.release = func(ctx context.Context, queue, key string) (string, error) {
			l := q.laneLocked(queue)
			before := l.unique[key]
			holder, err := q.MemoryQueue.ReleaseUnique(ctx, queue, key)
			if holder != "" {
				spoil(l, key, holder, before)
			}
			return holder, err
		}
	})
}
