package worker

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Names of what this library tells OpenTelemetry. Those that begin with "messaging" are of the semantic conventions
// for messaging, which are still in development.
const (
	scopeName = "github.com/real-staging-ai/go-worker"

	metricSent     = "messaging.client.sent.messages"
	metricDuration = "messaging.process.duration"
	metricFinished = "worker.job.finished"
	metricDropped  = "worker.notify.dropped"

	attrSystem      = "messaging.system"
	attrDestination = "messaging.destination.name"
	attrOperation   = "messaging.operation.type"
	attrMessageID   = "messaging.message.id"
	attrBatchCount  = "messaging.batch.message_count"
	attrJobType     = "worker.job.type"
	attrJobAttempt  = "worker.job.attempt"
	attrJobOutcome  = "worker.job.outcome"

	systemName = "redis"
)

// durationBuckets are the bounds of job durations in seconds: the conventions' own end at 10 s.
var durationBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// telemetry is all that producers and pools tell OpenTelemetry. Each event is a pair: start returns a context, finish
// takes what came of it.
type telemetry struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	sent       metric.Int64Counter
	finished   metric.Int64Counter
	dropped    metric.Int64Counter
	duration   metric.Float64Histogram

	mu   sync.RWMutex
	sets map[setKey]metric.MeasurementOption // prebuilt, so that a job costs no attribute set
}

type setKey struct{ queue, jobType, outcome string }

func newTelemetry(b *Backend) (*telemetry, error) {
	tp, mp, pr := b.TracerProvider, b.MeterProvider, b.Propagator
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	if pr == nil {
		pr = otel.GetTextMapPropagator()
	}
	t := &telemetry{tracer: tp.Tracer(scopeName), propagator: pr, sets: make(map[setKey]metric.MeasurementOption)}
	return t, t.instruments(mp.Meter(scopeName))
}

func (t *telemetry) instruments(m metric.Meter) (err error) {
	if t.sent, err = m.Int64Counter(metricSent, metric.WithUnit("{message}"),
		metric.WithDescription("Jobs enqueued.")); err != nil {
		return err
	}
	if t.finished, err = m.Int64Counter(metricFinished, metric.WithUnit("{job}"),
		metric.WithDescription("Attempts that ended, by outcome.")); err != nil {
		return err
	}
	if t.dropped, err = m.Int64Counter(metricDropped, metric.WithUnit("{status}"),
		metric.WithDescription("Statuses that nobody was told about, since the notifier failed or fell behind.")); err != nil {
		return err
	}
	t.duration, err = m.Float64Histogram(metricDuration, metric.WithUnit("s"),
		metric.WithDescription("How long handlers ran."), metric.WithExplicitBucketBoundaries(durationBuckets...))
	return err
}

// startSend opens the producer's span of one call and writes its context into the jobs' headers.
func (t *telemetry) startSend(ctx context.Context, jobs []*Job) (context.Context, trace.Span) {
	ctx, span := t.tracer.Start(ctx, "send "+jobs[0].Queue, producer...)
	if span.IsRecording() {
		span.SetAttributes(attribute.String(attrSystem, systemName), attribute.String(attrOperation, "send"),
			attribute.String(attrDestination, jobs[0].Queue))
		if len(jobs) == 1 {
			span.SetAttributes(attribute.String(attrMessageID, jobs[0].ID), attribute.String(attrJobType, jobs[0].Type))
		} else {
			span.SetAttributes(attribute.Int(attrBatchCount, len(jobs)))
		}
	}
	for _, job := range jobs {
		t.inject(ctx, job)
	}
	return ctx, span
}

// inject adds the trace context and baggage to the job's headers, in a map of the job's own. Baggage that doesn't fit
// beside the host's headers is left out, and then the trace context.
func (t *telemetry) inject(ctx context.Context, job *Job) {
	host := job.Headers
	job.Headers = maps.Clone(host)
	t.propagator.Inject(ctx, jobCarrier{job})
	if job.checkHeaders() == nil {
		return
	}
	delete(job.Headers, "baggage")
	if job.checkHeaders() != nil {
		job.Headers = host
	}
}

// finishSend closes it.
func (t *telemetry) finishSend(ctx context.Context, span trace.Span, jobs []*Job, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, "enqueue failed")
	}
	if t.sent.Enabled(ctx) {
		t.countSent(ctx, jobs, err)
	}
	span.End()
}

// countSent counts the jobs that were enqueued: all, those that an *EnqueueError doesn't name, or none.
func (t *telemetry) countSent(ctx context.Context, jobs []*Job, err error) {
	failed := &EnqueueError{}
	if err != nil && !errors.As(err, &failed) {
		return
	}
	for _, job := range jobs {
		if failed.Failed[job.ID] == nil {
			t.sent.Add(ctx, 1, t.set(job.Queue, job.Type, ""))
		}
	}
}

// startProcess opens the consumer's span of one attempt: a new root, linked to what enqueued the job.
func (t *telemetry) startProcess(ctx context.Context, job *Job, name string) (context.Context, trace.Span) {
	ctx, span := t.tracer.Start(ctx, name, newRoot...)
	if span.IsRecording() {
		span.SetAttributes(attribute.String(attrSystem, systemName), attribute.String(attrOperation, "process"),
			attribute.String(attrDestination, job.Queue), attribute.String(attrMessageID, job.ID),
			attribute.String(attrJobType, job.Type), attribute.Int(attrJobAttempt, job.Attempt))
	}
	if len(job.Headers) == 0 {
		return ctx, span
	}
	sender := t.propagator.Extract(ctx, jobCarrier{job})
	if link := trace.SpanContextFromContext(sender); link.IsValid() && link.IsRemote() {
		span.AddLink(trace.Link{SpanContext: link})
		return trace.ContextWithSpan(sender, span), span // keeps the sender's baggage
	}
	return ctx, span
}

// Made once, so that a span costs no options.
var (
	producer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)}
	newRoot  = []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindConsumer)}
)

// finishProcess closes it and measures the attempt.
func (t *telemetry) finishProcess(ctx context.Context, span trace.Span, job *Job, o *outcome, took time.Duration) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String(attrJobOutcome, o.name))
		if o.err != nil {
			span.RecordError(o.err)
			span.SetStatus(codes.Error, o.name)
		}
	}
	span.End()
	if t.duration.Enabled(ctx) {
		t.duration.Record(ctx, took.Seconds(), t.set(job.Queue, job.Type, o.name))
	}
}

// count counts one attempt that ended, also one that never ran.
func (t *telemetry) count(ctx context.Context, queue, jobType, outcome string) {
	if t.finished.Enabled(ctx) {
		t.finished.Add(ctx, 1, t.set(queue, jobType, outcome))
	}
}

func (t *telemetry) set(queue, jobType, outcome string) metric.MeasurementOption {
	key := setKey{queue, jobType, outcome}
	t.mu.RLock()
	opt := t.sets[key]
	t.mu.RUnlock()
	if opt != nil {
		return opt
	}
	attrs := []attribute.KeyValue{
		attribute.String(attrSystem, systemName),
		attribute.String(attrDestination, queue), attribute.String(attrJobType, jobType),
	}
	if outcome != "" {
		attrs = append(attrs, attribute.String(attrJobOutcome, outcome))
	}
	opt = metric.WithAttributeSet(attribute.NewSet(attrs...))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sets[key] = opt
	return opt
}

// jobCarrier lets a propagator use a job's headers.
type jobCarrier struct{ job *Job }

func (c jobCarrier) Get(key string) string { return c.job.Headers[key] }

func (c jobCarrier) Set(key, value string) { WithHeader(key, value)(c.job) }

func (c jobCarrier) Keys() []string {
	keys := make([]string, 0, len(c.job.Headers))
	for key := range c.job.Headers {
		keys = append(keys, key)
	}
	return keys
}
