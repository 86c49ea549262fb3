package worker

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
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

// maxSets is how many attribute sets are kept: a producer may invent job types.
const maxSets = 4_096

// telemetry is all that producers and pools tell OpenTelemetry. What takes time is a pair: start returns a context, finish
// takes what came of it.
type telemetry struct {
	tracer     trace.Tracer
	meter      metric.Meter
	propagator propagation.TextMapPropagator
	noSDKUntil atomic.Int64 // no spans are asked for until then, in Unix nanoseconds
	instruments

	mu    sync.RWMutex
	sends map[string]*spanKind // by queue
	sets  map[setKey]*options  // prebuilt, so that a job costs no attribute set
}

// setKey is what an attribute set is made of. Empty parts are left out.
type setKey struct{ operation, queue, jobType, outcome, errorType string }

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
		tracer: tp.Tracer(scopeName), meter: mp.Meter(scopeName), propagator: pr,
		sends: make(map[string]*spanKind), sets: make(map[setKey]*options),
	}
	return t, t.create(t.meter)
}

// options are the attributes of a measurement, as each kind of instrument takes them.
type options struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// set returns the attributes of a measurement.
func (t *telemetry) set(key setKey) *options {
	t.mu.RLock()
	opt := t.sets[key]
	t.mu.RUnlock()
	if opt != nil {
		return opt
	}
	attrs := metric.WithAttributeSet(attribute.NewSet(key.attributes()...))
	opt = &options{add: []metric.AddOption{attrs}, record: []metric.RecordOption{attrs}}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sets) >= maxSets {
		clear(t.sets)
	}
	t.sets[key] = opt
	return opt
}

func (k setKey) attributes() []attribute.KeyValue {
	var attrs []attribute.KeyValue
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, attribute.String(key, value))
		}
	}
	if k.operation != "" {
		add(attrSystem, systemName)
		add(attrOperation, k.operation)
	}
	add(attrDestination, k.queue)
	add(attrJobType, k.jobType)
	add(attrJobOutcome, k.outcome)
	add(attrErrorType, k.errorType)
	return attrs
}
