package sse

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
)

func TestSnapshotsForgetTopicsWithoutViewers(t *testing.T) {
	ended := make(chan error, 1)
	s := &snapshots{timeout: time.Hour, log: slog.New(slog.DiscardHandler),
		read: func(ctx context.Context, _ string) ([]worker.Status, error) {
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		}}
	both, one := []string{"a", "b"}, []string{"a"}
	s.join(both)
	s.join(one)
	s.ask(t.Context(), "a", 0)
	s.leave(both)
	assert.Len(t, s.topics, 1)
	assert.Empty(t, ended)
	s.leave(one)
	assert.Empty(t, s.topics)
	assert.ErrorIs(t, <-ended, context.Canceled)
}
