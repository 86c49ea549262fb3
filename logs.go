package worker

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// sheltered is a host's log handler. When it panics a line is lost, and nothing else.
type sheltered struct{ slog.Handler }

func (h sheltered) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return h.Handler.Enabled(ctx, level)
}

func (h sheltered) Handle(ctx context.Context, line slog.Record) (err error) {
	defer catch(&err)
	return h.Handler.Handle(ctx, line)
}

func (h sheltered) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sheltered{h.Handler.WithAttrs(attrs)}
}

func (h sheltered) WithGroup(name string) slog.Handler { return sheltered{h.Handler.WithGroup(name)} }

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
