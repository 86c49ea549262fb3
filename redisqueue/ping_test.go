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
	q, hasty := s.queue(redisqueue.Config{}), s.queue(redisqueue.Config{Timeout: 100 * time.Millisecond})
	require.NoError(t, q.Ping(ctx))
	s.real.Pause()
	err := hasty.Ping(ctx)
	s.real.Resume()
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, worker.ErrRefused)
	s.real.Kill()
	require.ErrorContains(t, q.Ping(ctx), "ping redis")
}

// In a cluster a command without a key goes to any node: a ping reads keys of the queues that it is about.
func TestPingAsksWhereTheQueuesAre(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		require.NoError(t, q.Ping(context.Background()))
		require.True(t, s.watched.Seen("EXISTS {worker:default}:workers"))
		for _, name := range []string{"a", "b"} {
			c, err := q.Consume(context.Background(), name, worker.ConsumeOptions{})
			require.NoError(t, err)
			require.NoError(t, q.Ping(context.Background()))
			require.True(t, s.watched.Seen("EXISTS {worker:"+name+"}:workers"))
			require.NoError(t, c.Close(context.Background()))
		}
		require.False(t, s.watched.Seen("PING"))
	})
}

// A queue that was removed is nobody's concern: its part of a cluster may be down, and there may be thousands.
func TestPingDoesNotAskForQueuesThatWereClosed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		consume := func(name string) worker.Consumer {
			c, err := q.Consume(context.Background(), name, worker.ConsumeOptions{})
			require.NoError(t, err)
			return c
		}
		a, b, second := consume("a"), consume("b"), consume("b")
		require.NoError(t, a.Close(context.Background()))
		require.NoError(t, b.Close(context.Background()))
		require.NoError(t, q.Ping(context.Background()))
		require.False(t, s.watched.Seen("EXISTS {worker:a}:workers"))
		require.True(t, s.watched.Seen("EXISTS {worker:b}:workers"), "another session is open on it")
		require.NoError(t, second.Close(context.Background()))
		require.NoError(t, second.Close(context.Background()))
		require.False(t, s.watched.Seen("EXISTS {worker:default}:workers"))
		require.NoError(t, q.Ping(context.Background()))
		require.True(t, s.watched.Seen("EXISTS {worker:default}:workers"))
	})
}

func TestPingOfAServerThatRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		s.mini.SetError("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
		require.ErrorIs(t, q.Ping(context.Background()), worker.ErrRefused)
	})
}
