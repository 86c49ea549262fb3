package workertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// orderRows are the promises about which status replaces which.
var orderRows = []row[*storeBench]{
	{name: "first status", run: firstStatus,
		promise: "the first status of a job is stored, whatever it is"},
	{name: "forward", run: forward,
		promise: "statuses that move a job forward are stored"},
	{name: "backward", run: backward,
		promise: "a lower version changes nothing"},
	{name: "repeat", run: repeat,
		promise: "a status that was stored before is OK again"},
	{name: "succeeded is final", run: succeededIsFinal,
		promise: "succeeded is final for ever"},
	{name: "failed and canceled", run: failedYields,
		promise: "failed and canceled yield only to a status that opens a round with a later token"},
	{name: "not enqueued", run: notEnqueuedYields,
		promise: "a failed of token 0 yields to any claim and to any enqueue"},
	{name: "rounds open after the end", run: roundsOpen,
		promise: "a status that opens a round with a token of its own replaces nothing but an ended one"},
	{name: "every pair", run: everyPair,
		promise: "whatever the row, a status replaces it exactly when Status.Supersedes says so"},
	{name: "large versions", run: largeVersions,
		promise: "versions are told apart up to 63 bits"},
	{name: "two jobs of one id", run: twoJobs,
		promise: "an equal version with another queue or type is a Permanent error where these are kept, and changes nothing"},
	{name: "concurrent savers", run: concurrentSavers,
		promise: "savers in competition never move a row back"},
}

func firstStatus(b *storeBench) {
	for state := range phaseOf {
		s := status(b.id(), state, 3)
		b.takes(s)
		b.holds(s)
	}
}

func forward(b *storeBench) {
	id := b.id()
	for _, s := range []worker.Status{
		status(id, worker.StateScheduled, 0),
		status(id, worker.StateRunning, 4),
		versioned(id, worker.StateRunning, 4, running, 1),
		versioned(id, worker.StateRunning, 4, running, 4095),
		status(id, worker.StateRetrying, 4),
		status(id, worker.StateRunning, 5),
		versioned(id, worker.StateScheduled, 5, putBack, 0),
		versioned(id, worker.StateQueued, 6, putBack, 0),
		status(id, worker.StateRunning, 7),
		status(id, worker.StateSucceeded, 7),
	} {
		b.takes(s)
		b.holds(s)
	}
}

func backward(b *storeBench) {
	id := b.id()
	row := versioned(id, worker.StateRunning, 7, running, 5)
	b.takes(status(id, worker.StateQueued, 0), row)
	b.refuses(worker.StateRunning,
		status(id, worker.StateQueued, 0), versioned(id, worker.StateRunning, 7, running, 4),
		status(id, worker.StateRetrying, 6), status(id, worker.StateSucceeded, 6), status(id, worker.StateCanceled, 3))
	b.holds(row)
}

func repeat(b *storeBench) {
	for state := range phaseOf {
		s := status(b.id(), state, 5)
		b.takes(s, s, s)
		b.holds(s)
	}
}

func succeededIsFinal(b *storeBench) {
	id := b.id()
	row := status(id, worker.StateSucceeded, 5)
	b.takes(row)
	for state := range phaseOf {
		b.refuses(worker.StateSucceeded, status(id, state, 4), status(id, state, 6),
			versioned(id, state, 6, waiting, 0), versioned(id, state, 5, final, 1))
	}
	b.holds(row)
}

func failedYields(b *storeBench) {
	for _, end := range []worker.State{worker.StateFailed, worker.StateCanceled} {
		id := b.id()
		row := status(id, end, 5)
		b.takes(status(id, worker.StateRunning, 5), row)
		b.refuses(end,
			status(id, worker.StateQueued, 0), status(id, worker.StateQueued, 4), status(id, worker.StateQueued, 5),
			status(id, worker.StateRunning, 6), versioned(id, worker.StateQueued, 6, putBack, 0),
			status(id, worker.StateSucceeded, 6), status(id, worker.StateFailed, 7), status(id, worker.StateCanceled, 7))
		b.holds(row)
		b.takes(status(id, worker.StateQueued, 6), status(id, worker.StateRunning, 7), status(id, worker.StateSucceeded, 7))
	}
}

func notEnqueuedYields(b *storeBench) {
	for _, next := range []func(id string) worker.Status{
		func(id string) worker.Status { return status(id, worker.StateQueued, 0) },
		func(id string) worker.Status { return status(id, worker.StateScheduled, 0) },
		func(id string) worker.Status { return status(id, worker.StateRunning, 1) },
		func(id string) worker.Status { return status(id, worker.StateQueued, 1) },
	} {
		id := b.id()
		b.takes(status(id, worker.StateQueued, 0), status(id, worker.StateFailed, 0), next(id))
		b.holds(next(id))
	}
}

func roundsOpen(b *storeBench) {
	for _, state := range []worker.State{
		worker.StateScheduled, worker.StateQueued, worker.StateRunning, worker.StateRetrying,
	} {
		id := b.id()
		row := status(id, state, 2)
		b.takes(row)
		b.refuses(state, status(id, worker.StateQueued, 3), status(id, worker.StateScheduled, 9))
		b.holds(row)
	}
}

// moments are statuses of all kinds.
func moments(id string) []worker.Status {
	var all []worker.Status
	for _, token := range []int64{0, 1, 2} {
		for state, phase := range phaseOf {
			if token == 0 && phase != waiting && state != worker.StateFailed {
				continue // only a producer writes under token 0
			}
			all = append(all, versioned(id, state, token, phase, 0))
		}
		if token > 0 {
			all = append(all, versioned(id, worker.StateRunning, token, running, 1),
				versioned(id, worker.StateQueued, token, putBack, 0), versioned(id, worker.StateScheduled, token, putBack, 0))
		}
	}
	return all
}

func everyPair(b *storeBench) {
	var rows, next []worker.Status
	for _, row := range moments("") {
		for _, s := range moments("") {
			if row.Version == s.Version {
				continue // a repetition, or two statuses that one claim cannot both write
			}
			id := b.id()
			row.JobID, row.Topic = id, "job:"+id
			s.JobID, s.Topic = id, "job:"+id
			rows, next = append(rows, row), append(next, s)
		}
	}
	for _, got := range b.save(rows...) {
		if !got.OK {
			b.Fatalf("a first status was not stored")
		}
	}
	for i, got := range b.save(next...) {
		row, s := rows[i], next[i]
		if want := s.Supersedes(&row); got.OK != want {
			b.Fatalf("%s after %s: stored is %v, want %v", show(s), show(row), got.OK, want)
		} else if !want && !tells(got.Current, row.State) {
			b.Fatalf("%s after %s: the store says that it holds %q", show(s), show(row), got.Current)
		}
	}
}

func largeVersions(b *storeBench) {
	const token = 1<<49 - 2 // the store's numbers end at 2⁶³-1
	id := b.id()
	row := versioned(id, worker.StateRunning, token, running, 2)
	b.takes(versioned(id, worker.StateRunning, token, running, 1), row)
	b.refuses(worker.StateRunning, versioned(id, worker.StateRunning, token, running, 1))
	b.holds(row)
	b.takes(versioned(id, worker.StateRunning, token, running, 3), status(id, worker.StateRunning, token+1))
	b.holds(status(id, worker.StateRunning, token+1))

	id = b.id()
	row = status(id, worker.StateRunning, 1<<48)
	b.takes(status(id, worker.StateRunning, 5), row)
	b.refuses(worker.StateRunning, status(id, worker.StateRunning, 6))
	b.holds(row)
}

func twoJobs(b *storeBench) {
	id := b.id()
	row := status(id, worker.StateQueued, 0)
	b.takes(row)
	otherQueue, otherType := row, row
	otherQueue.Queue, otherType.Type = "elsewhere", "another:type"
	for what, s := range map[string]worker.Status{
		"an equal version with another queue": otherQueue, "an equal version with another type": otherType,
	} {
		_, err := b.store.Save(b.ctx, s)
		if _, keeps := b.store.(worker.Getter); keeps || err != nil {
			b.permanent(err, what)
		}
	}
	b.takes(row)
	b.holds(row)
}

func concurrentSavers(b *storeBench) {
	const savers, each, jobs = 8, 40, 4
	seed := rand.Uint64()
	b.Logf("seed %d", seed)
	ids := make([]string, jobs)
	for i := range ids {
		ids[i] = b.id()
	}
	newest := make(map[string]worker.Status)
	var wg sync.WaitGroup
	errs := make([]error, savers)
	for i := range savers {
		dice := rand.New(rand.NewPCG(seed, uint64(i)))
		todo := make([]worker.Status, each)
		for k := range todo {
			id := ids[dice.IntN(jobs)]
			todo[k] = versioned(id, worker.StateRunning, 1+dice.Int64N(5), running, dice.IntN(4000))
			if todo[k].Version > newest[id].Version {
				newest[id] = todo[k]
			}
		}
		wg.Go(func() {
			for _, s := range todo {
				_, err := b.store.Save(b.ctx, s)
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	saved := make(chan struct{})
	seen := make(chan error, 1)
	go func() { seen <- b.watch(ids, saved) }()
	wg.Wait()
	close(saved)
	b.ok(errors.Join(errs...), "save beside others")
	b.ok(<-seen, "reading beside savers")
	for _, id := range ids {
		b.holds(newest[id])
		b.refuses(worker.StateRunning, status(id, worker.StateQueued, 0))
	}
}

// watch reads jobs until done, and reports a row that moved back.
func (b *storeBench) watch(ids []string, done <-chan struct{}) error {
	getter, ok := b.store.(worker.Getter)
	newest := make(map[string]int64)
	for ok {
		select {
		case <-done:
			return nil
		default:
		}
		for _, id := range ids {
			row, err := getter.Get(b.ctx, id)
			switch {
			case notFound(err) && newest[id] == 0:
				continue
			case err != nil:
				return err
			case row == nil:
				return errors.New("get: neither a status nor an error")
			case row.Version < newest[id]:
				return fmt.Errorf("the row moved from version %d back to %d", newest[id], row.Version)
			}
			newest[id] = row.Version
		}
	}
	return nil
}
