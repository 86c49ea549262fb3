// Package safelog keeps a host's log handler from harming who logs: when it panics a line is lost, and nothing else.
package safelog

import (
	"context"
	"log/slog"
)

// New returns a logger that writes where log does, which is slog.Default() for nil.
func New(log *slog.Logger) *slog.Logger {
	if log == nil {
		log = slog.Default()
	}
	return slog.New(handler{log.Handler()})
}

// handler is a host's handler.
type handler struct{ slog.Handler }

func (h handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return h.Handler.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, line slog.Record) error {
	defer func() { _ = recover() }()
	return h.Handler.Handle(ctx, line)
}

func (h handler) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	defer func() {
		if recover() != nil {
			with = h
		}
	}()
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) (with slog.Handler) {
	defer func() {
		if recover() != nil {
			with = h
		}
	}()
	return handler{h.Handler.WithGroup(name)}
}
