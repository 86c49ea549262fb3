package workertest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Option tells a conformance suite what it cannot find out by itself. Rows run one after another, each on a backend of
// its own, so an option's function may refer to the backend that was opened last.
type Option func(*config)

type config struct {
	patience time.Duration
	advance  func(time.Duration)
	bubble   bool

	takeover   time.Duration
	crash      func(worker.Consumer)
	enqueueRaw func(queue, id string, body []byte) error
	subscriber func(worker.Notifier) worker.Subscriber
}

func newConfig(opts []Option) config {
	c := config{patience: 10 * time.Second}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// WithPatience sets how long what ought to happen at once may take before a row fails. A backend that keeps its
// promises never takes that long. The default is 10 seconds.
func WithPatience(d time.Duration) Option { return func(c *config) { c.patience = d } }

// InBubble runs every row in a testing/synctest bubble, so that no row takes real time. It is for backends that live
// in the test's own process: open is called inside the bubble, and whatever it starts must end by t.Cleanup.
func InBubble() Option { return func(c *config) { c.bubble = true } }

// WithClock is for a backend whose clock does not follow package time and is moved by advance. Without it rows that
// need time to pass wait. Where leases are renewed by package time, advance must move by small steps and let that
// happen; InBubble is the better choice there.
func WithClock(advance func(time.Duration)) Option { return func(c *config) { c.advance = advance } }

// WithCrash enables the rows of TestQueue about workers that die. crash makes a session stop renewing its lease without
// closing it, as if its process had been killed; within is the longest that it may take until another session is
// handed its jobs.
func WithCrash(within time.Duration, crash func(worker.Consumer)) Option {
	return func(c *config) { c.takeover, c.crash = within, crash }
}

// WithRaw enables the rows of TestQueue about jobs that do not decode. enqueue makes body wait under the id, as it is.
func WithRaw(enqueue func(queue, id string, body []byte) error) Option {
	return func(c *config) { c.enqueueRaw = enqueue }
}

// WithSubscriber tells TestNotifier where to read what a notifier was told. Without it the notifier itself is asked, if
// it is a worker.Subscriber.
func WithSubscriber(of func(worker.Notifier) worker.Subscriber) Option {
	return func(c *config) { c.subscriber = of }
}

// row is one promise of a contract and its check.
type row[B any] struct {
	name    string
	promise string
	run     func(B)
}

// tb is what a row needs of a *testing.T.
type tb interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// runRows runs each row as a subtest on a backend of its own.
func runRows[B any](t *testing.T, c config, rows []row[B], open func(t *testing.T) B) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			run := func(t *testing.T) {
				defer func() {
					if t.Failed() {
						t.Logf("the promise: %s", r.promise)
					}
				}()
				r.run(open(t))
			}
			if c.bubble {
				synctest.Test(t, run)
			} else {
				run(t)
			}
		})
	}
}

// bench is what the rows of all suites stand on.
type bench struct {
	tb
	config
	ctx    context.Context // ends with the row, or when it hangs
	start  time.Time
	passed *time.Duration // by advance
}

func newBench(t tb, c config) bench {
	ctx, cancel := context.WithTimeout(t.Context(), 20*c.patience+10*c.takeover)
	t.Cleanup(cancel)
	return bench{tb: t, config: c, ctx: ctx, start: time.Now(), passed: new(time.Duration)}
}

// now is the time by the backend's clock, about.
func (b bench) now() time.Time { return time.Now().Add(*b.passed) }

// pass lets time pass for the backend.
func (b bench) pass(d time.Duration) {
	if b.advance != nil {
		b.advance(d)
		*b.passed += d
		d = min(d, 5*time.Millisecond) // what works by itself gets a moment
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.ctx.Done():
	}
}

// ok fails the row on an error.
func (b bench) ok(err error, doing string) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", doing, err)
	}
}

// prompt fails the row when do takes longer than anything that happens at once may take.
func (b bench) prompt(what string, do func()) {
	b.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > b.patience {
		b.Fatalf("%s took %v", what, took)
	}
}

// aSecond is how long what is promised within a second may take. Where time is exact, so is the second; elsewhere a loaded
// machine gets five more.
func (b bench) aSecond() time.Duration {
	if b.bubble && b.advance == nil {
		return time.Second
	}
	return 6 * time.Second
}

// inASecond fails the row when what is promised within a second took longer.
func (b bench) inASecond(took time.Duration, what string) {
	b.Helper()
	if took > b.aSecond() {
		b.Fatalf("%s took %v, want a second", what, took)
	}
}

// received waits for one value that ought to come at once.
func received[V any](b bench, from <-chan V, what string) V {
	b.Helper()
	return receivedWithin(b, from, b.patience, what)
}

// receivedWithin waits for one value.
func receivedWithin[V any](b bench, from <-chan V, d time.Duration, what string) V {
	b.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
	case <-b.ctx.Done():
	}
	b.Fatalf("%s: nothing came within %v", what, d)
	panic("unreachable")
}
