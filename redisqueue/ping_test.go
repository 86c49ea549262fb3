package redisqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func TestPing(t *testing.T) {
	s := onReal(t)
	ctx := context.Background()
	q := s.queue(redisqueue.Config{Timeout: 100 * time.Millisecond})
	require.NoError(t, q.Ping(ctx))
	s.real.Pause()
	err := q.Ping(ctx)
	s.real.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, worker.ErrRefused)
	s.real.Kill()
	require.ErrorContains(t, q.Ping(ctx), "ping redis")
}

func TestPingOfAServerThatRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		s.mini.SetError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
		require.ErrorIs(t, q.Ping(context.Background()), worker.ErrRefused)
	})
}
