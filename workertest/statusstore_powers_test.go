package workertest

import (
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
)

func (s *faultyStore) Unfinished(
	ctx context.Context, idle time.Duration, cursor string, limit int,
) ([]worker.Status, string, error) {
	if s.list != nil {
		return s.list(ctx, idle, cursor, limit)
	}
	return s.MemoryStatusStore.Unfinished(ctx, idle, cursor, limit)
}

func (s *faultyStore) LockSweep(ctx context.Context, owner string, lease, rest time.Duration) (bool, error) {
	if s.lock != nil {
		return s.lock(ctx, owner, lease, rest)
	}
	return s.MemoryStatusStore.LockSweep(ctx, owner, lease, rest)
}

func (s *faultyStore) UnlockSweep(ctx context.Context, owner string) error {
	if s.free != nil {
		return s.free(ctx, owner)
	}
	return s.MemoryStatusStore.UnlockSweep(ctx, owner)
}

// changesPages changes the pages that Unfinished answers.
func changesPages(what string, change func(f *faultyStore, rows []worker.Status, next string) ([]worker.Status, string)) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.list = func(ctx context.Context, idle time.Duration, cursor string, limit int) ([]worker.Status, string, error) {
			rows, next, err := f.MemoryStatusStore.Unfinished(ctx, idle, cursor, limit)
			if err == nil {
				rows, next = change(f, rows, next)
			}
			return rows, next, err
		}
	})
}

// asksPages changes what Unfinished is asked.
func asksPages(what string, change func(idle *time.Duration, cursor *string, limit *int)) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.list = func(ctx context.Context, idle time.Duration, cursor string, limit int) ([]worker.Status, string, error) {
			change(&idle, &cursor, &limit)
			return f.MemoryStatusStore.Unfinished(ctx, idle, cursor, limit)
		}
	})
}

// asksLock changes what LockSweep is asked.
func asksLock(what string, change func(owner *string, lease, rest *time.Duration)) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.lock = func(ctx context.Context, owner string, lease, rest time.Duration) (bool, error) {
			change(&owner, &lease, &rest)
			return f.MemoryStatusStore.LockSweep(ctx, owner, lease, rest)
		}
	})
}

var (
	anyoneUnlocks = faultyStores("lets anyone give the lock back", func(f *faultyStore) {
		f.free = func(ctx context.Context, _ string) error {
			f.mu.Lock()
			owner := f.sweep.owner
			f.mu.Unlock()
			return f.MemoryStatusStore.UnlockSweep(ctx, owner)
		}
	})
	everyoneSweeps = faultyStores("lets everyone sweep", func(f *faultyStore) {
		f.lock = func(context.Context, string, time.Duration, time.Duration) (bool, error) { return true, nil }
	})
	nobodySweeps = faultyStores("lets nobody sweep", func(f *faultyStore) {
		f.lock = func(context.Context, string, time.Duration, time.Duration) (bool, error) { return false, nil }
	})
)

// listsAll lists finished jobs as well.
var listsAll = changesPages("lists jobs that are over", func(f *faultyStore, rows []worker.Status, next string) ([]worker.Status, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if next == "" {
		for id := range f.rows {
			if row := f.rowLocked(id); row.State.Final() {
				rows = append(rows, copyStatus(row))
			}
		}
	}
	return rows, next
})

var badSweeps = map[string][]broken[worker.StatusStore]{
	"unfinished states": {
		listsAll,
		changesPages("lists what is queued only", func(_ *faultyStore, rows []worker.Status, next string) ([]worker.Status, string) {
			var queued []worker.Status
			for _, row := range rows {
				if row.State == worker.StateQueued {
					queued = append(queued, row)
				}
			}
			return queued, next
		}),
		changesPages("lists half the status", func(_ *faultyStore, rows []worker.Status, next string) ([]worker.Status, string) {
			for i := range rows {
				rows[i].RunAt = time.Time{}
			}
			return rows, next
		}),
		changesPages("forgets what was reopened", func(f *faultyStore, rows []worker.Status, next string) ([]worker.Status, string) {
			var kept []worker.Status
			for _, row := range rows {
				if first := f.History(row.JobID)[0]; !first.State.Final() {
					kept = append(kept, row)
				}
			}
			return kept, next
		}),
	},
	"unfinished pages": {
		asksPages("doesn't look at limits", func(_ *time.Duration, _ *string, limit *int) { *limit = 1000 }),
		asksPages("doesn't look at cursors", func(_ *time.Duration, cursor *string, _ *int) { *cursor = "" }),
		asksPages("has times for cursors", func(_ *time.Duration, cursor *string, _ *int) {
			if *cursor != "" {
				*cursor = (*cursor)[:len("2006-01-02T15:04:05.000000000")] + "~"
			}
		}),
		changesPages("ends with its first page", func(_ *faultyStore, rows []worker.Status, _ string) ([]worker.Status, string) {
			return rows, ""
		}),
		changesPages("never ends", func(_ *faultyStore, rows []worker.Status, next string) ([]worker.Status, string) {
			if next == "" {
				next = "~"
			}
			return rows, next
		}),
	},
	"unfinished beside savers": {
		listsAll,
		faultyStores("has offsets for cursors", func(f *faultyStore) {
			f.list = func(ctx context.Context, idle time.Duration, cursor string, limit int) ([]worker.Status, string, error) {
				rows, _, err := f.MemoryStatusStore.Unfinished(ctx, idle, "", 1000)
				rows = rows[min(len(cursor), len(rows)):]
				if len(rows) <= limit {
					return rows, "", err
				}
				next := cursor
				for range limit + 1 { // a row that ends makes one be passed over
					next += "."
				}
				return rows[:limit], next, err
			}
		}),
	},
	"unfinished and idle": {
		asksPages("doesn't look at times", func(idle *time.Duration, _ *string, _ *int) { *idle = 0 }),
		asksPages("takes seconds for hours", func(idle *time.Duration, _ *string, _ *int) { *idle *= 3600 }),
		asksPages("takes hours for seconds", func(idle *time.Duration, _ *string, _ *int) { *idle = min(*idle, time.Second) }),
		faultyStores("counts from the first status", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				f.mu.Lock()
				before, known := f.changed[statuses[0].JobID]
				f.mu.Unlock()
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				if known {
					f.mu.Lock()
					f.changed[statuses[0].JobID] = before
					f.mu.Unlock()
				}
				return saved, err
			}
		}),
		faultyStores("counts from statuses that it refused", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				f.mu.Lock()
				f.changed[statuses[0].JobID] = time.Now()
				f.mu.Unlock()
				return saved, err
			}
		}),
	},
	"context of unfinished": {
		faultyStores("waits for an hour when its context has ended", func(f *faultyStore) {
			f.list = func(ctx context.Context, _ time.Duration, _ string, _ int) ([]worker.Status, string, error) {
				rest(context.WithoutCancel(ctx), time.Hour)
				return nil, "", ctx.Err()
			}
		}),
	},
	"one sweeper": {everyoneSweeps, nobodySweeps},
	"sweep prolonged": {
		everyoneSweeps, nobodySweeps,
		faultyStores("lets nobody prolong", func(f *faultyStore) {
			f.lock = func(ctx context.Context, owner string, lease, rest time.Duration) (bool, error) {
				f.mu.Lock()
				mine := f.sweep.owner == owner
				f.mu.Unlock()
				if mine {
					return false, nil
				}
				return f.MemoryStatusStore.LockSweep(ctx, owner, lease, rest)
			}
		}),
		faultyStores("says that it prolongs, and doesn't", func(f *faultyStore) {
			f.lock = func(ctx context.Context, owner string, lease, rest time.Duration) (bool, error) {
				f.mu.Lock()
				mine := f.sweep.owner == owner
				f.mu.Unlock()
				if mine {
					return true, nil
				}
				return f.MemoryStatusStore.LockSweep(ctx, owner, lease, rest)
			}
		}),
	},
	"sweep lease": {
		everyoneSweeps, nobodySweeps, anyoneUnlocks,
		asksLock("has locks for ever", func(_ *string, lease, _ *time.Duration) { *lease = 24 * time.Hour }),
		asksLock("has one owner", func(owner *string, _, _ *time.Duration) { *owner = "owner" }),
	},
	"sweep rest": {
		everyoneSweeps, nobodySweeps,
		asksLock("doesn't rest", func(_ *string, _, rest *time.Duration) { *rest = 0 }),
		asksLock("rests for hours", func(_ *string, _, rest *time.Duration) { *rest *= 3600 }),
		faultyStores("keeps what is given back", func(f *faultyStore) {
			f.free = func(context.Context, string) error { return nil }
		}),
	},
	"foreign unlock": {everyoneSweeps, nobodySweeps, anyoneUnlocks},
}
