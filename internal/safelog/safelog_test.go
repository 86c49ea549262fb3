package safelog_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker/internal/safelog"
)

// hostile panics in the calls that it is told to.
type hostile struct {
	slog.Handler
	in string
}

func (h hostile) at(call string) {
	if h.in == call {
		panic("no space left on device")
	}
}

func (h hostile) Enabled(ctx context.Context, level slog.Level) bool {
	h.at("Enabled")
	return h.Handler.Enabled(ctx, level)
}

func (h hostile) Handle(ctx context.Context, line slog.Record) error {
	h.at("Handle")
	return h.Handler.Handle(ctx, line)
}

func (h hostile) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.at("WithAttrs")
	return hostile{h.Handler.WithAttrs(attrs), h.in}
}

func (h hostile) WithGroup(name string) slog.Handler {
	h.at("WithGroup")
	return hostile{h.Handler.WithGroup(name), h.in}
}

// Who logs never notices, and what can be written is.
func TestPanicsLoseALineAtMost(t *testing.T) {
	for in, want := range map[string]string{
		"":          "level=INFO msg=told queue=default g.n=1\n",
		"Enabled":   "",
		"Handle":    "",
		"WithAttrs": "level=INFO msg=told g.n=1\n",
		"WithGroup": "level=INFO msg=told queue=default n=1\n",
	} {
		t.Run(in, func(t *testing.T) {
			var out bytes.Buffer
			text := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})
			log := safelog.New(slog.New(hostile{text, in}))
			log.With("queue", "default").WithGroup("g").Info("told", "n", 1)
			assert.Equal(t, want, out.String())
		})
	}
}

func TestNilIsTheDefault(t *testing.T) {
	var out bytes.Buffer
	before := slog.Default()
	defer slog.SetDefault(before)
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	safelog.New(nil).Info("told")
	assert.Contains(t, out.String(), "told")
}
