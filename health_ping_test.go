package worker_test

import (
	"context"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// pinged is a queue that answers pings as a test says.
type pinged struct {
	*workertest.MemoryQueue
	ping func(ctx context.Context) error
}

func (q *pinged) Ping(ctx context.Context) error { return q.ping(ctx) }

func TestHealthOutlivesEveryPing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var pings atomic.Int32
		q := &pinged{MemoryQueue: workertest.NewQueue()}
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = q }).start()

		q.ping = func(context.Context) error { panic("no") }
		var panicked *worker.PanicError
		require.ErrorAs(t, r.sick(worker.ProblemQueueUnreachable).Err, &panicked)

		r.quiet()
		q.ping = func(context.Context) error { runtime.Goexit(); return nil }
		r.sick(worker.ProblemQueueUnreachable)

		r.quiet()
		q.ping = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		began := time.Now()
		r.sick(worker.ProblemQueueUnreachable)
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
		r.quiet() // the ping itself ends a moment later

		r.quiet()
		release := make(chan struct{})
		q.ping = func(context.Context) error { pings.Add(1); <-release; return nil }
		for range 10 {
			r.sick(worker.ProblemQueueUnreachable)
		}
		assert.EqualValues(t, 1, pings.Load(), "one that ignores its context is not asked again")
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began = time.Now()
		require.ErrorIs(t, r.pool.Health(hasty).Problems[0].Err, context.DeadlineExceeded)
		assert.Equal(t, time.Millisecond, time.Since(began))
		close(release)
		r.quiet()
		r.well()
		r.stop()
	})
}

func TestServersAreAskedAtTheSameTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		slow := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		r := newRig(t, noop, func(c *worker.Config) {
			c.Queue = &pinged{workertest.NewQueue(), slow}
			c.StatusStore = &pingedStore{c.StatusStore, slow}
			c.Notifier = &pingedNotifier{c.Notifier, slow}
		}).start()
		began := time.Now()
		h := r.health()
		assert.Equal(t, 500*time.Millisecond, time.Since(began))
		assert.Equal(t, []string{worker.ProblemQueueUnreachable, worker.ProblemStoreFailing, worker.ProblemNotifierFailing}, found(h))
		r.stop()
	})
}

// A notifier is no reason not to be ready, nor to be late for a probe.
func TestANotifierThatHangsKeepsNoProbeWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) {
			c.Notifier = &pingedNotifier{c.Notifier, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		}).start()
		began := time.Now()
		w := get(r.pool.ReadyHandler(), http.MethodGet)
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Contains(t, w.Body.String(), worker.ProblemNotifierFailing)
		assert.Equal(t, 250*time.Millisecond, time.Since(began))
		r.stop()
	})
}

// The trouble of a ping began with the first that failed, and ends with one that succeeds.
func TestHealthTellsSinceWhenPingsFail(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := &pinged{MemoryQueue: workertest.NewQueue()}
		bad := func(context.Context) error { return errFlaky }
		q.ping = bad
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = q }).start()
		for range 2 {
			began := time.Now()
			for range 3 {
				assert.Equal(t, began, r.sick(worker.ProblemQueueUnreachable).Since)
				r.after(time.Minute)
			}
			q.ping = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			assert.Equal(t, began, r.sick(worker.ProblemQueueUnreachable).Since)
			r.quiet()
			q.ping = func(context.Context) error { return nil }
			r.well()
			r.after(time.Minute)
			q.ping = bad
		}
		r.stop()
	})
}

// Whoever asks last, and in whatever state the pool is stopped: no ping is under way when Stop returns.
func TestNoPingOutlivesStop(t *testing.T) {
	for _, started := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			var underWay atomic.Int32
			q := &pinged{MemoryQueue: workertest.NewQueue(), ping: func(ctx context.Context) error {
				underWay.Add(1)
				defer underWay.Add(-1)
				<-ctx.Done()
				return ctx.Err()
			}}
			r := newRig(t, noop, func(c *worker.Config) { c.Queue = q })
			if started {
				r.start()
			}
			hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			r.pool.Health(hasty)
			require.EqualValues(t, 1, underWay.Load())
			began := time.Now()
			r.stop()
			assert.Zero(t, underWay.Load())
			assert.Zero(t, time.Since(began), "they are canceled")
			r.health()
			assert.Zero(t, underWay.Load())
		})
	}
}

type pingedStore struct {
	worker.StatusStore
	ping func(ctx context.Context) error
}

func (s *pingedStore) Ping(ctx context.Context) error { return s.ping(ctx) }

type pingedNotifier struct {
	worker.Notifier
	ping func(ctx context.Context) error
}

func (n *pingedNotifier) Ping(ctx context.Context) error { return n.ping(ctx) }
