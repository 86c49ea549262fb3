package redisqueue_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

var someTick = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTicksAreKeptInOneHash(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ctx := context.Background()
		q := s.queue(redisqueue.Config{})
		_, _, err := q.LastTick(ctx, "default", "new", someTick)
		require.NoError(t, err)
		for range 2 {
			_, err = q.EnqueueTick(ctx, "report", someTick.Add(1500*time.Millisecond), newJob(t, worker.WithID("report@x")))
			require.NoError(t, err)
		}
		require.Equal(t, map[string]string{"new": "1577836800000", "report": "1577836801500"}, s.hash("ticks"))
		require.Equal(t, []string{"jobs", "pending", "ticks", "wake"}, s.keyNames())
		require.Equal(t, []string{"report@x"}, s.list("pending"))
	})
}

// Whatever else stands in the hash, or stood there before Redis's clock was set back: a schedule begins anew.
func TestGarbageIsNoTick(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ctx := context.Background()
		q := s.queue(redisqueue.Config{})
		ahead := strconv.FormatInt(time.Now().Add(26*time.Hour).UnixMilli(), 10)
		for _, garbage := range []string{"", "x", "0", "-1", "1e3", "nan", "inf", "99999999999999999999", ahead} {
			s.ok("HSET", key("ticks"), "s", garbage)
			enqueued, err := q.EnqueueTick(ctx, "s", someTick, newJob(t))
			require.NoError(t, err, garbage)
			require.True(t, enqueued, garbage)
			s.ok("HSET", key("ticks"), "s", garbage)
			last, _, err := q.LastTick(ctx, "default", "s", someTick)
			require.NoError(t, err, garbage)
			require.Equal(t, someTick, last, garbage)
		}
	})
}

func TestWrongTypesAreFoundBeforeATickIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		for _, name := range []string{"pending", "jobs", "history", "scheduled", "dead", "wake", "ticks"} {
			s.ok("FLUSHALL")
			s.ok("SET", key(name), "x")
			_, err := q.EnqueueTick(context.Background(), "s", someTick, newJob(t))
			require.ErrorContains(t, err, "WRONGTYPE")
			require.Equal(t, []string{name}, s.keyNames())
		}
		_, _, err := q.LastTick(context.Background(), "default", "s", someTick)
		require.ErrorContains(t, err, "WRONGTYPE")
	})
}

func TestTicksAreRefusedWhenMemoryIsOut(t *testing.T) {
	s := onReal(t)
	ctx := context.Background()
	q := s.queue(redisqueue.Config{})
	_, _, err := q.LastTick(ctx, "default", "s", someTick)
	require.NoError(t, err)
	s.ok("CONFIG", "SET", "maxmemory", "1")
	before := s.keyNames()
	enqueued, err := q.EnqueueTick(ctx, "s", someTick.Add(time.Second), newJob(t))
	require.ErrorIs(t, err, worker.ErrRefused)
	require.ErrorContains(t, err, "OOM")
	require.False(t, enqueued)
	require.Equal(t, before, s.keyNames())
	last, _, err := q.LastTick(ctx, "default", "s", someTick)
	require.NoError(t, err)
	require.Equal(t, someTick, last)
	_, _, err = q.LastTick(ctx, "default", "new", someTick)
	require.NoError(t, err, "a schedule can begin all the same")
}

// A tick that no replica confirmed is there; asking again says so.
func TestTicksWaitForReplicas(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{WaitReplicas: 1, WaitTimeout: 10 * time.Millisecond})
		for range 2 {
			_, err := q.EnqueueTick(context.Background(), "s", someTick, newJob(t))
			var unsure *redisqueue.NotReplicatedError
			require.ErrorAs(t, err, &unsure)
		}
		require.Len(t, s.list("pending"), 1)
	})
}

func TestTicksThatCannotBe(t *testing.T) {
	s := onMini(t)
	ctx := context.Background()
	q := s.queue(redisqueue.Config{})
	_, err := q.EnqueueTick(ctx, "s", someTick, &worker.Job{ID: "x", Queue: "default"})
	require.ErrorIs(t, err, worker.ErrRefused)
	_, err = q.EnqueueTick(ctx, "", someTick, newJob(t))
	require.ErrorIs(t, err, worker.ErrRefused)
	_, _, err = q.LastTick(ctx, "{}", "s", someTick)
	require.Error(t, err)
	_, _, err = q.LastTick(ctx, "default", "", someTick)
	require.Error(t, err)
	require.Empty(t, s.keyNames())
}
