package integration

import (
	"cmp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// What tests say of histories, in short.
type (
	op    = history.Op
	event = history.Event
)

const (
	opStart  = history.OpStart
	opFinish = history.OpFinish
	opFinal  = history.OpFinal
	opEnd    = history.OpEnd
	opPause  = history.OpPause
)

// scribe writes one process's history.
type scribe struct{ *history.Scribe }

func newScribe(dir, proc string) (*scribe, error) {
	file, err := history.Create(dir, proc)
	if err != nil {
		return nil, err
	}
	return &scribe{history.NewScribe(proc, file, time.Now)}, nil
}

func (s *scribe) write(e event) { s.Write(e) }

// chronicle gathers what all processes of a test have written so far, and what the test itself notes.
type chronicle struct {
	t     testing.TB
	files *history.Dir

	mu     sync.Mutex
	events []event // in the order of their time, once gathered
}

func newChronicle(t testing.TB) *chronicle {
	return &chronicle{t: t, files: history.NewDir(t.TempDir())}
}

// note adds an event of the test's own, about a process.
func (c *chronicle) note(proc string, o op) { c.write(event{Proc: proc, Op: o}) }

// write adds an event of the test's own, that happens now.
func (c *chronicle) write(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.At = time.Now().UnixNano()
	c.events = append(c.events, e)
}

// all returns the events so far in the order of their time.
func (c *chronicle) all() []event {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gatherLocked()
	return slices.Clone(c.events)
}

// gatherLocked takes in what is new. Tests ask often, so what is in order already is not sorted again.
func (c *chronicle) gatherLocked() {
	c.t.Helper()
	fresh, err := c.files.Next()
	require.NoError(c.t, err)
	c.events = append(c.events, fresh...)
	byTime := func(a, b event) int { return cmp.Compare(a.At, b.At) }
	if !slices.IsSortedFunc(c.events, byTime) {
		slices.SortStableFunc(c.events, byTime)
	}
}

// count returns how many events match.
func (c *chronicle) count(match func(event) bool) (n int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gatherLocked()
	for i := range c.events {
		if match(c.events[i]) {
			n++
		}
	}
	return n
}

// started counts the handlers that a process has begun.
func (c *chronicle) started(proc string) int {
	c.t.Helper()
	return c.count(func(e event) bool { return e.Op == opStart && e.Proc == proc })
}

// ran tells which jobs a handler was begun for.
func (c *chronicle) ran() map[string]bool {
	c.t.Helper()
	ran := make(map[string]bool)
	for _, e := range c.all() {
		if e.Op == opStart {
			ran[e.Job] = true
		}
	}
	return ran
}
