package redisstatus_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/redisstatus"
)

func TestPing(t *testing.T) {
	s := onReal(t)
	ctx := context.Background()
	store := s.store(redisstatus.Config{Timeout: 100 * time.Millisecond})
	require.NoError(t, store.Ping(ctx))
	s.real.Pause()
	err := store.Ping(ctx)
	s.real.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	s.real.Kill()
	require.ErrorContains(t, store.Ping(ctx), "ping redis")
}
