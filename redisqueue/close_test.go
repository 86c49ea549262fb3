package redisqueue_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func TestCloseGivesBackToTheHeadWithoutACrash(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		jobs := enqueue(t, q, newJobs(t, 1205)...)
		for range 3 {
			claim(t, c, 400)
		}
		s.ok("DEL", key("wake"))
		require.NoError(t, c.Close(context.Background()))
		require.NoError(t, c.Close(context.Background()))
		require.Equal(t, ids(jobs), s.list("pending"))
		require.Equal(t, []string{"jobs", "pending", "token", "wake"}, s.keyNames())
		_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1})
		require.ErrorIs(t, err, worker.ErrLeaseLost)
		require.ErrorIs(t, c.Settle(context.Background(), verdicts(worker.ActionComplete, jobs[0])...), worker.ErrLeaseLost)
		requireNotLost(t, c)
	})
}

// Close gives back what Redis says, not what this process remembers.
func TestCloseGivesBackWhatWasClaimedUnknowingly(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b")...)
		name := slices.Collect(maps.Keys(s.zset("workers")))[0]
		s.ok("LPOP", key("pending"))
		s.ok("HSET", key("inflight:"+name), "a", "1")
		require.NoError(t, c.Close(context.Background()))
		require.Equal(t, []string{"a", "b"}, s.list("pending"))
	})
}

func TestCloseGoesOnWhenItsContextIsCanceled(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, c, 1)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.NoError(t, c.Close(ctx))
		require.Equal(t, []string{"a"}, s.list("pending"))
	})
}

func TestCloseReturnsWhenRedisIsGone(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	cfg.Timeout = 2 * time.Second // also for what has to go well
	q := s.queue(cfg)
	c := open(t, q, 0)
	s.real.Kill()
	require.Error(t, c.Close(context.Background()))

	s.real.Restart()
	s.client = s.connect(nil)
	c = open(t, s.queue(cfg), 0)
	s.real.Pause()
	defer s.real.Resume()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.Error(t, c.Close(ctx))
	require.Less(t, time.Since(start), patience)
}

// One bad answer, as from a failover during a deploy, costs held jobs no crash.
func TestCloseTriesAgain(t *testing.T) {
	for name, ctx := range map[string]func() (context.Context, context.CancelFunc){
		"until its deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 10*time.Second)
		},
		"without a deadline": func() (context.Context, context.CancelFunc) {
			return context.WithCancel(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				c := open(t, q, 0)
				enqueue(t, q, named(t, "a")...)
				claim(t, c, 1)
				ctx, cancel := ctx()
				defer cancel()
				s.mini.SetError("READONLY You can't write against a read only replica.")
				time.AfterFunc(time.Second, func() { s.mini.SetError("") })
				start := time.Now()
				require.NoError(t, c.Close(ctx))
				require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond)
				require.Equal(t, []string{"a"}, s.list("pending"))
				require.Empty(t, s.hash("history"))
			})
		})
	}
}

func TestCloseGivesUpInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		for _, deadline := range []time.Duration{0, 500 * time.Millisecond, 20 * time.Second} {
			c := open(t, q, 0)
			ctx, want := context.Background(), 3*time.Second // the Queue's timeout
			if deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, deadline)
				defer cancel()
				want = deadline
			}
			s.mini.SetError("LOADING Redis is loading the dataset in memory")
			start := time.Now()
			require.ErrorContains(t, c.Close(ctx), "LOADING")
			require.InDelta(t, want, time.Since(start), float64(100*time.Millisecond))
			s.mini.SetError("")
		}
	})
}
