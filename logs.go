package worker

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// outcomeLog says how loudly an outcome is told, and in what words.
func outcomeLog(o *outcome) (slog.Level, string) {
	switch o.name {
	case string(StateFailed):
		return slog.LevelError, "job failed"
	case string(StateRetrying):
		return slog.LevelWarn, "attempt failed, the job will run again"
	case "lost":
		return slog.LevelWarn, "job was taken away by the queue"
	}
	return slog.LevelDebug, "attempt ended"
}

func (p *Pool) logOutcome(a *attempt, o *outcome) {
	level, message := outcomeLog(o)
	ctx := a.logCtx()
	if !p.log.Enabled(ctx, level) {
		return
	}
	attrs := append(a.logAttrs(), "outcome", o.name)
	if o.err != nil {
		attrs = append(attrs, "error", o.err)
	}
	if v, ok := o.err.(*PanicError); ok { //nolint:errorlint // the host's own errors are not asked again
		attrs = append(attrs, "stack", string(v.Stack))
	}
	p.log.Log(ctx, level, message, attrs...)
}

// logOverruled adds to what was told of an attempt that its job did not end so.
func (p *Pool) logOverruled(a *attempt, current State) {
	if ctx := a.logCtx(); p.log.Enabled(ctx, slog.LevelInfo) {
		p.log.InfoContext(ctx, "the status store has something else of the job: the attempt's outcome doesn't count",
			append(a.logAttrs(), "outcome", a.outcome.name, "state", current)...)
	}
}

func (p *Pool) logStart(a *attempt) {
	if ctx := a.logCtx(); p.log.Enabled(ctx, slog.LevelDebug) {
		p.log.DebugContext(ctx, "attempt started", a.logAttrs()...)
	}
}

func (a *attempt) logCtx() context.Context {
	if a.spanCtx != nil {
		return a.spanCtx
	}
	return a.session.ctx
}

// logAttrs say which attempt a line is about, and in which trace it is.
func (a *attempt) logAttrs() []any {
	attrs := []any{"job", a.job.ID, "type", a.job.Type, "queue", a.job.Queue, "attempt", a.job.Attempt}
	return appendTrace(attrs, trace.SpanContextFromContext(a.logCtx()))
}

// appendTrace adds where in which trace something happened, in the words of OpenTelemetry's logs.
func appendTrace(attrs []any, sc trace.SpanContext) []any {
	if !sc.IsValid() {
		return attrs
	}
	return append(attrs, "trace_id", sc.TraceID().String(), "span_id", sc.SpanID().String())
}

// logEnqueued tells of jobs that were enqueued.
func (c *Client) logEnqueued(ctx context.Context, jobs []*Job, err error) {
	if !c.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	for _, job := range enqueued(jobs, err) {
		attrs := []any{"job", job.ID, "type", job.Type, "queue", job.Queue}
		c.log.DebugContext(ctx, "job enqueued", appendTrace(attrs, trace.SpanContextFromContext(ctx))...)
	}
}

// logAsked tells what a client did to a job that it knows by its id.
func (c *Client) logAsked(ctx context.Context, message string, job *Job, attrs ...any) {
	if c.log.Enabled(ctx, slog.LevelDebug) {
		attrs = append(attrs, "job", job.ID, "queue", job.Queue)
		c.log.DebugContext(ctx, message, appendTrace(attrs, trace.SpanContextFromContext(ctx))...)
	}
}
