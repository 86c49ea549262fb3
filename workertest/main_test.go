package workertest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trial stands in for the *testing.T of a row that is run to see what it finds.
type trial struct {
	ctx context.Context

	mu       sync.Mutex
	failures []string
	skipped  string
	cleanups []func()
}

// try runs do as testing would run a subtest, in a bubble of its own, and returns what became of it.
func try(t *testing.T, do func(tb)) *trial {
	t.Helper()
	r := &trial{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r.ctx = ctx
		r.apart(func() { do(r) })
		cancel()
		for _, cleanup := range slices.Backward(r.cleanups) {
			r.apart(cleanup)
		}
	})
	return r
}

// apart calls do where Fatalf and Skipf may end it.
func (r *trial) apart(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		do()
	}()
	<-done
}

func (r *trial) Helper()                  {}
func (r *trial) Context() context.Context { return r.ctx }
func (r *trial) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }
func (r *trial) Logf(string, ...any)      {}

func (r *trial) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *trial) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *trial) Skipf(format string, args ...any) {
	r.mu.Lock()
	r.skipped = fmt.Sprintf(format, args...)
	r.mu.Unlock()
	runtime.Goexit()
}

// broken is a backend that breaks one promise on purpose.
type broken[S any] struct {
	what string
	open func(c *config) S
}

// testRows checks the checks: every row passes on the sound backend and rejects each of its broken ones, of which it
// has at least one.
func testRows[S, B any](
	t *testing.T, rows []row[B], bench func(tb, config, S) B, sound func(*config) S, bad map[string][]broken[S],
) {
	t.Helper()
	run := func(t *testing.T, r row[B], open func(*config) S) *trial {
		return try(t, func(t tb) {
			c := newConfig([]Option{WithPatience(2 * time.Second), InBubble()})
			backend := open(&c)
			r.run(bench(t, c, backend))
		})
	}
	known := make(map[string]bool)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if known[r.name] || r.promise == "" {
				t.Errorf("the row has another's name or no promise")
			}
			known[r.name] = true
			if got := run(t, r, sound); len(got.failures) > 0 || got.skipped != "" {
				t.Errorf("on a sound backend: failed %q, skipped %q", got.failures, got.skipped)
			}
			if len(bad[r.name]) == 0 {
				t.Errorf("no broken backend shows that the row rejects anything")
			}
			for _, b := range bad[r.name] {
				got := run(t, r, b.open)
				if len(got.failures) == 0 {
					t.Errorf("the row accepts a backend that %s (skipped %q)", b.what, got.skipped)
				}
				t.Logf("a backend that %s: %q", b.what, got.failures)
			}
		})
	}
	for name := range bad {
		if !known[name] {
			t.Errorf("there is no row %q to reject broken backends", name)
		}
	}
}
