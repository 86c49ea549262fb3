package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// found returns the codes of all problems, in their order.
func found(h worker.Health) []string {
	all := []string{}
	for _, p := range h.Problems {
		all = append(all, p.Code)
	}
	return all
}

func (r *rig) health() worker.Health { return r.pool.Health(r.t.Context()) }

// sick requires a pool that is live and not ready, for one reason only, and returns it.
func (r *rig) sick(code string) worker.Problem {
	r.t.Helper()
	h := r.health()
	require.Equal(r.t, []string{code}, found(h))
	assert.True(r.t, h.Live)
	assert.False(r.t, h.Ready)
	assert.NotEmpty(r.t, h.Problems[0].Message)
	return h.Problems[0]
}

func (r *rig) well() {
	r.t.Helper()
	assert.Equal(r.t, worker.Health{Live: true, Ready: true, Problems: []worker.Problem{}}, r.health())
}

// broken lets calls fail by name, from one moment to another.
type broken struct{ call atomic.Value }

func (b *broken) set(call string) { b.call.Store(call) }

func (b *broken) fault(_ context.Context, call string) error {
	if b.call.Load() == call {
		return errFlaky
	}
	return nil
}

func TestHealthFollowsThePoolsLife(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil })
		assert.Zero(t, r.sick(worker.ProblemNotStarted).Since)
		r.start()
		r.well()
		r.enqueue(0)
		r.after(time.Second)
		began := time.Now()
		stopped := make(chan error)
		go func() { stopped <- r.pool.Stop(context.Background()) }()
		r.after(time.Second)
		assert.Equal(t, began, r.sick(worker.ProblemStopping).Since)
		close(release)
		require.NoError(t, <-stopped)
		r.queue.Fault = func(context.Context, string) error { return errFlaky } // the host may have closed it
		assert.Equal(t, began, r.sick(worker.ProblemStopped).Since)
	})
}

func TestHealthTellsOfAStartThatFailed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var b broken
		r := newRig(t, noop)
		r.queue.Fault = b.fault
		b.set("Consume")
		require.Error(t, r.pool.Start(t.Context()))
		r.sick(worker.ProblemNotStarted)
		b.set("")
		r.start()
		r.well()
		r.stop()
	})
}

func TestHealthTellsOfAQueueThatFails(t *testing.T) {
	for _, tt := range []struct{ call, queue string }{
		{"Claim", "default"}, {"Settle", "default"}, {"Ping", ""},
	} {
		t.Run(tt.call, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var b broken
				r := newRig(t, noop)
				r.queue.Fault = b.fault
				r.start()
				r.after(time.Minute)
				b.set(tt.call)
				r.enqueue(0)
				r.after(20 * time.Second)
				p := r.sick(worker.ProblemQueueUnreachable)
				assert.Equal(t, tt.queue, p.Queue)
				assert.ErrorIs(t, p.Err, errFlaky)
				if tt.queue != "" {
					assert.InDelta(t, 20, time.Since(p.Since).Seconds(), 3, "it began with the first failure")
				}
				b.set("")
				r.after(time.Minute)
				r.well()
				r.stop()
			})
		})
	}
}

// What a session met that has lost its lease is over with the next one, though that has nothing to settle.
func TestHealthForgetsWhatALostSessionCouldNotSettle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var b broken
		r := newRig(t, noop)
		r.queue.Fault = b.fault
		r.start()
		r.after(time.Minute)
		b.set("Settle")
		r.enqueue(0)
		r.after(5 * time.Second)
		r.sick(worker.ProblemQueueUnreachable)
		require.NoError(t, r.pool.Client().Pause(t.Context(), "default")) // as if another worker had the job
		r.queue.Crash(r.queue.Consumers("default")[0])
		r.after(30 * time.Second)
		r.well()
		b.set("")
		r.after(time.Hour)
		r.well()
		r.stop()
	})
}

func TestHealthTellsOfALostLeaseUntilASessionIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var b broken
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil },
			func(c *worker.Config) { c.CancelGrace = time.Hour })
		r.queue.Fault = b.fault
		r.start()
		for n := range 4 { // no slot is free to claim with, and by that to see that the queue works
			r.enqueue(n)
		}
		r.after(time.Minute)
		b.set("Consume")
		r.queue.Crash(r.queue.Consumers("default")[0])
		r.after(time.Minute)
		h := r.health()
		assert.Equal(t, []string{worker.ProblemQueueUnreachable, worker.ProblemLeaseLost}, found(h))
		assert.True(t, h.Live)
		assert.False(t, h.Ready)
		require.ErrorIs(t, h.Problems[1].Err, worker.ErrLeaseLost)
		b.set("")
		r.after(time.Minute)
		r.well()
		close(release)
		r.quiet()
		r.well()
		r.stop()
	})
}

// renewing is a queue whose renewals a test tells of.
type renewing struct {
	*workertest.MemoryQueue
	told func(error)
}

func (q *renewing) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	q.told, opts.OnRenewal = opts.OnRenewal, nil
	return q.MemoryQueue.Consume(ctx, queue, opts)
}

func TestHealthTellsOfLeasesThatAreNotRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		q := &renewing{MemoryQueue: workertest.NewQueue()}
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = q }).start()
		q.told(nil)
		r.well()
		q.told(errFlaky)
		began := time.Now()
		r.after(3 * time.Second)
		last := errors.New("still flaky")
		q.told(last)
		p := r.sick(worker.ProblemLeaseNotRenewed)
		assert.Equal(t, began, p.Since)
		assert.Equal(t, last, p.Err, "the latest error tells most")
		q.told(nil)
		r.well()
		r.stop()
	})
}

func TestHealthTellsOfAFailingStore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil })
		r.store.Fault = func(context.Context, []worker.Status) error {
			if down.Load() {
				return errFlaky
			}
			return nil
		}
		r.start()
		r.enqueue(0, worker.After(time.Second))
		r.quiet()
		down.Store(true)
		r.after(20 * time.Second)
		require.ErrorIs(t, r.sick(worker.ProblemStoreFailing).Err, errFlaky)
		down.Store(false)
		r.after(time.Minute)
		r.well()
		r.stop()
	})
}

func TestPoolWithoutWakeUpsOrNotifierIsReady(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var deaf, dumb atomic.Bool
		r := newRig(t, noop, func(c *worker.Config) {
			c.Queue = unwaking{c.Queue.(*workertest.MemoryQueue), &deaf}
			c.Notifier = muted{&dumb}
		}).start()
		deaf.Store(true)
		dumb.Store(true)
		r.after(5 * time.Second)
		r.enqueue(0)
		r.after(5 * time.Second)
		h := r.health()
		assert.Equal(t, []string{worker.ProblemNotifierFailing, worker.ProblemQueuePolled}, found(h))
		assert.True(t, h.Live)
		assert.True(t, h.Ready)
		deaf.Store(false)
		dumb.Store(false)
		r.after(5 * time.Second)
		r.enqueue(1)
		r.after(5 * time.Second)
		r.well()
		r.stop()
	})
}

// muted is a notifier that may refuse to tell anything.
type muted struct{ dumb *atomic.Bool }

func (n muted) Notify(context.Context, ...worker.Status) error {
	if n.dumb.Load() {
		return errFlaky
	}
	return nil
}

// unwaking is a queue whose sessions can't wait.
type unwaking struct {
	*workertest.MemoryQueue
	deaf *atomic.Bool
}

func (q unwaking) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.MemoryQueue.Consume(ctx, queue, opts)
	return impatient{c, q.deaf}, err
}

type impatient struct {
	worker.Consumer
	deaf *atomic.Bool
}

func (c impatient) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	if opts.Wait > 0 && c.deaf.Load() {
		return nil, errFlaky
	}
	return c.Consumer.Claim(ctx, opts)
}

func TestPoolWhoseSlotsAreAllAbandonedIsNotLive(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil },
			func(c *worker.Config) { c.Concurrency = 2 }).start()
		r.enqueue(1, worker.Timeout(time.Minute), worker.MaxAttempts(1))
		r.enqueue(2, worker.Timeout(2*time.Minute), worker.MaxAttempts(1))
		r.after(90 * time.Second)
		r.well() // one slot is left
		r.after(90 * time.Second)
		h := r.health()
		assert.Equal(t, []string{worker.ProblemHandlersAbandoned}, found(h))
		assert.False(t, h.Live)
		assert.False(t, h.Ready)
		assert.Equal(t, http.StatusServiceUnavailable, get(r.pool.LiveHandler(), http.MethodGet).Code)
		close(release)
		r.quiet()
		r.well()
		r.stop()
	})
}

func get(h http.Handler, method string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/", nil))
	return w
}

func TestHealthHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		secret := errors.New("dial tcp 10.1.2.3:6379: refused")
		q := &pinged{workertest.NewQueue(), func(context.Context) error { return secret }}
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = q }).start()

		w := get(r.pool.ReadyHandler(), http.MethodGet)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		assert.NotContains(t, w.Body.String(), "10.1.2.3")
		var h worker.Health
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &h))
		assert.Equal(t, []string{worker.ProblemQueueUnreachable}, found(h))
		assert.Equal(t, "the queue's server does not answer", h.Problems[0].Message)

		w = get(r.pool.ReadyHandler(), http.MethodHead)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Empty(t, w.Body.String())

		w = get(r.pool.LiveHandler(), http.MethodGet)
		assert.Equal(t, http.StatusOK, w.Code, "a restart mends no server")
		assert.JSONEq(t, `{"live": true, "problems": []}`, w.Body.String())

		w = get(r.pool.ReadyHandler(), http.MethodPost)
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))

		r.quiet()
		q.ping = func(context.Context) error { return nil }
		assert.Equal(t, http.StatusOK, get(r.pool.ReadyHandler(), http.MethodGet).Code)
		r.stop()
		assert.JSONEq(t, `{"live": true, "ready": false, "problems": [
			{"code": "stopped", "message": "the pool was stopped", "since": "2000-01-01T00:00:00Z"}]}`,
			get(r.pool.ReadyHandler(), http.MethodGet).Body.String())
		assert.Equal(t, http.StatusOK, get(r.pool.LiveHandler(), http.MethodGet).Code)
	})
}

// The table of docs/health.md has a row for each code, with what newHealth makes of it.
func TestHealthCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "health.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\S+) \\| (\\S+) \\|").FindAllStringSubmatch(string(page), -1)
	told := map[string]string{}
	for _, row := range rows {
		told[row[1]] = "live " + row[2] + ", ready " + row[3]
	}
	const unready, ready = "live yes, ready no", "live yes, ready yes"
	assert.Equal(t, map[string]string{
		worker.ProblemNotStarted: unready, worker.ProblemStopping: unready, worker.ProblemStopped: unready,
		worker.ProblemQueueUnreachable: unready, worker.ProblemLeaseNotRenewed: unready, worker.ProblemLeaseLost: unready,
		worker.ProblemStoreFailing: unready, worker.ProblemHandlersAbandoned: "live **no**, ready no",
		worker.ProblemQueuePolled: ready, worker.ProblemNotifierFailing: ready,
	}, told)
}
