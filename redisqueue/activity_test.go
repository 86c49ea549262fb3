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

// rates returns the counts of a queue by minute.
func rates(t testing.TB, q *redisqueue.Queue) []worker.MinuteCounts {
	t.Helper()
	activity, err := q.Activity(context.Background(), "default")
	require.NoError(t, err)
	return activity.Minutes
}

func TestSettlementsAreCountedForAnHour(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		work := func(n int) {
			enqueue(t, q, newJobs(t, n)...)
			settle(t, c, worker.ActionComplete, claim(t, c, n)...)
			time.Sleep(3 * time.Second)
		}
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + time.Second)))
		work(5)
		work(3)
		require.Len(t, rates(t, q), 1)
		require.EqualValues(t, 8, rates(t, q)[0].Succeeded)
		first := rates(t, q)[0].Start
		time.Sleep(time.Minute)
		work(2)
		minutes := rates(t, q)
		require.Len(t, minutes, 2)
		require.EqualValues(t, 2, minutes[0].Succeeded)
		require.Equal(t, first.Add(time.Minute), minutes[0].Start)
		time.Sleep(59 * time.Minute)
		require.Len(t, rates(t, q), 1, "the first minute is an hour old")
		work(1)
		require.Len(t, s.hash("rates"), 2, "and gone")
		time.Sleep(2 * time.Hour)
		require.NotContains(t, s.keyNames(), "rates")
		require.Empty(t, rates(t, q))
	})
}

// A session that ends tells what it has settled since its last heartbeat; what the server refused is told later.
func TestSettlementsAreCountedAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, newJobs(t, 3)...)
		jobs := claim(t, c, 3)
		settle(t, c, worker.ActionComplete, jobs[:2]...)
		require.Empty(t, rates(t, q))
		s.mini.SetError("LOADING Redis is loading the dataset in memory")
		time.Sleep(3 * time.Second)
		s.mini.SetError("")
		require.Empty(t, rates(t, q))
		settle(t, c, worker.ActionBury, jobs[2])
		require.NoError(t, c.Close(context.Background()))
		require.Len(t, rates(t, q), 1)
		require.EqualValues(t, 2, rates(t, q)[0].Succeeded)
		require.EqualValues(t, 1, rates(t, q)[0].Failed)
	})
}

// What settled nothing is not counted, but for a verdict that is repeated as its first answer was lost.
func TestVerdictsThatAreIgnoredAreNotCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, newJobs(t, 6)...)
		jobs := claim(t, c, 6)
		settle(t, c, worker.ActionComplete, jobs[0])
		settle(t, c, worker.ActionBury, jobs[1])
		require.NoError(t, c.Settle(t.Context(), worker.Verdict{Job: jobs[1], Action: worker.ActionBury},
			worker.Verdict{Job: jobs[0], Action: worker.ActionComplete}, worker.Verdict{Job: jobs[2], Action: worker.ActionCancel},
			worker.Verdict{Job: jobs[3], Action: worker.ActionComplete}))
		settle(t, c, worker.ActionRetry, jobs[0], jobs[1], jobs[4])
		require.NoError(t, c.Close(context.Background()))
		require.Len(t, rates(t, q), 1)
		counts := rates(t, q)[0]
		counts.Start = time.Time{}
		require.Equal(t, worker.MinuteCounts{Succeeded: 2, Retried: 1, Failed: 1, Canceled: 1}, counts)
	})
}

// An idle worker has nothing to tell.
func TestIdleWorkersCountNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		open(t, q, 0)
		time.Sleep(5 * time.Minute)
		require.NotContains(t, s.keyNames(), "rates")
	})
}

// Garbage in what is only to be looked at keeps nobody from working.
func TestGarbageInWhatIsLookedAt(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		for _, name := range []string{"info", "rates"} {
			s.ok("SET", key(name), "garbage")
		}
		s.ok("SET", "worker:queues", "garbage")
		c, err := q.Consume(context.Background(), "default", worker.ConsumeOptions{Process: worker.Process{PID: 1}})
		require.NoError(t, err)
		enqueue(t, q, newJob(t))
		settle(t, c, worker.ActionComplete, claim(t, c, 1)...)
		time.Sleep(30 * time.Second)
		requireNotLost(t, c)
		require.Zero(t, book.count("cannot be renewed"))
		require.NoError(t, c.Close(context.Background()))
		s.ok("DEL", key("info"), key("rates"))
		minute := strconv.FormatInt(time.Now().Unix()/60, 10)
		s.ok("HSET", key("rates"), "", "1", "x", "1", minute+"x", "1", minute+"s", "abc", minute+"f", "4", "99999999999s", "5")
		require.Equal(t, []worker.MinuteCounts{{Start: time.Now().Truncate(time.Minute).UTC(), Failed: 4}}, rates(t, q))
	})
}
