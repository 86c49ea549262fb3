package worker

import (
	"context"
	"encoding/hex"
	"reflect"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const (
	noSDKPause = time.Second // between two tries to open a span while no SDK makes any
	maxLinks   = 128         // of a call's span: SDKs keep no more

	traceparentVersion0 = "00-"
	sampledFlag         = "-01"
)

// saveSpans are of calls to the status store, which concern any queue. They and those of settlements have no parent, as the
// pool's own context has no span.
var saveSpans = &spanKind{name: "save statuses", opts: []trace.SpanStartOption{
	trace.WithSpanKind(trace.SpanKindClient)}}

// start opens a span. While no SDK makes any it does nothing, which is looked at again each second: so one that is
// installed later is noticed, and till then a job pays for no span that nobody sees.
func (t *telemetry) start(ctx context.Context, kind *spanKind, more ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanContextFromContext(ctx)
	unseen := !parent.IsValid() || parent.IsRemote()
	if unseen && t.noSDKUntil.Load() != 0 && t.silent(time.Now()) { // who has an SDK need not pay for the clock
		return ctx, noSpan
	}
	opts := kind.opts
	if len(more) > 0 {
		opts = append(opts[:len(opts):len(opts)], more...)
	}
	started, span := t.open(ctx, kind.name, opts)
	if id := span.SpanContext().SpanID(); id.IsValid() && id != parent.SpanID() { // no SDK hands the parent on
		t.noSDKUntil.Store(0)
		return started, span
	}
	t.noSDKUntil.Store(time.Now().Add(noSDKPause).UnixNano())
	return ctx, noSpan
}

// silent reports whether no span is asked for at this time.
func (t *telemetry) silent(now time.Time) bool { return now.UnixNano() < t.noSDKUntil.Load() }

// open asks the SDK, whose samplers and processors may be the host's: when one panics there is no span.
func (t *telemetry) open(ctx context.Context, name string, opts []trace.SpanStartOption) (started context.Context, span trace.Span) {
	started, span = ctx, noSpan //nolint:wastedassign // they are the results of a panic
	defer handlePanic("start a span")
	return t.tracer.Start(ctx, name, opts...)
}

// end closes a span, which its processors may answer with a panic.
func end(span trace.Span) {
	defer handlePanic("end a span")
	span.End()
}

// noSpan records nothing.
var noSpan = trace.SpanFromContext(context.Background())

// sentTo is the queue of a call's jobs, empty if there are several.
func sentTo(jobs []*Job) string {
	for _, job := range jobs {
		if job.Queue != jobs[0].Queue {
			return ""
		}
	}
	return jobs[0].Queue
}

// sending is one producer's call under way.
type sending struct {
	span  trace.Span
	kinds *queueKinds // of the queue, see sentTo
	began time.Time   // zero where nobody measures
}

// startSend opens the producer's span of one call and writes its context into the jobs' headers.
func (t *telemetry) startSend(ctx context.Context, jobs []*Job) (context.Context, sending) {
	s := sending{kinds: t.kindsOf(sentTo(jobs))}
	ctx, span := t.start(ctx, s.kinds.send)
	s.span = span
	if span.IsRecording() {
		if len(jobs) == 1 {
			span.SetAttributes(attribute.String(attrMessageID, jobs[0].ID), attribute.String(attrJobType, jobs[0].Type))
		} else {
			span.SetAttributes(attribute.Int(attrBatchCount, len(jobs)))
		}
	}
	t.inject(ctx, jobs)
	if t.operation.Enabled(ctx) {
		s.began = time.Now()
	}
	return ctx, s
}

// finishSend closes it.
func (t *telemetry) finishSend(ctx context.Context, s sending, jobs []*Job, err error) {
	finishCall(s.span, err)
	if !s.began.IsZero() {
		t.operated(ctx, opSend, s.kinds, time.Since(s.began), err)
	}
	t.countSent(ctx, s.kinds, jobs, err)
}

// startProcess opens the consumer's span of one attempt: a new root, linked to what enqueued the job and to the attempt
// before; with Config.TraceParent the first attempt is a child of what enqueued it. The returned context carries the
// sender's baggage; without an SDK it carries the sender's span on to whom the handler calls.
func (t *telemetry) startProcess(ctx context.Context, a *attempt) (context.Context, trace.Span) {
	job, f := a.job, a.session.feed
	if len(job.Headers) == 0 && job.PreviousTrace == "" {
		if t.silent(a.started) { // the pool has left the host's span behind: there is no parent to look for
			return ctx, noSpan
		}
		ctx, span := t.start(ctx, f.kinds.process)
		describe(span, job)
		return ctx, span
	}
	sender := t.extract(ctx, job)
	kind := f.kinds.process
	if f.pool.cfg.TraceParent && job.Attempt <= 1 && job.PreviousTrace == "" {
		kind = f.kinds.child
	}
	sent, before := trace.SpanContextFromContext(sender), parseTraceparent(job.PreviousTrace)
	if !sent.IsSampled() && !before.IsValid() { // no sampler wants to follow such a link
		ctx, span := t.start(sender, kind)
		describe(span, job)
		if sent.IsValid() && span.IsRecording() {
			span.AddLink(trace.Link{SpanContext: sent})
		}
		return ctx, span
	}
	ctx, span := t.start(sender, kind, trace.WithLinks(linksTo(sent, before)...))
	describe(span, job)
	return ctx, span
}

// linksTo links to those spans that there are.
func linksTo(spans ...trace.SpanContext) []trace.Link {
	links := make([]trace.Link, 0, len(spans))
	for _, sc := range spans {
		if sc.IsValid() {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	return links
}

// withoutTrace leaves the host's span and baggage behind: the jobs are no part of what starts the pool.
func withoutTrace(ctx context.Context) context.Context {
	if baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.SpanContext{})
}

// describe says in a span which job it is about.
func describe(span trace.Span, job *Job) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String(attrMessageID, job.ID),
			attribute.String(attrJobType, job.Type), attribute.Int(attrJobAttempt, job.Attempt))
	}
}

// finishProcess closes it.
func (t *telemetry) finishProcess(span trace.Span, o *outcome) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String(attrJobOutcome, o.name))
		if o.err != nil {
			span.SetAttributes(attribute.String(attrErrorType, errorType(o.err)))
			recordError(span, o.err, o.name)
		}
	}
	end(span)
}

// startCall opens a span around a call to the queue or the status store that concerns n attempts, where Config.TraceCalls
// asks for it. It is linked to those that have a span.
func (t *telemetry) startCall(
	ctx context.Context, wanted bool, kind *spanKind, counted string, n int, of func(int) *attempt,
) (context.Context, trace.Span) {
	if !wanted {
		return ctx, noSpan
	}
	var links []trace.Link
	for i := range min(n, maxLinks) {
		if sc := of(i).spanContext(); sc.IsSampled() {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	ctx, span := t.start(ctx, kind, trace.WithLinks(links...))
	if span.IsRecording() && n > 1 {
		span.SetAttributes(attribute.Int(counted, n))
	}
	return ctx, span
}

// spanContext identifies the attempt's span; it is invalid before the handler starts.
func (a *attempt) spanContext() (sc trace.SpanContext) {
	a.mu.Lock()
	span := a.span
	a.mu.Unlock()
	if span == nil {
		return sc
	}
	return span.SpanContext()
}

// finishCall closes the span of a call.
func finishCall(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.SetAttributes(attribute.String(attrErrorType, errorType(err)))
		recordError(span, err, "call failed")
	}
	end(span)
}

// recordError adds the exception event of the conventions: of a panic with its stack.
func recordError(span trace.Span, err error, status string) {
	attrs := []attribute.KeyValue{
		attribute.String(attrExceptionType, reflect.TypeOf(hostError(err)).String()),
		attribute.String(attrExceptionText, cleanText(err.Error())),
	}
	if p, ok := err.(*PanicError); ok { //nolint:errorlint // the host's own errors are not asked again
		attrs = append(attrs, attribute.String(attrExceptionStack, string(p.Stack)))
	}
	span.AddEvent(eventException, trace.WithAttributes(attrs...))
	span.SetStatus(codes.Error, status)
}

// hostError returns the error that a handler returned, without what it says to the pool.
func hostError(err error) error {
	if said, ok := err.(*answer); ok { //nolint:errorlint // it is made here, and never wrapped
		err = said.err
	}
	if v, ok := err.(*verbError); ok && v.err != nil { //nolint:errorlint // only the outermost is ours
		err = v.err
	}
	return err
}

// traceparent is a span's place in its trace as the next attempt will find it: empty unless the trace is sampled.
//
// Source: W3C Trace Context, version 00.
func traceparent(span trace.Span) string {
	sc := span.SpanContext()
	if !sc.IsSampled() || !sc.IsValid() {
		return ""
	}
	return traceparentVersion0 + sc.TraceID().String() + "-" + sc.SpanID().String() + sampledFlag
}

// parseTraceparent reads what traceparent wrote. Anything else is no span.
func parseTraceparent(text string) trace.SpanContext {
	const length = len(traceparentVersion0) + 32 + 1 + 16 + len(sampledFlag)
	if len(text) != length || text[:3] != traceparentVersion0 || text[35] != '-' || text[52:] != sampledFlag {
		return trace.SpanContext{}
	}
	var traceID trace.TraceID
	var spanID trace.SpanID
	if _, err := hex.Decode(traceID[:], []byte(text[3:35])); err != nil {
		return trace.SpanContext{}
	}
	if _, err := hex.Decode(spanID[:], []byte(text[36:52])); err != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true,
	})
}
