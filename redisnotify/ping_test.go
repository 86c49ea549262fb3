package redisnotify_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/redisnotify"
)

func TestPing(t *testing.T) {
	s := onReal(t)
	ctx := context.Background()
	n := s.notifier(redisnotify.Config{Timeout: 100 * time.Millisecond})
	require.NoError(t, n.Ping(ctx))
	s.real.Pause()
	err := n.Ping(ctx)
	s.real.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.real.Kill()
	require.ErrorContains(t, n.Ping(ctx), "ping redis")
}
