package redisstatus_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisstatus"
)

func TestPing(t *testing.T) {
	s := onReal(t)
	ctx := context.Background()
	store, hasty := s.store(redisstatus.Config{}), s.store(redisstatus.Config{Timeout: 100 * time.Millisecond})
	require.NoError(t, store.Ping(ctx))
	s.real.Pause()
	err := hasty.Ping(ctx)
	s.real.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.real.Kill()
	require.ErrorContains(t, store.Ping(ctx), "ping redis")
}

// In a cluster a command without a key goes to any node.
func TestPingHasAKey(t *testing.T) {
	s := onMini(t)
	client := redistest.Watch(t, s.client)
	n, err := redisstatus.New(client, redisstatus.Config{})
	require.NoError(t, err)
	require.NoError(t, n.Ping(context.Background()))
	require.True(t, client.Seen("EXISTS worker:status:ping"))
	require.False(t, client.Seen("PING"))
}
