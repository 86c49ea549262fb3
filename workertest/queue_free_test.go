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
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, error) {
				if e := q.laneLocked(after.Queue).entries[after.ID]; e != nil && e.place == worker.PlaceHeld {
					return worker.PlaceHeld, nil
				}
				return q.MemoryQueue.Replace(ctx, before, after)
			}
		}),
		faulty("says that it is held", func(q *faultyQueue) {
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, error) {
				place, err := q.MemoryQueue.Replace(ctx, before, after)
				if e := q.laneLocked(after.Queue).entries[after.ID]; e != nil {
					place = e.place
				}
				return place, err
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
			q.replace = func(ctx context.Context, before, after *worker.Job) (worker.Place, error) {
				place, err := q.MemoryQueue.Replace(ctx, before, after)
				e := q.laneLocked(after.Queue).entries[after.ID]
				if e != nil && e.place == worker.PlaceHeld && bytes.Equal(e.body, must(worker.EncodeJob(before))) {
					e.body = must(worker.EncodeJob(after))
				}
				return place, err
			}
		}),
	},
}
