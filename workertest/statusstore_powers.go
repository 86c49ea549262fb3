package workertest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// unfinishedRows are the promises of worker.Unfinished.
var unfinishedRows = []row[*storeBench]{
	{name: "unfinished states", run: unfinishedStates,
		promise: "the jobs that are not over are listed as they are, and no other"},
	{name: "unfinished pages", run: unfinishedPages,
		promise: "pages keep to their limit, hold each job once, and the last one has no cursor"},
	{name: "unfinished beside savers", run: unfinishedBesideSavers,
		promise: "a job that ends between two pages is not on a later one, and the others still are"},
	{name: "unfinished and idle", run: unfinishedIdle,
		promise: "a job is listed when it has not changed for so long"},
	{name: "context of unfinished", run: unfinishedContext,
		promise: "Unfinished returns soon after its context ended"},
}

// sweepLockRows are the promises of worker.SweepLock. The stores of these rows must share their lock with nobody.
var sweepLockRows = []row[*storeBench]{
	{name: "one sweeper", run: oneSweeper,
		promise: "of those that want to sweep, one may"},
	{name: "sweep prolonged", run: sweepProlonged,
		promise: "who holds the lock may prolong it"},
	{name: "sweep lease", run: sweepLease,
		promise: "the lock of who doesn't prolong it is free when its lease has passed, and is then another's"},
	{name: "sweep rest", run: sweepRest,
		promise: "when a sweep has ended nobody may sweep until the rest has passed"},
	{name: "foreign unlock", run: foreignUnlock,
		promise: "only who holds the lock can give it back"},
}

// unfinished returns the store's power, and skips the row if it has none.
func (b *storeBench) unfinished() worker.Unfinished {
	u, ok := b.store.(worker.Unfinished)
	if !ok {
		b.Skipf("the store is not Unfinished")
	}
	return u
}

// maxPages is more than any store that rows may share has.
const maxPages = 100_000

// walk reads all pages and calls each for every row.
func (b *storeBench) walk(idle time.Duration, limit int, each func(worker.Status)) {
	b.Helper()
	u := b.unfinished()
	cursor := ""
	for range maxPages {
		rows, next, err := u.Unfinished(b.ctx, idle, cursor, limit)
		b.ok(err, "unfinished")
		if len(rows) > limit {
			b.Fatalf("a page of %d has %d rows", limit, len(rows))
		}
		for _, row := range rows {
			each(row)
		}
		if next == "" {
			return
		}
		cursor = next
	}
	b.Fatalf("the pages don't end")
}

// listed returns what is listed of the given jobs.
func (b *storeBench) listed(idle time.Duration, limit int, ids map[string]bool) map[string]worker.Status {
	b.Helper()
	found := make(map[string]worker.Status)
	b.walk(idle, limit, func(row worker.Status) {
		if _, twice := found[row.JobID]; twice {
			b.Fatalf("job %s is listed twice", row.JobID)
		}
		if ids[row.JobID] {
			found[row.JobID] = row
		}
	})
	return found
}

func unfinishedStates(b *storeBench) {
	b.unfinished()
	saved := make(map[string]worker.Status)
	ids := make(map[string]bool)
	for state, phase := range phaseOf {
		for _, token := range []int64{0, 7} {
			s := fullStatus(b.id())
			s.State, s.Version = state, token<<14|int64(phase)<<12|3
			b.takes(s)
			saved[s.JobID], ids[s.JobID] = s, true
		}
	}
	reopened := status(b.id(), worker.StateQueued, 9)
	b.takes(status(reopened.JobID, worker.StateFailed, 8), reopened)
	saved[reopened.JobID], ids[reopened.JobID] = reopened, true

	found := b.listed(0, 100, ids)
	for id, want := range saved {
		got, listed := found[id]
		switch {
		case listed == want.State.Final():
			b.Fatalf("%s: listed is %v", show(want), listed)
		case listed:
			b.sameStatus(&got, &want)
		}
	}
}

func unfinishedPages(b *storeBench) {
	b.unfinished()
	const many = 23
	var rows []worker.Status
	ids := make(map[string]bool)
	for range many {
		s := status(b.id(), worker.StateQueued, 0)
		rows, ids[s.JobID] = append(rows, s), true
	}
	b.save(rows...) // in one call: many stores then see them change at the same time
	for _, limit := range []int{1, 5, many, 100} {
		if found := b.listed(0, limit, ids); len(found) != many {
			b.Fatalf("in pages of %d, %d of %d jobs are listed", limit, len(found), many)
		}
	}
}

func unfinishedBesideSavers(b *storeBench) {
	b.unfinished()
	const many = 12
	open := make(map[string]bool)
	for range many {
		s := status(b.id(), worker.StateQueued, 0)
		b.takes(s)
		open[s.JobID] = true
	}
	ended := ""
	found := make(map[string]bool)
	b.walk(0, 4, func(row worker.Status) {
		found[row.JobID] = true
		if len(found) == 1 { // the first page is read: end a job that need not be on it
			for id := range open {
				ended = id
			}
			b.takes(status(ended, worker.StateSucceeded, 5))
		}
	})
	for id := range open {
		if !found[id] && id != ended {
			b.Fatalf("job %s was passed over as another one ended", id)
		}
	}
	if again := b.listed(0, 4, open); len(again) != many-1 {
		b.Fatalf("%d jobs are listed, want the %d that are not over", len(again), many-1)
	}
}

func unfinishedIdle(b *storeBench) {
	b.unfinished()
	const idle = time.Second
	id := b.id()
	ids := map[string]bool{id: true}
	// fresh checks that what was just saved isn't listed, unless it took so long that it may be.
	fresh := func(s worker.Status) {
		b.Helper()
		start := time.Now()
		b.takes(s)
		found := b.listed(idle, 100, ids)
		if time.Since(start) < idle && len(found) > 0 {
			b.Fatalf("%s: a job that has just changed is listed", show(s))
		}
	}
	fresh(status(id, worker.StateQueued, 0))
	b.pass(idle + idle/10)
	if len(b.listed(idle, 100, ids)) == 0 {
		b.Fatalf("a job that hasn't changed for %v is not listed", idle)
	}
	fresh(status(id, worker.StateRunning, 1))
	b.pass(idle + idle/10)
	b.save(status(id, worker.StateQueued, 0)) // changes nothing
	if len(b.listed(idle, 100, ids)) == 0 {
		b.Fatalf("a job that hasn't changed for %v is not listed after a status that was refused", idle)
	}
	if len(b.listed(time.Hour, 100, ids)) > 0 {
		b.Fatalf("a job that changed %v ago is listed among those that haven't for an hour", idle)
	}
}

func unfinishedContext(b *storeBench) {
	u := b.unfinished()
	b.takes(status(b.id(), worker.StateQueued, 0))
	ctx, cancel := b.ended()
	defer cancel()
	b.prompt("a list whose context has ended", func() { _, _, _ = u.Unfinished(ctx, 0, "", 10) })
}

// sweeping is a store's lock on sweeping, with owners that no other test has.
type sweeping struct {
	*storeBench
	locks worker.SweepLock
}

func (b *storeBench) sweeping() *sweeping {
	locks, ok := b.store.(worker.SweepLock)
	if !ok {
		b.Skipf("the store is not a SweepLock")
	}
	return &sweeping{b, locks}
}

func (s *sweeping) owner(n int) string { return fmt.Sprintf("%s-owner-%d", s.base.ID, n) }

// lock fails the row unless the owner is answered as wanted.
func (s *sweeping) lock(owner int, lease, rest time.Duration, want bool, when string) {
	s.Helper()
	got, err := s.locks.LockSweep(s.ctx, s.owner(owner), lease, rest)
	s.ok(err, "lock sweep")
	if got != want {
		s.Fatalf("%s: owner %d may sweep is %v, want %v", when, owner, got, want)
	}
}

func (s *sweeping) unlock(owner int) {
	s.Helper()
	s.ok(s.locks.UnlockSweep(s.ctx, s.owner(owner)), "unlock sweep")
}

func oneSweeper(b *storeBench) {
	s := b.sweeping()
	const many = 8
	var taken atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		wg.Go(func() {
			got, err := s.locks.LockSweep(s.ctx, s.owner(i), time.Hour, 0)
			if errs[i] = err; got {
				taken.Add(1)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		s.ok(err, "lock sweep beside others")
		defer s.unlock(i)
	}
	if n := taken.Load(); n != 1 {
		s.Fatalf("%d of %d owners may sweep at a time", n, many)
	}
}

func sweepProlonged(b *storeBench) {
	s := b.sweeping()
	defer s.unlock(1)
	s.lock(1, 200*time.Millisecond, 0, true, "the lock is free")
	s.lock(1, time.Hour, time.Hour, true, "it holds the lock")
	b.pass(300 * time.Millisecond)
	s.lock(2, time.Hour, 0, false, "another one has prolonged the lock")
	s.lock(1, time.Hour, 0, true, "it has prolonged the lock")
}

func sweepLease(b *storeBench) {
	s := b.sweeping()
	defer s.unlock(2)
	s.lock(1, 100*time.Millisecond, 0, true, "the lock is free")
	b.pass(200 * time.Millisecond)
	s.lock(2, time.Hour, 0, true, "the lease of another one has passed")
	s.lock(1, time.Hour, 0, false, "another one took over")
	s.unlock(1)
	s.lock(3, time.Hour, 0, false, "one whose lease has passed gave the lock back, which another one holds")
}

func sweepRest(b *storeBench) {
	s := b.sweeping()
	s.lock(1, time.Hour, 0, true, "the lock is free")
	s.unlock(1)
	s.lock(2, time.Hour, time.Hour, false, "a sweep has just ended")
	s.lock(1, time.Hour, time.Hour, false, "its own sweep has just ended")
	b.pass(200 * time.Millisecond)
	s.lock(2, time.Hour, 100*time.Millisecond, true, "the rest has passed")
	s.unlock(2)
	s.lock(1, time.Hour, 0, true, "nobody holds the lock, and there is no rest")
	s.unlock(1)
}

func foreignUnlock(b *storeBench) {
	s := b.sweeping()
	defer s.unlock(1)
	s.lock(1, time.Hour, 0, true, "the lock is free")
	s.unlock(2)
	s.lock(3, time.Hour, 0, false, "one that doesn't hold the lock gave it back")
	s.lock(1, time.Hour, 0, true, "one that doesn't hold the lock gave it back")
}
