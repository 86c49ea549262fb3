package workertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// TestStatusStore checks a worker.StatusStore against its contract. open is called for each promise and may use
// t.Cleanup; the stores that it returns may share a server, as each promise is checked with job ids of its own. What
// only a worker.Getter can show is checked of stores that are one, and so are the powers that sweeping needs,
// worker.Unfinished and worker.SweepLock; of the latter the stores must share their lock with nobody else. Of a store
// that is no Getter no more is asked than a table with words of its own for the states, and a column for the version,
// can tell.
func TestStatusStore(t *testing.T, open func(t *testing.T) worker.StatusStore, opts ...Option) {
	c := newConfig(opts)
	runRows(t, c, storeRows(), func(t *testing.T) *storeBench { return newStoreBench(t, c, open(t)) })
}

// storeRows is the contract of a worker.StatusStore.
func storeRows() []row[*storeBench] {
	return slices.Concat(orderRows, answerRows, getterRows, unfinishedRows, sweepLockRows)
}

// storeBench is what a status store's row works with.
type storeBench struct {
	bench
	store worker.StatusStore
	base  *worker.Job // gives ids that no other test uses
	ids   int
}

func newStoreBench(t tb, c config, s worker.StatusStore) *storeBench {
	job, err := worker.NewJob(note{})
	b := &storeBench{bench: newBench(t, c), store: s, base: job}
	b.ok(err, "new job")
	return b
}

// id returns the id of a job that the store doesn't know.
func (b *storeBench) id() string {
	b.ids++
	return fmt.Sprintf("%s-%d", b.base.ID, b.ids)
}

// The phases of a status's version.
const (
	waiting = iota
	running
	putBack
	final
)

// phaseOf is the phase that a state usually belongs to.
var phaseOf = map[worker.State]int{
	worker.StateScheduled: waiting, worker.StateQueued: waiting, worker.StateRunning: running,
	worker.StateRetrying: putBack, worker.StateSucceeded: final, worker.StateFailed: final, worker.StateCanceled: final,
}

// status makes a status of a job under a token.
func status(id string, state worker.State, token int64) worker.Status {
	return versioned(id, state, token, phaseOf[state], 0)
}

// versioned makes a status with a version of its own: token·2¹⁴ + phase·2¹² + sequence.
func versioned(id string, state worker.State, token int64, phase, sequence int) worker.Status {
	s := worker.Status{
		JobID: id, Type: "workertest:note", Queue: "default", Topic: "job:" + id, State: state,
		Version: token<<14 | int64(phase)<<12 | int64(sequence), MaxAttempts: 5,
		At: time.UnixMilli(time.Now().UnixMilli()).UTC(),
	}
	if phase > waiting {
		s.Attempt = 1
	}
	return s
}

// save saves in one call and returns the answers, one for each status.
func (b *storeBench) save(statuses ...worker.Status) []worker.Saved {
	b.Helper()
	saved, err := b.store.Save(b.ctx, statuses...)
	b.ok(err, "save")
	if saved == nil {
		saved = make([]worker.Saved, len(statuses))
		for i := range saved {
			saved[i].OK = true
		}
	}
	if len(saved) != len(statuses) {
		b.Fatalf("%d statuses got %d answers", len(statuses), len(saved))
	}
	return saved
}

// takes saves one after another, and fails the row unless each is OK.
func (b *storeBench) takes(statuses ...worker.Status) {
	b.Helper()
	for _, s := range statuses {
		if got := b.save(s)[0]; !got.OK {
			b.Fatalf("%s was not stored; the store says it holds %q", show(s), got.Current)
		}
	}
}

// refuses saves one after another, and fails the row unless each meets a store that holds current.
func (b *storeBench) refuses(current worker.State, statuses ...worker.Status) {
	b.Helper()
	for _, s := range statuses {
		got := b.save(s)[0]
		if got.OK {
			b.Fatalf("%s was stored over %s", show(s), current)
		}
		if !tells(got.Current, current) {
			b.Fatalf("%s: the store says that it holds %q, want %q", show(s), got.Current, current)
		}
	}
}

// tells reports whether an answer's Current says what it has to of the state that the store holds: a final one exactly,
// of the others that it is one of them.
func tells(current, held worker.State) bool {
	_, known := phaseOf[current]
	return current == held || known && !current.Final() && !held.Final()
}

// show names a status in a message.
func show(s worker.Status) string {
	return fmt.Sprintf("%s (token %d, phase %d, sequence %d)", s.State, s.Token(), s.Version>>12&3, s.Version&(1<<12-1))
}

// holds fails the row unless the store holds exactly this version. A store that cannot be read is asked by a repetition.
func (b *storeBench) holds(s worker.Status) {
	b.Helper()
	if getter, ok := b.store.(worker.Getter); ok {
		row, err := getter.Get(b.ctx, s.JobID)
		b.ok(err, "get")
		if row == nil || row.Version != s.Version || row.State != s.State {
			b.Fatalf("the store holds %+v, want %s", row, show(s))
		}
		return
	}
	if got := b.save(s)[0]; !got.OK {
		b.Fatalf("the store doesn't hold %s: it says %q", show(s), got.Current)
	}
}

// ended returns a context that has ended.
func (b *storeBench) ended() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	return ctx, cancel
}

// getter returns the store as a Getter, and skips the row if it isn't one.
func (b *storeBench) getter() worker.Getter {
	getter, ok := b.store.(worker.Getter)
	if !ok {
		b.Skipf("the store is not a Getter")
	}
	return getter
}

// get reads a row that must be there.
func (b *storeBench) get(id string) *worker.Status {
	b.Helper()
	row, err := b.getter().Get(b.ctx, id)
	b.ok(err, "get")
	if row == nil {
		b.Fatalf("get: neither a status nor an error")
	}
	return row
}

// permanent fails the row unless err says that the data cannot be stored.
func (b *storeBench) permanent(err error, what string) {
	b.Helper()
	if !worker.IsPermanent(err) {
		b.Fatalf("%s: error %v, want a Permanent one", what, err)
	}
}

// notFound reports whether err says that there is no such job.
func notFound(err error) bool { return errors.Is(err, worker.ErrJobNotFound) }
