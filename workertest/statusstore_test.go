package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// TestStatusStoreRows checks that the promises of status stores hold for MemoryStatusStore, and that each finds who
// breaks it.
func TestStatusStoreRows(t *testing.T) {
	sound := func(*config) worker.StatusStore { return NewStatusStore() }
	bad := maps.Clone(badStores)
	maps.Copy(bad, badSweeps)
	testRows(t, storeRows(), newStoreBench, sound, bad)
}

// TestStatusStoreRowsWithoutGetter checks that a store that cannot be read passes, with the rows about reading skipped.
func TestStatusStoreRowsWithoutGetter(t *testing.T) {
	TestStatusStore(t, func(*testing.T) worker.StatusStore {
		return struct{ worker.StatusStore }{NewStatusStore()}
	}, InBubble())
}

// TestStatusStoreRowsOfHostTable checks that a store passes that knows no more than a host's own table may: it can't be
// read, has one word for all unfinished states, and keeps neither queue nor type.
func TestStatusStoreRowsOfHostTable(t *testing.T) {
	TestStatusStore(t, func(*testing.T) worker.StatusStore { return hostTable{NewStatusStore()} }, InBubble())
}

type hostTable struct{ rows *MemoryStatusStore }

func (h hostTable) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	statuses = slices.Clone(statuses)
	for i := range statuses {
		statuses[i].Queue, statuses[i].Type = "", ""
	}
	saved, err := h.rows.Save(ctx, statuses...)
	for i := range saved {
		saved[i].Row = nil
		if !saved[i].OK && !saved[i].Current.Final() {
			saved[i].Current = worker.StateRunning
		}
	}
	return saved, err
}

// faultyStore is a MemoryStatusStore with its methods replaced.
type faultyStore struct {
	*MemoryStatusStore
	save func(context.Context, []worker.Status) ([]worker.Saved, error)
	get  func(context.Context, string) (*worker.Status, error)
	list func(ctx context.Context, idle time.Duration, cursor string, limit int) ([]worker.Status, string, error)
	lock func(ctx context.Context, owner string, lease, rest time.Duration) (bool, error)
	free func(ctx context.Context, owner string) error
}

func (s *faultyStore) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	if s.save != nil {
		return s.save(ctx, statuses)
	}
	return s.MemoryStatusStore.Save(ctx, statuses...)
}

func (s *faultyStore) Get(ctx context.Context, id string) (*worker.Status, error) {
	if s.get != nil {
		return s.get(ctx, id)
	}
	return s.MemoryStatusStore.Get(ctx, id)
}

func faultyStores(what string, spoil func(*faultyStore)) broken[worker.StatusStore] {
	return broken[worker.StatusStore]{what: what, open: func(*config) worker.StatusStore {
		s := &faultyStore{MemoryStatusStore: NewStatusStore()}
		spoil(s)
		return s
	}}
}

// replacesBy makes a store that replaces a row, other than by the same version, when rule says so.
func replacesBy(what string, rule func(s, row *worker.Status) bool) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.save = func(_ context.Context, statuses []worker.Status) ([]worker.Saved, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			saved := make([]worker.Saved, len(statuses))
			for i := range statuses {
				s, row := &statuses[i], f.rowLocked(statuses[i].JobID)
				switch {
				case row != nil && row.Version == s.Version:
					saved[i].OK = true
				case row != nil && !rule(s, row):
					saved[i].Current = row.State
				default:
					saved[i].OK = true
					f.acceptLocked(s)
				}
			}
			return saved, nil
		}
	})
}

// changesAnswers changes what Save answers.
func changesAnswers(what string, change func([]worker.Status, []worker.Saved)) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
			saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
			change(statuses, saved)
			return saved, err
		}
	})
}

// changesSaved changes each status before it is stored.
func changesSaved(what string, change func(*worker.Status)) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
			changed := slices.Clone(statuses)
			for i := range changed {
				change(&changed[i])
			}
			return f.MemoryStatusStore.Save(ctx, changed...)
		}
	})
}

// keepsJobs gives back the job of the last status that may replace it, or the first one.
func keepsJobs(what string, replaces func(*worker.Status) bool) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		jobs := make(map[string]*worker.Job)
		f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
			changed := slices.Clone(statuses)
			for i := range changed {
				if s := &changed[i]; jobs[s.JobID] == nil || replaces(s) {
					jobs[s.JobID] = s.Job
				}
				changed[i].Job = jobs[changed[i].JobID]
			}
			return f.MemoryStatusStore.Save(ctx, changed...)
		}
	})
}

// refusesStatuses refuses what it finds wrong.
func refusesStatuses(what string, wrong func([]worker.Status) bool) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.Fault = func(_ context.Context, statuses []worker.Status) error {
			if wrong(statuses) {
				return worker.Permanent(errors.New("cannot be stored"))
			}
			return nil
		}
	})
}

var (
	byVersionAlone = replacesBy("compares versions alone", func(s, row *worker.Status) bool { return s.Version > row.Version })
	alwaysReplaces = replacesBy("replaces always", func(*worker.Status, *worker.Status) bool { return true })
	neverReplaces  = replacesBy("never replaces", func(*worker.Status, *worker.Status) bool { return false })
	finalIsForEver = replacesBy("takes every end for ever", func(s, row *worker.Status) bool { return !row.State.Final() && s.Supersedes(row) })
	opensAnything  = replacesBy("opens rounds of what runs", func(s, row *worker.Status) bool {
		return s.Supersedes(row) || !row.State.Final() && s.Version > row.Version
	})
	losesOneInCalls = faultyStores("takes 100 statuses of a call", func(f *faultyStore) {
		f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
			_, err := f.MemoryStatusStore.Save(ctx, statuses[:min(100, len(statuses))]...)
			return nil, err
		}
	})
)

var badStores = map[string][]broken[worker.StatusStore]{
	"first status": {
		refusesStatuses("wants queued first", func(s []worker.Status) bool { return s[0].State != worker.StateQueued }),
		faultyStores("stores nothing", func(f *faultyStore) {
			f.save = func(context.Context, []worker.Status) ([]worker.Saved, error) { return nil, nil }
		}),
	},
	"forward": {
		neverReplaces,
		replacesBy("compares tokens alone", func(s, row *worker.Status) bool { return s.Token() > row.Token() }),
		replacesBy("orders states by their names", func(s, row *worker.Status) bool { return s.State > row.State }),
		changesSaved("has no room for sequences", func(s *worker.Status) { s.Version &^= 4095 }),
	},
	"backward": {
		alwaysReplaces,
		replacesBy("doesn't see sequences", func(s, row *worker.Status) bool { return s.Version>>12 >= row.Version>>12 }),
		replacesBy("lets any end win", func(s, row *worker.Status) bool { return s.State.Final() || s.Supersedes(row) }),
	},
	"repeat": {
		faultyStores("takes a repetition for stale", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				known := f.History(statuses[0].JobID)
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				if len(known) > 0 && known[len(known)-1].Version == statuses[0].Version {
					saved[0] = worker.Saved{Current: statuses[0].State}
				}
				return saved, err
			}
		}),
	},
	"succeeded is final":        {byVersionAlone, alwaysReplaces},
	"failed and canceled":       {byVersionAlone, finalIsForEver, alwaysReplaces},
	"not enqueued":              {finalIsForEver, byVersionAlone},
	"rounds open after the end": {opensAnything},
	"every pair": {
		byVersionAlone, finalIsForEver, opensAnything,
		replacesBy("opens rounds by a queued that was put back", func(s, row *worker.Status) bool {
			return s.Supersedes(row) || row.State == worker.StateFailed && s.State == worker.StateQueued && s.Token() > row.Token()
		}),
	},
	"large versions": {
		replacesBy("compares versions as floats", func(s, row *worker.Status) bool {
			return float64(s.Version) > float64(row.Version)
		}),
		replacesBy("compares 48 bits of versions", func(s, row *worker.Status) bool {
			return s.Version<<16 > row.Version<<16
		}),
	},
	"two jobs of one id": {
		replacesBy("doesn't look at queues and types", func(s, row *worker.Status) bool { return s.Supersedes(row) }),
		faultyStores("takes two jobs of one id for its own trouble", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				if err != nil {
					err = errors.New("duplicate key")
				}
				return saved, err
			}
		}),
	},
	"concurrent savers": {alwaysReplaces},
	"answers in order": {
		changesAnswers("answers backwards", func(_ []worker.Status, saved []worker.Saved) { slices.Reverse(saved) }),
		faultyStores("answers for what it refused only", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				return slices.DeleteFunc(saved, func(s worker.Saved) bool { return s.OK }), err
			}
		}),
	},
	"current": {
		changesAnswers("doesn't say what it holds", func(_ []worker.Status, saved []worker.Saved) {
			for i := range saved {
				saved[i].Current = ""
			}
		}),
		changesAnswers("has one word for all ends", func(_ []worker.Status, saved []worker.Saved) {
			for i := range saved {
				if saved[i].Current.Final() {
					saved[i].Current = worker.StateFailed
				}
			}
		}),
		changesAnswers("takes what waits for over", func(_ []worker.Status, saved []worker.Saved) {
			for i := range saved {
				if saved[i].Current == worker.StateQueued {
					saved[i].Current = worker.StateCanceled
				}
			}
		}),
		changesAnswers("says what it refused", func(statuses []worker.Status, saved []worker.Saved) {
			for i := range saved {
				saved[i].Current = statuses[i].State
			}
		}),
	},
	"repeated": {
		faultyStores("takes every status for repeated", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				for i := range saved {
					saved[i].Repeated = true
				}
				return saved, err
			}
		}),
	},
	"row": {
		alwaysReplaces,
		changesAnswers("answers with what it refused", func(statuses []worker.Status, saved []worker.Saved) {
			for i := range saved {
				if !saved[i].OK {
					saved[i].Row = &statuses[i]
				}
			}
		}),
	},
	"large call": {
		losesOneInCalls,
		refusesStatuses("refuses large calls", func(s []worker.Status) bool { return len(s) > 100 }),
	},
	"no statuses": {
		refusesStatuses("refuses calls without statuses", func(s []worker.Status) bool { return len(s) == 0 }),
		faultyStores("answers a call without statuses", func(f *faultyStore) {
			f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
				saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
				return append(saved, worker.Saved{OK: true}), err
			}
		}),
	},
	"long texts": {
		changesSaved("cuts ids", func(s *worker.Status) { s.JobID = cut(s.JobID, 64) }),
		changesSaved("cuts messages", func(s *worker.Status) { s.Message = cut(s.Message, 255) }),
		changesSaved("cuts results", func(s *worker.Status) { s.Result = s.Result[:min(len(s.Result), 65535)] }),
		changesSaved("cuts topics", func(s *worker.Status) { s.Topic = cut(s.Topic, 255) }),
	},
	"awkward texts": {
		changesSaved("drops control characters", func(s *worker.Status) { s.Message = strings.ReplaceAll(s.Message, "\x01", "") }),
		changesSaved("keeps results as values", func(s *worker.Status) {
			var b bytes.Buffer
			_ = json.Compact(&b, s.Result)
			s.Result = b.Bytes()
		}),
		refusesStatuses("trips over quotes", func(s []worker.Status) bool { return strings.Contains(s[0].Error, "'") }),
	},
	"with a job": {
		refusesStatuses("refuses jobs", func(s []worker.Status) bool { return s[0].Job != nil }),
		changesSaved("keeps half the job", func(s *worker.Status) {
			if s.Job != nil {
				s.Job = copyJob(s.Job)
				s.Job.Headers = nil
			}
		}),
	},
	"with an edited job": {
		keepsJobs("keeps the first job", func(*worker.Status) bool { return false }),
		keepsJobs("takes a new job with a new round only", func(s *worker.Status) bool { return s.Version>>12&3 == waiting }),
	},
	"context of save": {
		faultyStores("waits for an hour when its context has ended", func(f *faultyStore) {
			f.Fault = func(ctx context.Context, _ []worker.Status) error {
				if ctx.Err() != nil {
					rest(context.WithoutCancel(ctx), time.Hour)
				}
				return nil
			}
		}),
	},
	"not found": {
		changesGot("knows nothing of what it doesn't know", func(row **worker.Status, err *error) { *row, *err = nil, nil }),
		changesGot("makes up rows", func(row **worker.Status, err *error) { *row, *err = &worker.Status{}, nil }),
	},
	"fields": {
		changesRow("loses topics", func(s *worker.Status) { s.Topic = "" }),
		changesRow("loses attempts", func(s *worker.Status) { s.MaxAttempts = 0 }),
		changesRow("loses crashes", func(s *worker.Status) { s.Crashes = 0 }),
		changesRow("loses progress", func(s *worker.Status) { s.Progress = 0 }),
		changesRow("loses errors", func(s *worker.Status) { s.Error = "" }),
		changesRow("keeps seconds", func(s *worker.Status) { s.At = s.At.Truncate(time.Second) }),
		changesRow("loses RunAt", func(s *worker.Status) { s.RunAt = time.Time{} }),
	},
	"zero fields": {
		changesRow("reads no time as 1970", func(s *worker.Status) { s.RunAt = time.UnixMilli(0) }),
		changesRow("reads no result as null", func(s *worker.Status) { s.Result = json.RawMessage("null") }),
	},
	"last status":            {mergesRows, neverReplaces},
	"refused leave no trace": {alwaysReplaces, mergesRefused},
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// changesGot changes what Get answers.
func changesGot(what string, change func(row **worker.Status, err *error)) broken[worker.StatusStore] {
	return faultyStores(what, func(f *faultyStore) {
		f.get = func(ctx context.Context, id string) (*worker.Status, error) {
			row, err := f.MemoryStatusStore.Get(ctx, id)
			change(&row, &err)
			return row, err
		}
	})
}

// changesRow changes the row that Get answers.
func changesRow(what string, change func(*worker.Status)) broken[worker.StatusStore] {
	return changesGot(what, func(row **worker.Status, err *error) {
		if *err == nil {
			change(*row)
		}
	})
}

// mergesRows keeps the fields of an earlier status where the last one has none.
var mergesRows = faultyStores("keeps earlier fields", func(f *faultyStore) {
	f.get = func(ctx context.Context, id string) (*worker.Status, error) {
		row, err := f.MemoryStatusStore.Get(ctx, id)
		for _, earlier := range f.History(id) {
			if row.Message == "" {
				row.Message = earlier.Message
			}
		}
		return row, err
	}
})

// mergesRefused writes the texts of a status before it looks at the version.
var mergesRefused = faultyStores("writes texts before it looks at versions", func(f *faultyStore) {
	f.save = func(ctx context.Context, statuses []worker.Status) ([]worker.Saved, error) {
		saved, err := f.MemoryStatusStore.Save(ctx, statuses...)
		f.mu.Lock()
		defer f.mu.Unlock()
		for i := range statuses {
			f.rowLocked(statuses[i].JobID).Message = statuses[i].Message
			f.rowLocked(statuses[i].JobID).Progress = statuses[i].Progress
		}
		return saved, err
	}
})
