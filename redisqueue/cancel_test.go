package redisqueue_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func mark(t testing.TB, q *redisqueue.Queue, id string) worker.CancelMark {
	t.Helper()
	m, err := q.MarkCanceled(context.Background(), "default", id)
	require.NoError(t, err)
	require.Positive(t, m.Token)
	return m
}

func remove(t testing.TB, q *redisqueue.Queue, id string) worker.Place {
	t.Helper()
	place, err := q.RemoveCanceled(context.Background(), "default", id)
	require.NoError(t, err)
	return place
}

func TestCancelOfAWaitingJob(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		open(t, q, 0)
		enqueue(t, q, named(t, "a", "b", "c")...)
		m := mark(t, q, "b")
		require.Equal(t, worker.PlaceWaiting, m.Place)
		require.Equal(t, "test:note", m.Job.Type)
		require.Empty(t, m.State)
		accounted(t, s, "a", "b", "c")
		require.Equal(t, worker.PlaceWaiting, remove(t, q, "b"))
		accounted(t, s, "a", "b", "c")
		require.Contains(t, s.zset("dead"), "b")
		require.Equal(t, "0 0 c", s.hash("history")["b"])
		require.NotContains(t, s.keyNames(), "cancels")
		require.Equal(t, worker.PlaceDead, remove(t, q, "b"))
		m = mark(t, q, "b")
		require.Equal(t, worker.PlaceDead, m.Place)
		require.Equal(t, worker.StateCanceled, m.State)
		require.NotContains(t, s.keyNames(), "cancels")
		c := open(t, q, 0)
		require.Equal(t, []string{"a", "c"}, ids(claim(t, c, 9)))
		require.NotContains(t, s.keyNames(), "void")
	})
}

// An entry that no longer counts is used up by the claim that comes to it, also when others wait behind.
func TestAVoidEntryIsUsedUpOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b", "c")...)
		mark(t, q, "a")
		remove(t, q, "a")
		require.Equal(t, []string{"b"}, ids(claim(t, c, 1)))
		require.NotContains(t, s.keyNames(), "void")
		require.NoError(t, q.Reopen(context.Background(), named(t, "a")[0]))
		require.Equal(t, []string{"c", "a"}, ids(claim(t, c, 2)))
	})
}

// When both lists are empty no entry can be left that does not count, whatever void says.
func TestStrayVoidCountsAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		s.ok("HSET", key("void"), "a", "3")
		require.Empty(t, claim(t, c, 1))
		enqueue(t, q, named(t, "a")...)
		require.Equal(t, []string{"a"}, ids(claim(t, c, 1)))
	})
}

func TestCancelOfAScheduledJob(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		enqueue(t, q, newJob(t, worker.WithID("a"), worker.After(time.Hour)))
		enqueue(t, q, newJob(t, worker.WithID("b"), worker.After(time.Hour)))
		s.ok("DEL", key("wake"))
		require.Equal(t, worker.PlaceWaiting, mark(t, q, "a").Place)
		require.Len(t, s.list("wake"), 1, "it is due now")
		c := open(t, q, 0)
		got := claimN(t, c, 1)
		require.Equal(t, "a", got[0].ID)
		require.ErrorIs(t, got[0].Reject, worker.ErrCanceled)
		settle(t, c, worker.ActionCancel, got...)
		require.NotContains(t, s.keyNames(), "cancels")

		mark(t, q, "b")
		require.Equal(t, worker.PlaceWaiting, remove(t, q, "b"))
		require.Empty(t, s.zset("scheduled"))
		require.NotContains(t, s.keyNames(), "void", "it has left the schedule itself")
		accounted(t, s, "a", "b")
	})
}

// A cancel must be given every worker: it asks again when they came or went meanwhile.
func TestCancelsWhileWorkersComeAndGo(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		ctx := context.Background()
		jobs := enqueue(t, q, newJobs(t, 100)...)
		c := open(t, q, 0)
		held := claim(t, c, 50)
		stop := make(chan struct{})
		var churn sync.WaitGroup
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				other, err := q.Consume(ctx, "default", worker.ConsumeOptions{})
				if err == nil {
					err = other.Close(ctx)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
		for i, job := range jobs {
			want := worker.PlaceWaiting
			if i < len(held) {
				want = worker.PlaceHeld
			}
			require.Equal(t, want, mark(t, q, job.ID).Place)
			require.Equal(t, want, remove(t, q, job.ID))
		}
		close(stop)
		churn.Wait()
		require.Len(t, s.zset("dead"), 50)
		accounted(t, s, ids(jobs)...)
	})
}

// A cancel that was cut short after its mark is finished by whoever claims the job.
func TestAMarkedJobIsClaimedInOrderToBeRejected(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		m := mark(t, q, "a")
		got := claim(t, c, 1)
		require.ErrorIs(t, got[0].Reject, worker.ErrCanceled)
		require.Equal(t, "a", got[0].ID)
		require.Equal(t, "test:note", got[0].Type, "it is decoded all the same")
		require.Greater(t, got[0].Token, m.Token)
		require.Equal(t, worker.PlaceHeld, remove(t, q, "a"))
		require.Contains(t, s.keyNames(), "cancels", "the holder needs the mark")
		settle(t, c, worker.ActionCancel, got...)
		require.Equal(t, "0 0 c ", s.hash("history")["a"])
		accounted(t, s, "a")
	})
}

func TestCancelOfAHeldJobRevokesItUntilItIsSettled(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		revoked := c.(worker.CancelWatcher).Revoked()
		enqueue(t, q, named(t, "a", "b")...)
		jobs := claim(t, c, 2)
		require.Equal(t, worker.PlaceHeld, mark(t, q, "a").Place)
		for range 3 {
			start := time.Now()
			require.Equal(t, worker.Revocation{ID: "a", Token: jobs[0].Token, Cause: worker.ErrCanceled}, receive(t, revoked))
			require.LessOrEqual(t, time.Since(start), time.Second, "a look comes between the beats")
		}
		require.Equal(t, worker.PlaceHeld, remove(t, q, "a"))
		settle(t, c, worker.ActionCancel, jobs[0])
		time.Sleep(time.Minute)
		require.Empty(t, revoked)
		accounted(t, s, "a", "b")
	})
}

// With a long lease the next beat may be minutes away: a look that fails is not the last one before it.
func TestACancelIsHeardSoonAfterALookThatFailed(t *testing.T) {
	for _, lease := range []time.Duration{10 * time.Second, 10 * time.Minute, time.Hour} {
		inBubble(t, func(t *testing.T, s *server) {
			cfg, _ := quiet()
			cfg.Lease = lease
			q := s.queue(cfg)
			c := open(t, q, 0)
			enqueue(t, q, named(t, "a")...)
			claim(t, c, 1)
			time.Sleep(100 * time.Millisecond)
			s.mini.SetError("LOADING Redis is loading the dataset in memory")
			time.Sleep(600 * time.Millisecond) // one look
			s.mini.SetError("")
			mark(t, q, "a")
			start := time.Now()
			require.Equal(t, "a", receive(t, c.(worker.CancelWatcher).Revoked()).ID)
			require.LessOrEqual(t, time.Since(start), 6*time.Second)
		})
	}
}

// A job that goes back while it is marked is due at once, whatever the delay, and comes rejected.
func TestAMarkedJobThatIsPutBackIsDueNow(t *testing.T) {
	for _, action := range []worker.Action{worker.ActionRetry, worker.ActionSnooze, worker.ActionRelease} {
		t.Run(action.String(), func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				c := open(t, q, 0)
				enqueue(t, q, named(t, "a")...)
				job := claim(t, c, 1)[0]
				mark(t, q, "a")
				require.NoError(t, c.Settle(context.Background(),
					worker.Verdict{Job: job, Action: action, Delay: time.Hour}))
				got := claimN(t, c, 1)
				require.ErrorIs(t, got[0].Reject, worker.ErrCanceled)
			})
		})
	}
}

// The holder finished first: the mark goes with the job, and the next job of that id is not canceled.
func TestACancelThatComesTooLateLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		mark(t, q, "a")
		settle(t, c, worker.ActionComplete, job)
		require.Equal(t, worker.PlaceUnknown, remove(t, q, "a"))
		m := mark(t, q, "a")
		require.Equal(t, worker.PlaceUnknown, m.Place)
		require.Nil(t, m.Job)
		enqueue(t, q, named(t, "a")...)
		require.Nil(t, claim(t, c, 1)[0].Reject)
	})
}

// Between mark and removal the job was reopened: the new round is not the caller's.
func TestRemoveLeavesAnotherRoundAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		mark(t, q, "a")
		settle(t, c, worker.ActionCancel, claim(t, c, 1)...)
		require.NoError(t, q.Reopen(context.Background(), named(t, "a")[0]))
		require.Equal(t, worker.PlaceWaiting, remove(t, q, "a"))
		require.Equal(t, map[string][]string{"a": {"pending"}}, places(s))
		require.Nil(t, claim(t, c, 1)[0].Reject)
	})
}

// A mark that is left of a job that is gone is dropped.
func TestRemoveDropsAStrayMark(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		s.ok("HSET", key("cancels"), "a", "1")
		require.Equal(t, worker.PlaceUnknown, remove(t, q, "a"))
		require.NotContains(t, s.keyNames(), "cancels")
	})
}

func TestCancelOfASuspect(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 3)
		suspect(t, s, "a", 2)
		suspect(t, s, "b", 2)
		mark(t, q, "a")
		require.Equal(t, worker.PlaceWaiting, remove(t, q, "a"))
		require.Equal(t, "1 2 c", s.hash("history")["a"])
		suspect(t, s, "c", 2)
		require.Equal(t, []string{"b"}, ids(claim(t, c, 9)))
		require.Equal(t, []string{"c"}, s.list("suspects"))
		require.NotContains(t, s.keyNames(), "void")
	})
}

// Entries that no longer count cost claims nothing but their own removal, however many there are: a worker that finds
// nothing else doesn't wait before it looks again.
func TestManyCanceledJobsDoNotBlockTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		jobs := enqueue(t, q, newJobs(t, 600)...)
		for _, job := range jobs[:599] {
			mark(t, q, job.ID)
			remove(t, q, job.ID)
		}
		c := open(t, q, 0)
		start := time.Now()
		require.Empty(t, claim(t, c, 1))
		s.ok("DEL", key("wake"))
		require.Equal(t, []string{jobs[599].ID}, ids(claimN(t, c, 1)))
		require.Zero(t, time.Since(start))
		require.NotContains(t, s.keyNames(), "void")
		require.NotContains(t, s.keyNames(), "pending")
	})
}

func TestReopen(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		ctx := context.Background()
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		settle(t, c, worker.ActionRetry, job)
		job = claimN(t, c, 1)[0]
		require.NoError(t, c.(worker.Checkpointer).Checkpoint(ctx, job, []byte("7")))
		active := func() {
			_, _, err := q.DrawToken(ctx, "default", "a")
			require.ErrorIs(t, err, worker.ErrJobActive)
			before := places(s)
			require.ErrorIs(t, q.Reopen(ctx, named(t, "a")[0]), worker.ErrJobActive)
			require.Equal(t, before, places(s))
		}
		active()
		settle(t, c, worker.ActionRelease, job)
		active()
		settle(t, c, worker.ActionBury, claim(t, c, 1)...)

		dead, token, err := q.DrawToken(ctx, "default", "a")
		require.NoError(t, err)
		require.Equal(t, "a", dead.ID)
		require.Greater(t, token, job.Token)
		dead.Topic = "new"
		s.ok("DEL", key("wake"))
		require.NoError(t, q.Reopen(ctx, dead))
		require.Len(t, s.list("wake"), 1)
		accounted(t, s, "a")
		require.ErrorIs(t, q.Reopen(ctx, dead), worker.ErrJobActive, "repeating it is safe")
		accounted(t, s, "a")
		again := claim(t, c, 1)[0]
		require.Equal(t, 1, again.Attempt)
		require.Equal(t, "new", again.Topic)
		require.Equal(t, "7", string(again.CheckpointData))
		require.Greater(t, again.Token, token)
	})
}

func TestReopenOfAnUnknownJobPushesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		ctx := context.Background()
		dead, token, err := q.DrawToken(ctx, "default", "a")
		require.NoError(t, err)
		require.Nil(t, dead)
		require.Positive(t, token)
		require.NoError(t, q.Reopen(ctx, named(t, "a")[0]))
		require.NoError(t, q.Reopen(ctx, newJob(t, worker.WithID("b"), worker.After(time.Hour))))
		require.Equal(t, map[string][]string{"a": {"pending"}, "b": {"scheduled"}}, places(s))
	})
}

// A mark that is left on a dead job does not reach its new round.
func TestReopenDropsAStrayMark(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		settle(t, c, worker.ActionBury, claim(t, c, 1)...)
		s.ok("HSET", key("cancels"), "a", "1")
		require.NoError(t, q.Reopen(context.Background(), named(t, "a")[0]))
		require.Nil(t, claim(t, c, 1)[0].Reject)
	})
}

// A job is held as long as a worker holds it, even if somebody took its body away.
func TestAHeldJobIsActiveWithoutItsBody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, c, 1)
		s.ok("HDEL", key("jobs"), "a")
		_, _, err := q.DrawToken(context.Background(), "default", "a")
		require.ErrorIs(t, err, worker.ErrJobActive)
		require.ErrorIs(t, q.Reopen(context.Background(), named(t, "a")[0]), worker.ErrJobActive)
		require.Equal(t, map[string][]string{"a": {"held"}}, places(s))
		require.Equal(t, worker.PlaceHeld, mark(t, q, "a").Place)
	})
}

func TestDrawTokenOfGarbage(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		s.ok("HSET", key("jobs"), "a", "garbage")
		s.ok("ZADD", key("dead"), "1", "a")
		dead, token, err := q.DrawToken(context.Background(), "default", "a")
		require.NoError(t, err)
		require.Nil(t, dead)
		require.Positive(t, token)
	})
}

// A reopened job whose old entry still lies in the list runs once.
func TestReopenOfACanceledJobRunsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b")...)
		for range 3 {
			mark(t, q, "a")
			remove(t, q, "a")
			require.NoError(t, q.Reopen(context.Background(), named(t, "a")[0]))
		}
		require.Len(t, s.list("pending"), 5)
		accounted(t, s, "a", "b")
		require.ElementsMatch(t, []string{"a", "b"}, ids(claimN(t, c, 2)))
		require.Empty(t, claim(t, c, 9))
	})
}
