package redisqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// suspect makes a job with crashes wait among the suspects.
func suspect(t testing.TB, s *server, id string, crashes int) {
	t.Helper()
	body, err := worker.EncodeJob(newJob(t, worker.WithID(id)))
	require.NoError(t, err)
	s.ok("HSET", key("jobs"), id, string(body))
	s.ok("HSET", key("history"), id, fmt.Sprintf("1 %d", crashes))
	s.ok("RPUSH", key("suspects"), id)
}

// A suspect comes before everything else; one worker holds at most one.
func TestSuspectsComeFirstOneAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c, other := open(t, q, 5), open(t, q, 5)
		enqueue(t, q, named(t, "a", "b")...)
		for _, id := range []string{"s1", "s2", "s3"} {
			suspect(t, s, id, 2)
		}
		got := claim(t, c, 2)
		require.Equal(t, []string{"s1", "a"}, ids(got))
		require.Equal(t, 2, got[0].Crashes)
		require.Equal(t, 2, got[0].Attempt)
		require.Len(t, s.list("wake"), 1, "another worker may take a suspect")
		require.Equal(t, []string{"b"}, ids(claim(t, c, 9)), "s1 is held")
		require.Equal(t, []string{"s2"}, ids(claim(t, other, 9)))
		settle(t, c, worker.ActionComplete, got[0])
		require.Equal(t, []string{"s3"}, ids(claim(t, c, 9)))
	})
}

func TestASuspectThatIsLeftIsForAnotherWorker(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		c := open(t, s.queue(redisqueue.Config{}), 5)
		suspect(t, s, "s1", 2)
		suspect(t, s, "s2", 2)
		require.Len(t, claim(t, c, 1), 1)
		require.Len(t, s.list("wake"), 1)
		s.ok("DEL", key("wake"))
		require.Empty(t, claim(t, c, 1))
		require.Empty(t, s.list("wake"), "this one must not wake itself over and over")
	})
}

func TestASuspectWithItsLastCrashIsClaimedAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c, other := open(t, q, 3), open(t, q, 3)
		enqueue(t, q, named(t, "a")...)
		suspect(t, s, "s1", 2)
		s.ok("DEL", key("wake"))
		require.Equal(t, []string{"s1"}, ids(claim(t, c, 9)))
		require.Len(t, s.list("wake"), 1, "the rest is for others")
		require.Equal(t, []string{"a"}, ids(claim(t, other, 9)))
	})
}

// What is handed out in order not to be run is no danger: it neither waits for a slot nor takes one.
func TestRejectedSuspectsComeAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 3)
		suspect(t, s, "runs", 2)
		require.Equal(t, []string{"runs"}, ids(claim(t, c, 9)))
		suspect(t, s, "loop", 3)
		suspect(t, s, "canceled", 2)
		suspect(t, s, "waits", 2)
		_, err := q.MarkCanceled(context.Background(), "default", "canceled")
		require.NoError(t, err)
		enqueue(t, q, named(t, "a")...)
		got := claim(t, c, 9)
		require.Equal(t, []string{"loop", "canceled", "a"}, ids(got))
		require.ErrorIs(t, got[0].Reject, worker.ErrCrashLoop)
		require.ErrorIs(t, got[1].Reject, worker.ErrCanceled)
		require.Nil(t, got[2].Reject)
		require.Equal(t, []string{"waits"}, s.list("suspects"))
	})
}

// The threshold follows MaxCrashes: a job that has one crash left is a suspect.
func TestWhoIsASuspect(t *testing.T) {
	for maxCrashes, threshold := range map[int]int{1: 1, 2: 1, 3: 2, 5: 2} {
		inBubble(t, func(t *testing.T, s *server) {
			q := s.queue(redisqueue.Config{})
			c := open(t, q, maxCrashes)
			for crashes := range 6 {
				suspect(t, s, strconv.Itoa(crashes), crashes)
			}
			s.ok("RENAME", key("suspects"), key("pending"))
			for range 6 {
				job := claim(t, c, 1)[0]
				require.Equal(t, job.Crashes >= maxCrashes, errors.Is(job.Reject, worker.ErrCrashLoop))
				settle(t, c, worker.ActionRelease, job)
				in := "pending"
				if job.Crashes >= threshold {
					in = "suspects"
				}
				require.Equal(t, job.ID, s.list(in)[0], "max %d, crashes %d", maxCrashes, job.Crashes)
				s.ok("LPOP", key(in))
			}
		})
	}
}

func TestADueSuspectGoesToTheSuspects(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 5)
		suspect(t, s, "s", 2)
		enqueue(t, q, named(t, "a")...)
		got := claim(t, c, 1)
		settle(t, c, worker.ActionRetry, got...)
		time.Sleep(time.Millisecond)
		got = claim(t, c, 2)
		require.Equal(t, []string{"s", "a"}, ids(got))
		require.Equal(t, 3, got[0].Attempt)
	})
}
