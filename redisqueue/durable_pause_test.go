package redisqueue_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// A pause that a failover forgets would be none. One that no replica confirms holds on the master, and is told of.
func TestDurablePause(t *testing.T) {
	s, replica := onReplicated(t)
	copied := *s
	copied.addr = replica.Addr()
	copied.client = copied.connect(nil)
	q := s.queue(patient)
	require.NoError(t, q.Pause(context.Background(), "default"))
	require.Contains(t, copied.keyNames(), "paused")
	require.NoError(t, q.Resume(context.Background(), "default"))
	require.NotContains(t, copied.keyNames(), "paused")

	replica.Pause()
	defer replica.Resume()
	for range 2 {
		err := s.queue(hasty).Pause(context.Background(), "default")
		require.ErrorAs(t, err, new(*redisqueue.NotReplicatedError))
		require.NotErrorIs(t, err, worker.ErrRefused)
		require.Contains(t, s.keyNames(), "paused", "the master has it at once")
	}
	replica.Resume()
	require.NoError(t, q.Pause(context.Background(), "default"), "it was paused, and is confirmed now")
	require.Contains(t, copied.keyNames(), "paused")
}
