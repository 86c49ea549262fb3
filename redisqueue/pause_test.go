package redisqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// A worker that waits on a paused queue looks once a second, however much is enqueued meanwhile, and starts within a
// second after the pause.
func TestAWorkerOfAPausedQueueLooksOnceASecond(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		require.NoError(t, q.Pause(context.Background(), "default"))
		c := open(t, q, 0)
		looks := make(chan int, 1)
		stop := make(chan struct{})
		go func() {
			n := 0
			for {
				jobs, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1, Wait: time.Second})
				if n++; len(jobs) > 0 || err != nil {
					break
				}
			}
			looks <- n
			close(stop)
		}()
		enqueued := 0
		for range 100 {
			time.Sleep(100 * time.Millisecond)
			enqueue(t, q, named(t, string(rune('a'+enqueued%26))+time.Duration(enqueued).String())...)
			enqueued++
		}
		resumed := time.Now()
		require.NoError(t, q.Resume(context.Background(), "default"))
		require.LessOrEqual(t, <-looks, 12)
		<-stop
		require.LessOrEqual(t, time.Since(resumed), time.Second)
		require.NotContains(t, s.keyNames(), "paused")
	})
}

// The pause is the queue's: a session that is opened later, by another Queue, knows it.
func TestAPauseOutlivesWorkers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		enqueue(t, q, named(t, "a")...)
		require.NoError(t, q.Pause(context.Background(), "default"))
		require.NoError(t, q.Pause(context.Background(), "default"))
		c := open(t, s.queue(redisqueue.Config{}), 0)
		require.Empty(t, claim(t, c, 1))
		require.NoError(t, s.queue(redisqueue.Config{}).Resume(context.Background(), "default"))
		require.Len(t, claim(t, c, 1), 1)
		require.NoError(t, q.Resume(context.Background(), "default"))
	})
}

// Whatever somebody wrote in the pause's place keeps workers from claiming until Resume.
func TestGarbageInThePlaceOfAPauseIsResumed(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		enqueue(t, q, named(t, "a")...)
		s.ok("SET", key("paused"), "1")
		c := open(t, q, 0)
		require.Empty(t, claim(t, c, 1))
		require.NoError(t, q.Resume(context.Background(), "default"))
		require.Len(t, claim(t, c, 1), 1)
	})
}

func TestAPauseEndsAtMaxmemory(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	c := open(t, q, 0)
	enqueue(t, q, named(t, "a", "b")...)
	s.ok("CONFIG", "SET", "maxmemory", "1")
	for range 2 {
		require.NoError(t, q.Pause(context.Background(), "default"))
		require.Empty(t, claim(t, c, 1))
		require.NoError(t, q.Resume(context.Background(), "default"))
		require.NoError(t, q.Resume(context.Background(), "default"), "one that had ended")
		require.Len(t, claim(t, c, 1), 1)
	}
}

func TestPauseRefusesABadName(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		require.ErrorContains(t, q.Pause(context.Background(), "a b"), "contains")
		require.ErrorContains(t, q.Resume(context.Background(), ""), "queue")
	})
}
