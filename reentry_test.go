package worker_test

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	nometric "go.opentelemetry.io/otel/metric/noop"

	"github.com/real-staging-ai/go-worker"
)

// callback is a host's logger and meter: warnings, and what is counted of them, call the host's code.
type callback struct {
	slog.Handler
	nometric.MeterProvider
	do    func()
	busy  atomic.Bool // what it does calls nobody again
	calls atomic.Int64
}

func (c *callback) call() {
	if c.busy.CompareAndSwap(false, true) {
		c.do()
		c.calls.Add(1)
		c.busy.Store(false)
	}
}

func (c *callback) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }
func (c *callback) WithAttrs([]slog.Attr) slog.Handler               { return c }
func (c *callback) WithGroup(string) slog.Handler                    { return c }

func (c *callback) Handle(context.Context, slog.Record) error {
	c.call()
	return nil
}

func (c *callback) Meter(string, ...metric.MeterOption) metric.Meter { return callingMeter{host: c} }

type callingMeter struct {
	nometric.Meter
	host *callback
}

func (m callingMeter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if slices.Contains([]string{"worker.notify.dropped", "worker.jobs.abandoned", "worker.lease.lost"}, name) {
		return callingCounter{host: m.host}, nil
	}
	return nometric.Int64Counter{}, nil
}

type callingCounter struct {
	nometric.Int64Counter
	host *callback
}

func (c callingCounter) Enabled(context.Context) bool                    { return true }
func (c callingCounter) Add(context.Context, int64, ...metric.AddOption) { c.host.call() }

// hanging is a notifier that hears nothing until it is closed.
type hanging chan struct{}

func (n hanging) Notify(context.Context, ...worker.Status) error {
	<-n
	return nil
}

// What a host's logger or meter asks of a pool it is told: no lock is held while it is called. Where one is, this hangs.
func TestLoggersAndMetersMayCallThePool(t *testing.T) {
	stuck := func(ctx context.Context, _ *worker.Job, _ ping) error {
		<-ctx.Done()
		time.Sleep(time.Second) // it ignores the end of its context
		return ctx.Err()
	}
	for _, tt := range []struct {
		name    string
		handler worker.HandlerFunc[ping]
		run     func(r *rig)
	}{
		{"the notifier falls behind", noop, func(r *rig) {
			for n := range 6000 {
				r.enqueue(n)
			}
		}},
		{"progress that nobody is told", func(_ context.Context, job *worker.Job, _ ping) error {
			job.Progress(.5, "")
			return nil
		}, func(r *rig) {
			r.start()
			for n := range 5000 {
				r.enqueue(n)
			}
		}},
		{"a handler is abandoned", stuck, func(r *rig) {
			r.start()
			r.enqueue(0, worker.Timeout(time.Millisecond), worker.MaxAttempts(1))
		}},
		{"the lease is lost", stuck, func(r *rig) {
			r.start()
			r.enqueue(0)
			r.quiet()
			r.queue.Crash(r.queue.Consumers("default")[0])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				free, host := make(hanging), &callback{}
				var current atomic.Pointer[worker.Job]
				r := newRig(t, func(ctx context.Context, job *worker.Job, p ping) error {
					current.Store(job)
					return tt.handler(ctx, job, p)
				}, withoutStore, func(c *worker.Config) {
					c.Notifier, c.Logger, c.MeterProvider = free, slog.New(host), host
					c.Concurrency, c.CancelGrace = 1, 100*time.Millisecond
				})
				host.do = func() {
					r.pool.Health(context.Background())
					_, _ = r.pool.Client().Enqueue(context.Background(), ping{1})
					if job := current.Load(); job != nil {
						job.Progress(.6, "")
					}
				}
				tt.run(r)
				r.after(time.Minute)
				require.Positive(t, host.calls.Load())
				close(free)
				r.after(time.Minute)
				_ = r.pool.Stop(context.Background()) // some handlers may be left
				r.after(time.Minute)
			})
		})
	}
}
