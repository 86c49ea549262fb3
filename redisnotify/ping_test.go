package redisnotify_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

func TestPing(t *testing.T) {
	s := onReal(t)
	ctx := context.Background()
	n, hasty := s.notifier(redisnotify.Config{}), s.notifier(redisnotify.Config{Timeout: 100 * time.Millisecond})
	require.NoError(t, n.Ping(ctx))
	s.real.Pause()
	err := hasty.Ping(ctx)
	s.real.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.real.Kill()
	require.ErrorContains(t, n.Ping(ctx), "ping redis")
}

// In a cluster a command without a key goes to any node.
func TestPingHasAKey(t *testing.T) {
	s := onMini(t)
	client := redistest.Watch(t, s.client)
	n, err := redisnotify.New(client, redisnotify.Config{})
	require.NoError(t, err)
	t.Cleanup(n.Close)
	require.NoError(t, n.Ping(context.Background()))
	require.True(t, client.Seen("EXISTS worker:topic:{:ping}:log"))
	require.False(t, client.Seen("PING"))
}
