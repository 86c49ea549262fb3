package worker

import (
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const (
	maxKinds = 1_000 // queues of which what producers say is kept ready
	maxSets  = 4_096 // attribute sets of errors and rare outcomes that are kept
)

// spanKind is what the spans of one operation on one queue have in common, made once so that a span costs no options.
type spanKind struct {
	name string
	opts []trace.SpanStartOption
}

// newSpanKind makes one. No queue stands for several at once.
func newSpanKind(operation, queue string, kind trace.SpanKind, more ...trace.SpanStartOption) *spanKind {
	name, attrs := operation, []attribute.KeyValue{attribute.String(attrSystem, systemName),
		attribute.String(attrOperation, operation), attribute.String(attrOpType, operation)}
	if queue != "" {
		name, attrs = operation+" "+queue, append(attrs, attribute.String(attrDestination, queue))
	}
	return &spanKind{name: name, opts: append(more, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))}
}

// options are the attributes of a measurement, as each kind of instrument takes them.
type options struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// setKey is what an attribute set is made of. Empty parts are left out.
type setKey struct {
	operation, queue, jobType, outcome, errorType string

	call bool // a measurement of a call, which has the operation's type, too
}

func (k setKey) options() *options {
	set := metric.WithAttributeSet(attribute.NewSet(k.attributes()...))
	return &options{add: []metric.AddOption{set}, record: []metric.RecordOption{set}}
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
	if k.call {
		add(attrOpType, k.operation)
	}
	add(attrDestination, k.queue)
	add(attrJobType, k.jobType)
	add(attrJobOutcome, k.outcome)
	add(attrErrorType, k.errorType)
	return attrs
}

// queueKinds are what is told of one queue again and again, made once.
type queueKinds struct {
	queue string // empty for calls that concern several

	send, process, child, settle *spanKind

	plain, sent, consumed *options            // measurements of the queue, of jobs enqueued and claimed
	calls                 map[string]*options // of calls that succeed, by operation
}

func newQueueKinds(queue string) *queueKinds {
	k := &queueKinds{
		queue:    queue,
		send:     newSpanKind(opSend, queue, trace.SpanKindProducer),
		process:  newSpanKind(opProcess, queue, trace.SpanKindConsumer, trace.WithNewRoot()),
		child:    newSpanKind(opProcess, queue, trace.SpanKindConsumer),
		settle:   newSpanKind(opSettle, queue, trace.SpanKindClient),
		plain:    setKey{queue: queue}.options(),
		sent:     setKey{operation: opSend, queue: queue}.options(),
		consumed: setKey{operation: opReceive, queue: queue}.options(),
		calls:    make(map[string]*options),
	}
	for _, operation := range []string{opSend, opReceive, opSettle} {
		k.calls[operation] = setKey{operation: operation, queue: queue, call: true}.options()
	}
	return k
}

// unknownType is what telemetry calls types without a handler, so that there are no more types than the registry has.
const unknownType = "unknown"

// typeKinds are what is told of one type of job on one queue.
type typeKinds struct {
	name                      string
	plain, succeeded, success *options // of attempts, and of those that succeed: counted and measured
}

func newTypeKinds(queue, jobType string) *typeKinds {
	key := setKey{queue: queue, jobType: jobType}
	k := &typeKinds{name: jobType, plain: key.options()}
	key.outcome = string(StateSucceeded)
	k.succeeded = key.options()
	key.operation = opProcess
	k.success = key.options()
	return k
}

// kindsOf returns what is told of a producer's queue.
func (t *telemetry) kindsOf(queue string) *queueKinds {
	t.mu.RLock()
	kinds := t.kinds[queue]
	t.mu.RUnlock()
	if kinds != nil {
		return kinds
	}
	kinds = newQueueKinds(queue)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kinds) >= maxKinds { // a producer may invent queues
		clear(t.kinds)
	}
	t.kinds[queue] = kinds
	return kinds
}

// set returns the attributes of a measurement that no kind has ready.
func (t *telemetry) set(key setKey) *options {
	t.mu.RLock()
	opt := t.sets[key]
	t.mu.RUnlock()
	if opt != nil {
		return opt
	}
	opt = key.options()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.sets) >= maxSets {
		clear(t.sets)
	}
	t.sets[key] = opt
	return opt
}
