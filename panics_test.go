package worker_test

import (
	"context"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/real-staging-ai/go-worker"
)

// What is tested here ends the whole process where it isn't kept from it.

// unreadable is an error that panics when its chain is followed: a nil pointer, as is returned by mistake.
func unreadable() error { return (*fs.PathError)(nil) }

// selfish is an error whose text cannot be had either: what it panics with panics, too.
type selfish struct{}

func (s selfish) Error() string { panic(s) }

func TestPanicWithAnErrorThatPanicsFailsOneAttempt(t *testing.T) {
	for text, value := range map[string]error{
		"panic: *fs.PathError: <nil>": unreadable(), "panic: worker_test.selfish": selfish{},
	} {
		inBubble(t, func(t *testing.T) {
			rec := record()
			r := newRig(t, func(context.Context, *worker.Job, ping) error { panic(value) }, rec.by).start()
			job := r.enqueue(1, worker.MaxAttempts(1))
			r.after(time.Second)
			assert.Equal(t, failed, r.last(job.ID).State)
			assert.Equal(t, text, r.last(job.ID).Error)
			r.stop()
			assert.Equal(t, "panic", attrsOf(rec.ended("process default")[0])["error.type"])
		})
	}
}

// What a handler panics with may still say what is to become of the job.
func TestPanicWithAPermanentErrorIsPermanent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { panic(worker.Permanent(errFlaky)) }).start()
		job := r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, failed, r.last(job.ID).State)
		r.stop()
	})
}

func TestHostErrorThatPanicsIsAnErrorOfTheHost(t *testing.T) {
	for _, place := range []string{"Consume", "Claim", "Settle", "Ping", "Close"} {
		t.Run(place, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var on atomic.Bool
				r := newRig(t, noop, record().by, func(c *worker.Config) { c.TraceCalls = true })
				r.queue.Fault = func(_ context.Context, call string) error {
					if call == place && on.Load() {
						return unreadable()
					}
					return nil
				}
				r.start()
				on.Store(true)
				if place == "Consume" {
					r.queue.Crash(r.queue.Consumers("default")[0])
				}
				job := r.enqueue(1)
				r.after(10 * time.Second)
				r.health()
				on.Store(false)
				r.after(time.Minute)
				assert.Equal(t, succeeded, r.last(job.ID).State)
				r.well()
				on.Store(true)
				_ = r.pool.Stop(context.Background())
			})
		})
	}
}

// An outage doesn't bury jobs, in whatever words the store tells of it.
func TestStoreErrorThatPanicsIsNoRefusal(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var on atomic.Bool
		r := newRig(t, noop)
		r.store.Fault = func(context.Context, []worker.Status) error {
			if on.Load() {
				return unreadable()
			}
			return nil
		}
		job := r.enqueue(1)
		on.Store(true)
		r.start()
		r.after(time.Second)
		assert.Contains(t, r.sick(worker.ProblemStoreFailing).Err.Error(), "*fs.PathError")
		on.Store(false)
		r.after(time.Minute)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

// denying is a queue that rejects its jobs, or revokes them as soon as they are claimed, with an error that panics.
type denying struct {
	worker.Consumer
	revoked chan worker.Revocation // nil: it rejects them
}

func (c denying) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	jobs, err := c.Consumer.Claim(ctx, opts)
	for _, job := range jobs {
		if c.revoked == nil {
			job.Reject = unreadable()
		} else {
			r := worker.Revocation{ID: job.ID, Token: job.Token, Cause: unreadable()}
			time.AfterFunc(time.Second, func() { c.revoked <- r })
		}
	}
	return jobs, err
}

func (c denying) Revoked() <-chan worker.Revocation { return c.revoked }

func TestJobsThatAreDeniedWithAnErrorThatPanicsFail(t *testing.T) {
	for _, revokes := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() },
				func(c *worker.Config) {
					c.Queue = odd{c.Queue, func(c worker.Consumer) worker.Consumer {
						d := denying{Consumer: c}
						if revokes {
							d.revoked = make(chan worker.Revocation)
						}
						return d
					}}
				}).start()
			job := r.enqueue(1, worker.MaxAttempts(1), worker.Timeout(time.Minute))
			r.after(10 * time.Second)
			assert.Equal(t, failed, r.last(job.ID).State)
			r.stop()
		})
	}
}

// waking is a queue whose wake-ups panic.
type waking struct{ worker.Consumer }

func (waking) Wake(context.Context) error { panic("cannot wake") }

func TestWakingThatPanicsHarmsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { time.Sleep(time.Second); return nil },
			func(c *worker.Config) {
				c.Concurrency, c.Queues = 1, map[string]worker.QueueConfig{"a": {}, "b": {}}
				c.Queue = odd{c.Queue, func(c worker.Consumer) worker.Consumer { return waking{c} }}
			}).start()
		r.quiet()
		r.enqueue(0, worker.OnQueue("a"))
		r.quiet()
		job := r.enqueue(1, worker.OnQueue("b")) // its worker is woken and has no slot
		r.after(time.Minute)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

// angryPropagator, angryProcessor and angryLog panic at all that they are told.
type angryPropagator struct{ propagation.TraceContext }

func (angryPropagator) Extract(context.Context, propagation.TextMapCarrier) context.Context {
	panic("extract")
}
func (angryPropagator) Inject(context.Context, propagation.TextMapCarrier) { panic("inject") }

type angryProcessor struct {
	sdktrace.SpanProcessor
	onStart bool
}

func (p angryProcessor) OnStart(context.Context, sdktrace.ReadWriteSpan) {
	if p.onStart {
		panic("start")
	}
}
func (angryProcessor) OnEnd(sdktrace.ReadOnlySpan) { panic("end") }

type angryLog struct{ enabled bool }

func (l angryLog) Enabled(context.Context, slog.Level) bool {
	if !l.enabled {
		panic("enabled")
	}
	return true
}
func (angryLog) Handle(context.Context, slog.Record) error { panic("handle") }
func (l angryLog) WithAttrs([]slog.Attr) slog.Handler      { return l }
func (l angryLog) WithGroup(string) slog.Handler           { return l }

func TestTelemetryThatPanicsHarmsNoJob(t *testing.T) {
	heard := atomic.Int64{}
	defer otel.SetErrorHandler(otel.GetErrorHandler())
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) { heard.Add(1) }))
	spans := func(onStart bool) func(*worker.Config) {
		return func(c *worker.Config) {
			c.TraceCalls = true
			c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(angryProcessor{onStart: onStart}))
		}
	}
	for name, by := range map[string]func(*worker.Config){
		"propagator":    func(c *worker.Config) { c.Propagator = angryPropagator{} },
		"start of span": spans(true),
		"end of span":   spans(false),
		"log":           func(c *worker.Config) { c.Logger = slog.New(angryLog{true}) },
		"log's level":   func(c *worker.Config) { c.Logger = slog.New(angryLog{}) },
	} {
		t.Run(name, func(t *testing.T) {
			heard.Store(0)
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error { return failUntil(2)(job.Attempt) }, by).start()
				job := r.enqueue(1, worker.WithHeader("any", "1"))
				r.after(time.Minute)
				assert.Equal(t, succeeded, r.last(job.ID).State)
				r.stop()
			})
			if name[:3] != "log" {
				assert.Positive(t, heard.Load(), "OpenTelemetry's error handler is told")
			}
		})
	}
}
