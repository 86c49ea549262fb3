package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// tally tells all that a job makes telemetry say, from enqueue to settlement, and nothing else.
type tally struct {
	tel      *telemetry
	job      *Job
	jobs     []*Job
	attempt  *attempt
	items    []saveItem
	statuses []Status
}

func newTally(tb testing.TB, b Backend) *tally {
	tb.Helper()
	tel, err := newTelemetry(&b)
	require.NoError(tb, err)
	job := &Job{ID: "1", Type: "stage:run", Queue: "default", Attempt: 1, RunnableAt: time.Now()}
	handlers := map[string]registration{"stage:run": {handler: func(context.Context, *Job) error { return nil }}}
	f := (&Pool{handlers: handlers, slots: newSlots(1, false)}).newFeed("default", QueueConfig{})
	a := &attempt{job: job, started: time.Now(), reg: f.handlers["stage:run"],
		session: &session{ctx: context.Background(), feed: f}}
	a.conclude(outcome{name: string(StateSucceeded)})
	return &tally{tel: tel, job: job, jobs: []*Job{job}, attempt: a,
		items: []saveItem{{a, saveOutcome}}, statuses: make([]Status, 1)}
}

func (y *tally) enqueueRunSettle() {
	ctx := context.Background()
	y.job.Headers = nil
	sent, sending := y.tel.startSend(ctx, y.jobs)
	y.tel.finishSend(sent, sending, y.jobs, nil)
	kinds := y.attempt.session.feed.kinds
	y.tel.claimed(ctx, kinds, 1, time.Millisecond, nil)
	running, span := y.tel.startProcess(ctx, y.attempt)
	y.attempt.spanCtx, y.attempt.span = running, span
	y.tel.waited(running, y.attempt)
	y.attempt.outcome.took = time.Millisecond
	y.tel.finishProcess(span, &y.attempt.outcome)
	y.tel.ended(running, y.attempt, &y.attempt.outcome)
	y.tel.saved(ctx, y.items, y.statuses)
	y.tel.operated(ctx, opSettle, kinds, time.Millisecond, nil)
}

// withSDK is an SDK that samples one trace in a hundred and exports none.
func withSDK() Backend {
	return Backend{
		TracerProvider: trace.NewTracerProvider(trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(0.01)))),
		MeterProvider:  metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())),
		Propagator:     propagation.TraceContext{},
	}
}

// The figures that CI holds: per job, of all that telemetry does for it.
const (
	allocsWithoutSDK = 0
	allocsWithSDK    = 13
)

func TestTelemetryCostsNextToNothingWithoutAnSDK(t *testing.T) {
	y := newTally(t, Backend{})
	y.enqueueRunSettle()
	require.LessOrEqual(t, testing.AllocsPerRun(1000, y.enqueueRunSettle), float64(allocsWithoutSDK))
	y = newTally(t, withSDK())
	require.LessOrEqual(t, testing.AllocsPerRun(1000, y.enqueueRunSettle), float64(allocsWithSDK))
}

// An SDK that is installed later is noticed within a second, and one that is there is never taken for none.
func TestAnSDKThatComesLaterIsNoticed(t *testing.T) {
	y := newTally(t, Backend{})
	y.enqueueRunSettle()
	require.NotZero(t, y.tel.noSDKUntil.Load())
	y.tel.noSDKUntil.Store(time.Now().Add(time.Hour).UnixNano()) // no second passes by chance
	y.tel.tracer = trace.NewTracerProvider().Tracer(scopeName)   // as a global provider delegates to it
	y.enqueueRunSettle()
	require.False(t, y.attempt.span.SpanContext().IsValid(), "not yet")
	y.tel.noSDKUntil.Store(time.Now().UnixNano())
	y.enqueueRunSettle()
	require.True(t, y.attempt.span.SpanContext().IsValid())
	require.Zero(t, y.tel.noSDKUntil.Load())
}

func TestTraceparentsAreReadAsWritten(t *testing.T) {
	_, span := trace.NewTracerProvider().Tracer("test").Start(t.Context(), "span")
	text := traceparent(span)
	require.Len(t, text, 55)
	read := parseTraceparent(text)
	require.Equal(t, span.SpanContext().TraceID(), read.TraceID())
	require.Equal(t, span.SpanContext().SpanID(), read.SpanID())
	require.True(t, read.IsRemote())
	require.Empty(t, traceparent(noSpan))
	_, unsampled := trace.NewTracerProvider(trace.WithSampler(trace.NeverSample())).Tracer("test").Start(t.Context(), "span")
	require.Empty(t, traceparent(unsampled), "nobody will find it")
	for _, bad := range []string{"", "00", text[:54] + "0", "01" + text[2:], text + "x", "00-" + "zz" + text[5:],
		text[:36] + "zz" + text[38:], "00-00000000000000000000000000000000-0000000000000000-01"} {
		require.False(t, parseTraceparent(bad).IsValid(), bad)
	}
}

// However many types and queues a producer invents, what is kept of them is bounded.
func TestAttributeSetsAreBounded(t *testing.T) {
	y := newTally(t, withSDK())
	for i := range 3 * maxSets {
		y.tel.set(setKey{jobType: time.Duration(i).String()})
	}
	require.LessOrEqual(t, len(y.tel.sets), maxSets)
	for i := range 3 * maxKinds {
		y.tel.kindsOf(time.Duration(i).String())
	}
	require.LessOrEqual(t, len(y.tel.kinds), maxKinds)
}

func TestErrorTypesAreFew(t *testing.T) {
	for want, err := range map[string]error{
		"": nil, "panic": &PanicError{}, "goexit": ErrGoexit, "decode": Permanent(&DecodeError{}),
		"abandoned": errors.Join(context.DeadlineExceeded, ErrAbandoned), "timeout": context.DeadlineExceeded,
		"canceled": ErrCanceled, "expired": ErrExpired, "retry_window": ErrRetryWindow,
		"crash_loop": ErrCrashLoop, "unknown_type": ErrUnknownType, "lease_lost": ErrLeaseLost, "shutdown": ErrShutdown, "refused": ErrRefused, "_OTHER": errors.New("anything"),
	} {
		require.Equal(t, want, errorType(err))
		require.Equal(t, want, errorType(read(err)))
	}
	require.Equal(t, "permanent", errorType(read(Permanent(errors.New("anything")))))
	require.Equal(t, "canceled", errorType(read(Cancel(errors.New("anything")))))
	require.Equal(t, "canceled", errorType(context.Canceled))
	require.Equal(t, "timeout", errorType(read(Permanent(context.DeadlineExceeded))))
}

// BenchmarkTelemetry is what telemetry costs a job, from enqueue to settlement.
func BenchmarkTelemetry(b *testing.B) {
	for name, backend := range map[string]Backend{"without SDK": {}, "sampling 1 %": withSDK()} {
		b.Run(name, func(b *testing.B) {
			y := newTally(b, backend)
			b.ReportAllocs()
			for b.Loop() {
				y.enqueueRunSettle()
			}
		})
	}
}
