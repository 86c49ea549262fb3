package worker_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	notrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func attrsOf(s sdktrace.ReadOnlySpan) map[string]string {
	attrs := make(map[string]string)
	for _, kv := range s.Attributes() {
		attrs[string(kv.Key)] = kv.Value.String()
	}
	return attrs
}

func linked(s sdktrace.ReadOnlySpan) (ids []trace.SpanID) {
	for _, l := range s.Links() {
		ids = append(ids, l.SpanContext.SpanID())
	}
	return ids
}

func TestTraceFollowsTheJobByLinks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		var inHandler trace.SpanContext
		var tenant string
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			inHandler = trace.SpanContextFromContext(ctx)
			tenant = baggage.FromContext(ctx).Member("tenant").Value()
			return failUntil(3)(job.Attempt)
		}, rec.by).start()
		member, err := baggage.NewMember("tenant", "42")
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		ctx, root := rec.provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
		job, err := r.pool.Client().Enqueue(ctx, ping{1})
		require.NoError(t, err)
		root.End()
		r.after(time.Hour)
		r.stop()

		require.Len(t, rec.ended("send default"), 1)
		send := rec.ended("send default")[0]
		assert.Equal(t, root.SpanContext().SpanID(), send.Parent().SpanID())
		attempts := rec.ended("process default")
		require.Len(t, attempts, 3, "one span an attempt")
		before := []trace.SpanID{send.SpanContext().SpanID()}
		for i, s := range attempts {
			assert.False(t, s.Parent().IsValid(), "a new root")
			assert.Equal(t, before, linked(s), "what enqueued it, and the attempt before")
			assert.Equal(t, job.ID, attrsOf(s)["messaging.message.id"])
			assert.Equal(t, []string{"retrying", "retrying", "succeeded"}[i], attrsOf(s)["worker.job.outcome"])
			assert.Equal(t, []codes.Code{codes.Error, codes.Error, codes.Unset}[i], s.Status().Code)
			before = []trace.SpanID{send.SpanContext().SpanID(), s.SpanContext().SpanID()}
		}
		assert.Equal(t, "*errors.errorString", attempts[0].Events()[0].Attributes[0].Value.AsString(), "the handler's own")
		assert.Equal(t, attempts[2].SpanContext().SpanID(), inHandler.SpanID())
		assert.Equal(t, "42", tenant)
	})
}

func TestTraceParentMakesOneTrace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			return failUntil(2)(job.Attempt)
		}, rec.by, func(c *worker.Config) { c.TraceParent, c.TraceCalls = true, true }).start()
		r.enqueue(1)
		r.after(time.Hour)
		r.stop()
		send, attempts := rec.ended("send default")[0].SpanContext(), rec.ended("process default")
		assert.Equal(t, send.SpanID(), attempts[0].Parent().SpanID())
		assert.Equal(t, send.TraceID(), attempts[0].SpanContext().TraceID())
		assert.Equal(t, []trace.SpanID{send.SpanID()}, linked(attempts[0]))
		assert.False(t, attempts[1].Parent().IsValid(), "a later attempt is a trace of its own")
		settled := rec.ended("settle default")
		assert.Len(t, settled, 2)
		for i, s := range settled {
			assert.Equal(t, []trace.SpanID{attempts[i].SpanContext().SpanID()}, linked(s), "the attempt that it settles")
		}
		assert.Len(t, rec.ended("save statuses"), 4, "running and outcome of both attempts")
	})
}

// An attempt says where it comes from, also when nobody sampled that.
func TestUnsampledSendersAreLinked(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		var handed string
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			handed = job.Headers["traceparent"]
			return nil
		}, rec.by).start()
		never := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
		cfg := r.cfg.Backend
		cfg.TracerProvider = never
		producer, err := worker.NewClient(cfg)
		require.NoError(t, err)
		_, err = producer.Enqueue(t.Context(), ping{1})
		require.NoError(t, err)
		r.after(time.Second)
		r.stop()
		require.Len(t, rec.ended("process default"), 1)
		span := rec.ended("process default")[0]
		require.Len(t, span.Links(), 1)
		assert.Contains(t, handed, span.Links()[0].SpanContext.SpanID().String())
		assert.False(t, span.Links()[0].SpanContext.IsSampled())
	})
}

// The pool's own calls are no part of what started it.
func TestCallsHaveNoParent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, noop, rec.by, func(c *worker.Config) { c.TraceCalls = true })
		ctx, main := rec.provider.Tracer("test").Start(t.Context(), "main")
		require.NoError(t, r.pool.Start(ctx))
		r.enqueue(1)
		r.after(time.Second)
		r.stop()
		main.End()
		for _, name := range []string{"settle default", "save statuses"} {
			require.NotEmpty(t, rec.ended(name))
			for _, s := range rec.ended(name) {
				assert.False(t, s.Parent().IsValid(), name)
			}
		}
	})
}

// bomb is an error that panics when it is asked what it is.
type bomb struct{}

func (bomb) Error() string { return "bomb" }
func (bomb) Is(error) bool { panic("boom") }
func (bomb) As(any) bool   { panic("boom") }

// mined is a propagator that panics.
type mined struct{ propagation.TraceContext }

func (mined) Inject(context.Context, propagation.TextMapCarrier) { panic("boom") }

func (mined) Extract(context.Context, propagation.TextMapCarrier) context.Context { panic("boom") }

// What panics in a host's error or propagator takes no process down.
func TestErrorsAndPropagatorsMayPanic(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, noop, rec.by, func(c *worker.Config) { c.TraceCalls, c.Propagator = true, mined{} })
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].State != worker.StateQueued && time.Since(bubbleBegan) < time.Minute {
				return bomb{}
			}
			return nil
		}
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Settle" && time.Since(bubbleBegan) < 2*time.Minute {
				return bomb{}
			}
			return nil
		}
		r.start()
		job := r.enqueue(1, worker.WithHeader("tenant", "42"))
		r.after(4 * time.Minute)
		require.NotEmpty(t, rec.ended("process default"))
		assert.Equal(t, "_OTHER", attrsOf(rec.ended("save statuses")[0])["error.type"], "it says nothing, so it is an outage")
		assert.Equal(t, "_OTHER", attrsOf(rec.ended("settle default")[0])["error.type"])
		assert.Contains(t, r.toldStates(job.ID), worker.StateSucceeded)
		r.stop()
	})
}

// bubbleBegan is when each bubble's time begins.
var bubbleBegan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A worker without an SDK hands on what it was given, and adds nothing of its own.
func TestWithoutAnSDKTheContextTravelsOn(t *testing.T) {
	for _, parent := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			rec := record()
			var inHandler []trace.SpanContext
			var before []string
			r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
				inHandler = append(inHandler, trace.SpanContextFromContext(ctx))
				before = append(before, job.PreviousTrace)
				return failUntil(3)(job.Attempt)
			}, rec.by, func(c *worker.Config) {
				c.TracerProvider, c.TraceParent = notrace.NewTracerProvider(), parent
			}).start()
			ctx, request := rec.provider.Tracer("test").Start(t.Context(), "request")
			_, err := r.pool.Client().Enqueue(ctx, ping{1})
			require.NoError(t, err)
			r.after(time.Hour)
			r.stop()
			require.Len(t, inHandler, 3)
			for _, sc := range inHandler {
				assert.Equal(t, request.SpanContext().SpanID(), sc.SpanID())
			}
			assert.Equal(t, []string{"", "", ""}, before)
		})
	}
}

// Of what doesn't fit into the headers baggage is left out first, and the host's own headers never.
func TestTraceContextIsCapped(t *testing.T) {
	rec := record()
	cfg := worker.Config{Backend: worker.Backend{Queue: workertest.NewQueue()}}
	rec.by(&cfg)
	client, err := worker.NewClient(cfg.Backend)
	require.NoError(t, err)
	bagOf := func(size int) baggage.Baggage {
		member, err := baggage.NewMember("much", strings.Repeat("x", size))
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		return bag
	}
	for _, c := range []struct {
		name string
		bag  baggage.Baggage
		host int
		want []string
	}{
		{"all fits", baggage.Baggage{}, 10, []string{"host", "traceparent"}},
		{"baggage fits", bagOf(1000), 10, []string{"baggage", "host", "traceparent"}},
		{"baggage is too much", bagOf(4080), 10, []string{"host", "traceparent"}},
		{"the host has left room for the trace", bagOf(1000), worker.MaxHeadersSize - 500, []string{"host", "traceparent"}},
		{"the host has left no room", baggage.Baggage{}, worker.MaxHeadersSize - 10, []string{"host"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, span := rec.provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), c.bag), "request")
			defer span.End()
			job, err := client.Enqueue(ctx, ping{1}, worker.WithHeader("host", strings.Repeat("h", c.host)))
			require.NoError(t, err)
			require.Equal(t, c.want, slices.Sorted(maps.Keys(job.Headers)))
		})
	}
}

// countingPropagator counts how often it is asked.
type countingPropagator struct {
	propagation.TraceContext
	injected int
}

func (p *countingPropagator) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	p.injected++
	p.TraceContext.Inject(ctx, c)
}

func TestACallForSeveralQueuesIsOneSpan(t *testing.T) {
	rec, asked := record(), &countingPropagator{}
	cfg := worker.Config{Backend: worker.Backend{Queue: workertest.NewQueue()}}
	rec.by(&cfg)
	cfg.Propagator = asked
	client, err := worker.NewClient(cfg.Backend)
	require.NoError(t, err)
	jobs := make([]*worker.Job, 3)
	for i, queue := range []string{"a", "b", "b"} {
		jobs[i], err = worker.NewJob(ping{i}, worker.OnQueue(queue))
		require.NoError(t, err)
	}
	require.NoError(t, client.EnqueueMany(t.Context(), jobs...))
	require.Len(t, rec.ended("send"), 1, "no queue is that of all")
	assert.Equal(t, map[string]string{"messaging.system": "redis", "messaging.operation.name": "send",
		"messaging.operation.type": "send", "messaging.batch.message_count": "3"}, attrsOf(rec.ended("send")[0]))
	assert.Equal(t, 1, asked.injected)
	for _, job := range jobs {
		assert.Contains(t, job.Headers["traceparent"], rec.ended("send")[0].SpanContext().SpanID().String())
	}
	jobs[0].Headers["traceparent"] = "its own"
	assert.NotEqual(t, "its own", jobs[1].Headers["traceparent"])

	require.Error(t, client.EnqueueMany(t.Context(), &worker.Job{Type: "ping", Queue: "a b"}))
	assert.Len(t, rec.spans.Ended(), 1, "what is not in order is not sent")
}

func TestPanicsAreRecordedWithTheirStack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error { panic("oh") }, rec.by).start()
		r.enqueue(1, worker.MaxAttempts(1))
		r.after(time.Minute)
		r.stop()
		span := rec.ended("process default")[0]
		require.Len(t, span.Events(), 1)
		event := attribute.NewSet(span.Events()[0].Attributes...)
		stack, _ := event.Value("exception.stacktrace")
		assert.Contains(t, stack.AsString(), "traces_test.go")
		text, _ := event.Value("exception.message")
		assert.Equal(t, "panic: oh", text.AsString())
		assert.Equal(t, "panic", attrsOf(span)["error.type"])
	})
}

// An error whose own methods panic is still the handler's panic, whatever telemetry asks of it.
func TestErrorsThatPanicAreClassed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return angryError{} }, rec.by).start()
		job := r.enqueue(1, worker.MaxAttempts(1))
		r.after(time.Minute)
		r.stop()
		assert.Equal(t, failed, r.last(job.ID).State)
		assert.Equal(t, "panic", attrsOf(rec.ended("process default")[0])["error.type"])
	})
}

type angryError struct{}

func (angryError) Error() string { return "angry" }

func (angryError) Is(error) bool { panic("don't ask") }

// The span in which a host starts its pool is not the parent of all that its handlers ever do.
func TestJobsAreNoPartOfThePoolsStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var inHandler trace.SpanContext
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			inHandler = trace.SpanContextFromContext(ctx)
			return nil
		}, func(c *worker.Config) { c.TracerProvider = notrace.NewTracerProvider() })
		ctx, span := record().provider.Tracer("test").Start(t.Context(), "start")
		require.NoError(t, r.pool.Start(ctx))
		span.End()
		r.enqueue(1)
		r.after(time.Second)
		r.stop()
		assert.False(t, inHandler.IsValid())
	})
}

// Handlers have the baggage of who sent their job, and none of what started their pool.
func TestHandlersDoNotInheritTheBaggageOfStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		type key struct{}
		bags, values := make(chan baggage.Baggage, 2), make(chan any, 2)
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			bags <- baggage.FromContext(ctx)
			values <- ctx.Value(key{})
			return nil
		}, record().by)
		member, err := baggage.NewMember("deploy", "7")
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)
		ctx := context.WithValue(baggage.ContextWithBaggage(t.Context(), bag), key{}, "kept")
		require.NoError(t, r.pool.Start(ctx))
		r.enqueue(1)
		r.enqueue(1, worker.WithHeader("any", "1"))
		r.quiet()
		for range 2 {
			assert.Zero(t, (<-bags).Len())
			assert.Equal(t, "kept", <-values)
		}
		r.stop()
	})
}
