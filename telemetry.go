package worker

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Names of what this library tells OpenTelemetry, as docs/telemetry.md lists them. Those that begin with "messaging",
// "error" and "exception" are of the semantic conventions, of which those for messaging are still in development.
//
// Source: OpenTelemetry semantic conventions 1.43, messaging spans and messaging client metrics.
const (
	scopeName = "github.com/real-staging-ai/go-worker"
	schemaURL = "https://opentelemetry.io/schemas/1.43.0" // of the conventions that the names follow

	metricDuration  = "messaging.process.duration"
	metricSent      = "messaging.client.sent.messages"
	metricConsumed  = "messaging.client.consumed.messages"
	metricOperation = "messaging.client.operation.duration"
	metricFinished  = "worker.job.finished"
	metricRetries   = "worker.job.retries"
	metricWait      = "worker.job.wait.duration"
	metricActive    = "worker.pool.active"
	metricSlots     = "worker.pool.slots"
	metricClaimSize = "worker.claim.size"
	metricRenewals  = "worker.lease.renewals"
	metricLeaseLost = "worker.lease.lost"
	metricRecovered = "worker.jobs.recovered"
	metricAbandoned = "worker.jobs.abandoned"
	metricDepth     = "worker.queue.depth"
	metricOldestAge = "worker.queue.oldest.age"
	metricWorkers   = "worker.queue.workers"
	metricPaused    = "worker.queue.paused"
	metricStatusLag = "worker.status.lag"
	metricDropped   = "worker.notify.dropped"

	attrSystem      = "messaging.system"
	attrDestination = "messaging.destination.name"
	attrOperation   = "messaging.operation.name"
	attrOpType      = "messaging.operation.type"
	attrMessageID   = "messaging.message.id"
	attrBatchCount  = "messaging.batch.message_count"
	attrErrorType   = "error.type"
	attrJobType     = "worker.job.type"
	attrJobAttempt  = "worker.job.attempt"
	attrJobOutcome  = "worker.job.outcome"
	attrQueueState  = "worker.queue.state"
	attrRenewal     = "worker.lease.outcome"
	attrStatuses    = "worker.status.count"

	eventException     = "exception"
	attrExceptionType  = "exception.type"
	attrExceptionText  = "exception.message"
	attrExceptionStack = "exception.stacktrace"

	opSend     = "send"
	opReceive  = "receive"
	opProcess  = "process"
	opSettle   = "settle"
	systemName = "redis"
)

// telemetry is all that producers and pools tell OpenTelemetry. What takes time is a pair: start returns a context, finish
// takes what came of it.
type telemetry struct {
	tracer     trace.Tracer
	meter      metric.Meter
	propagator propagation.TextMapPropagator
	noSDKUntil atomic.Int64 // no spans are asked for until then, in Unix nanoseconds
	instruments

	mu    sync.RWMutex
	kinds map[string]*queueKinds // by queue, of producers
	sets  map[setKey]*options
}

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
	t := &telemetry{
		tracer:     tp.Tracer(scopeName, trace.WithInstrumentationVersion(moduleVersion()), trace.WithSchemaURL(schemaURL)),
		meter:      mp.Meter(scopeName, metric.WithInstrumentationVersion(moduleVersion()), metric.WithSchemaURL(schemaURL)),
		propagator: pr, kinds: make(map[string]*queueKinds), sets: make(map[setKey]*options),
	}
	return t, t.create(t.meter)
}
