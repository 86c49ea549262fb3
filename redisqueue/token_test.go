package redisqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func TestTokensExceedCounterClockAndMinToken(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		ctx := context.Background()
		draw := func(least int64) int64 {
			enqueue(t, q, newJob(t))
			jobs, err := c.Claim(ctx, worker.ClaimOptions{Limit: 1, MinToken: least})
			require.NoError(t, err)
			require.Len(t, jobs, 1)
			return jobs[0].Token
		}
		byClock := draw(0)
		require.GreaterOrEqual(t, byClock, time.Now().Add(-time.Minute).UnixMilli()*250)
		high := byClock + 1e12
		require.Equal(t, high+1, draw(high), "the worker's own highest")
		require.Equal(t, high+2, draw(0), "the counter")
		s.ok("DEL", key("token"))
		require.Equal(t, high+3, draw(high+2), "the counter was lost")
		mark, err := q.MarkCanceled(ctx, "default", "nobody")
		require.NoError(t, err)
		require.Equal(t, high+4, mark.Token)
		_, token, err := q.DrawToken(ctx, "default", "nobody")
		require.NoError(t, err)
		require.Equal(t, high+5, token)
		require.Equal(t, high+6, draw(0), "a drawn token is used up")
	})
}

// Two masters at once, after a failover, hand out what falls due in one millisecond, mostly under different tokens. Those of
// one master rise, whoever draws them.
func TestFirstTokensOfAMillisecondDiffer(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		const masters, workers = 40, 20
		begun := make(map[int64]bool)
		for range masters {
			s.ok("FLUSHALL") // another one, of which nobody has a token
			q := s.queue(redisqueue.Config{})
			var last int64
			for range workers {
				c := open(t, q, 0)
				enqueue(t, q, newJobs(t, 2)...)
				for _, job := range claim(t, c, 2) {
					require.Greater(t, job.Token, last)
					if last == 0 {
						begun[job.Token] = true
						require.Equal(t, time.Now().UnixMilli(), job.Token/250)
					}
					last = job.Token
				}
			}
		}
		require.Greater(t, len(begun), masters/2, "all but a few of forty in two hundred")
	})
}
