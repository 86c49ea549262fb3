package redisqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// moveTo moves a waiting job to a time after now.
func moveTo(t testing.TB, q *redisqueue.Queue, id string, delay time.Duration) {
	t.Helper()
	info, err := q.Find(context.Background(), "default", id)
	require.NoError(t, err)
	before, err := q.Find(context.Background(), "default", id)
	require.NoError(t, err)
	info.Job.Delay, info.Job.RunAt = delay, time.Time{}
	_, err = q.Edit(context.Background(), before.Job, info.Job, worker.MoveToTime)
	require.NoError(t, err)
}

func TestAMovedJobLeavesAnEntryThatDoesNotCount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b", "c")...)
		suspect(t, s, "s", 2)
		for range 2 {
			moveTo(t, q, "b", time.Hour)
			moveTo(t, q, "s", time.Hour)
			accounted(t, s, "a", "b", "c", "s")
			require.Len(t, s.zset("scheduled"), 2)
			moveTo(t, q, "b", 0)
			moveTo(t, q, "s", 0)
			accounted(t, s, "a", "b", "c", "s")
		}
		require.Equal(t, map[string]string{"b": "1", "s": "1"}, s.hash("void"), "it was in the list but once")
		got := ids(claim(t, c, 9))
		got = append(got, ids(claim(t, c, 9))...)
		require.ElementsMatch(t, []string{"s", "a", "b", "c"}, got)
		require.Equal(t, "s", got[0], "suspects stay such")
		require.NotContains(t, s.keyNames(), "void")
		accounted(t, s, "a", "b", "c", "s")
	})
}

// A moved job that is canceled leaves the schedule, and its entry in line still doesn't count.
func TestAMovedJobIsCanceled(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b")...)
		moveTo(t, q, "a", time.Hour)
		mark(t, q, "a")
		remove(t, q, "a")
		accounted(t, s, "a", "b")
		n, err := q.Forget(context.Background(), "default", "a")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		enqueue(t, q, named(t, "a")...)
		accounted(t, s, "a", "b")
		require.Equal(t, []string{"b", "a"}, ids(claim(t, c, 9)))
	})
}

// A worker that waits for a job hears of one that is due sooner now.
func TestAMovedJobWakesAWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, newJob(t, worker.WithID("a"), worker.After(time.Hour)))
		claim(t, c, 1)
		for _, delay := range []time.Duration{0, 500 * time.Millisecond} {
			start := time.Now()
			claimed := make(chan []*worker.Job, 1)
			go func() { claimed <- claimN(t, c, 1) }()
			time.Sleep(time.Second) // it waits
			moveTo(t, q, "a", delay)
			job := receive(t, claimed)[0]
			require.InDelta(t, time.Second+delay, time.Since(start), float64(50*time.Millisecond))
			require.NoError(t, c.Settle(context.Background(), worker.Verdict{Job: job, Action: worker.ActionSnooze, Delay: time.Hour}))
		}
	})
}

// What another version of the library wrote in its own way would lose what this one doesn't know.
func TestAJobOfAnotherVersionIsNotEdited(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		s.ok("HSET", key("jobs"), "a", `{"v":1,"i":"a","t":"test:note","e":1763930000000,"new":1}`+"\n{}")
		s.ok("RPUSH", key("pending"), "a")
		info, err := q.Find(context.Background(), "default", "a")
		require.NoError(t, err)
		_, err = q.Edit(context.Background(), info.Job, info.Job, worker.MoveNone)
		require.ErrorIs(t, err, worker.ErrJobChanged)
		require.Contains(t, s.hash("jobs")["a"], "new")
	})
}

func TestForgetDropsAllThatIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ctx := context.Background()
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		jobs := enqueue(t, q, newJobs(t, 600)...)
		for range 2 {
			for _, job := range claim(t, c, 500) {
				require.NoError(t, c.(worker.Checkpointer).Checkpoint(ctx, job, []byte("1")))
				settle(t, c, worker.ActionBury, job)
			}
		}
		n, err := q.Forget(ctx, "default", ids(jobs)...)
		require.NoError(t, err)
		require.Equal(t, 600, n)
		for _, name := range []string{"jobs", "history", "checkpoints", "dead"} {
			require.NotContains(t, s.keyNames(), name)
		}
	})
}
