package redisqueue_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// Whatever somebody wrote into Redis by hand, jobs go on.

// A counter that is no number, or lies more than a year ahead, is ignored, and mended by the next claim.
func TestAnAbsurdTokenIsIgnored(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		ctx := context.Background()
		most := (time.Now().Add(2*365*24*time.Hour).UnixMilli() + 1) * 250
		for _, garbage := range []string{
			"abc", "", "inf", "nan", "-5", "1e300", "0x10", "9007199254740993", "99999999999999999999", strconv.FormatInt(most, 10),
		} {
			s.ok("SET", key("token"), garbage)
			mark, err := q.MarkCanceled(ctx, "default", "nobody")
			require.NoError(t, err, garbage)
			require.Less(t, mark.Token, most)
			s.ok("SET", key("token"), garbage)
			_, token, err := q.DrawToken(ctx, "default", "nobody")
			require.NoError(t, err, garbage)
			require.Less(t, token, most)
			s.ok("SET", key("token"), garbage)
			enqueue(t, q, newJob(t))
			job := claim(t, c, 1)[0]
			require.Positive(t, job.Token)
			require.Less(t, job.Token, most, garbage)
			require.Equal(t, strconv.FormatInt(job.Token, 10), s.text("GET", key("token")))
			settle(t, c, worker.ActionComplete, job)
		}
		for _, least := range []int64{-1, most, 1<<63 - 1} {
			enqueue(t, q, newJob(t))
			jobs, err := c.Claim(ctx, worker.ClaimOptions{Limit: 1, MinToken: least})
			require.NoError(t, err)
			require.Less(t, jobs[0].Token, most)
			settle(t, c, worker.ActionComplete, jobs...)
		}
		accounted(t, s)
	})
}

// A claim whose token is garbage keeps nobody from giving a dead worker's jobs back.
func TestATakeoverGetsPastGarbage(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		enqueue(t, q, named(t, "a", "b", "c", "d", "e")...)
		s.ok("DEL", key("pending"))
		s.ok("ZADD", key("workers"), "1", "dead")
		s.ok("HSET", key("inflight:dead"), "a", "1", "b", "2", "c", "garbage", "d", "nan", "e", "-1")
		moved, err := redisqueue.Retire(open(t, q, 0), "dead", "1", 1)
		require.NoError(t, err)
		require.EqualValues(t, 5, moved)
		require.ElementsMatch(t, []string{"c", "d", "e"}, s.list("pending")[:3])
		require.Equal(t, []string{"a", "b"}, s.list("pending")[3:])
		accounted(t, s, "a", "b", "c", "d", "e")
	})
}

// In what this worker holds, garbage stops neither the heartbeat, nor cancels, nor takeovers, nor Close; the claim itself
// goes back like one that nobody here knows.
func TestAHeartbeatGetsPastGarbage(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "x", "y", "b")...)
		job := claim(t, c, 1)[0]
		mine := "inflight:" + slices.Collect(maps.Keys(s.zset("workers")))[0]
		s.ok("DEL", key("pending"))
		s.ok("HSET", key(mine), "x", "garbage", "y", "inf")
		s.ok("ZADD", key("workers"), "1", "dead")
		s.ok("HSET", key("inflight:dead"), "b", "7")
		mark(t, q, "a")
		require.Equal(t, worker.Revocation{ID: "a", Token: job.Token, Cause: worker.ErrCanceled},
			receive(t, c.(worker.CancelWatcher).Revoked()))
		time.Sleep(20 * time.Second)
		require.Zero(t, book.count("cannot be renewed"))
		require.Equal(t, []string{"a"}, keysOf(s.hash(mine)))
		require.ElementsMatch(t, []string{"x", "y", "b"}, s.list("pending"))
		accounted(t, s, "a", "b", "x", "y")
		require.NoError(t, c.Close(context.Background()))
	})
}

func TestCloseGetsPastGarbage(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b", "x")...)
		claim(t, c, 2)
		s.ok("DEL", key("pending"))
		s.ok("HSET", key("inflight:"+slices.Collect(maps.Keys(s.zset("workers")))[0]), "x", "garbage")
		require.NoError(t, c.Close(context.Background()))
		require.Equal(t, []string{"x", "a", "b"}, s.list("pending"))
		require.NotContains(t, s.keyNames(), "workers")
	})
}

// Only a positive count voids entries; everything else would lose a job.
func TestGarbageInVoidLosesNoJob(t *testing.T) {
	for _, garbage := range []string{"abc", "", "0", "-3", "1.5", "007", "99999999999999999999"} {
		t.Run(garbage, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				c := open(t, q, 5)
				enqueue(t, q, named(t, "a", "b")...)
				suspect(t, s, "s", 2)
				s.ok("HSET", key("void"), "a", garbage, "s", garbage, "other", "1")
				require.Equal(t, []string{"s", "a"}, ids(claim(t, c, 2)))
				require.Equal(t, map[string]string{"other": "1"}, s.hash("void"))
				s.ok("HSET", key("void"), "b", garbage)
				mark(t, q, "b")
				require.Equal(t, worker.PlaceWaiting, remove(t, q, "b"))
				require.Equal(t, "1", s.hash("void")["b"])
				require.Empty(t, claim(t, c, 9))
				accounted(t, s, "s", "a", "b")
			})
		})
	}
}

func TestGarbageInHistoryIsCutDown(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 3)
		names := []string{"huge", "text", "half", "minus", "plain", "canceled"}
		enqueue(t, q, named(t, names...)...)
		s.ok("HSET", key("history"), "huge", "99999999999999999999 0", "text", "garbage", "half", "x 1", "minus", "-2 -1",
			"plain", "2 1")
		mark(t, q, "canceled")
		jobs := claim(t, c, 9)
		require.Equal(t, names, ids(jobs))
		for i, want := range []struct{ attempt, crashes int }{{1_000_001, 0}, {1, 0}, {1, 1}, {1, 0}, {3, 1}, {1, 0}} {
			require.Equal(t, want.attempt, jobs[i].Attempt, names[i])
			require.Equal(t, want.crashes, jobs[i].Crashes, names[i])
		}
		require.ErrorIs(t, jobs[5].Reject, worker.ErrCanceled)
		settle(t, c, worker.ActionRetry, jobs[0])
		require.Regexp(t, `^1000001 0 \d{13}$`, s.hash("history")["huge"])
		settle(t, c, worker.ActionBury, jobs[1])
		require.Equal(t, worker.StateFailed, mark(t, q, "text").State)
	})
}

// A call that needs all workers takes more of them than Lua can return at once.
func TestCancelsAmongThousandsOfWorkers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		enqueue(t, q, named(t, "a")...)
		for i := range 90 {
			words := []string{"ZADD", key("workers")}
			for k := range 100 {
				words = append(words, strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10), fmt.Sprint("w", i, "-", k))
			}
			s.ok(words...)
		}
		require.Equal(t, worker.PlaceWaiting, mark(t, q, "a").Place)
		require.Equal(t, worker.PlaceWaiting, remove(t, q, "a"))
		_, _, err := q.DrawToken(context.Background(), "default", "a")
		require.NoError(t, err)
		require.NoError(t, q.Reopen(context.Background(), named(t, "a")[0]))
		require.Equal(t, map[string][]string{"a": {"pending"}}, places(s))
	})
}

// An id that is in the lists several times is handed out once.
func TestASecondEntryInOneClaimIsDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		c := open(t, q, 3)
		enqueue(t, q, named(t, "a", "b")...)
		suspect(t, s, "loop", 3)
		s.ok("RPUSH", key("suspects"), "loop")
		s.ok("RPUSH", key("pending"), "a", "loop", "b", "a")
		require.Equal(t, []string{"loop", "a", "b"}, ids(claimN(t, c, 3)))
		require.Empty(t, claim(t, c, 9))
		require.Positive(t, book.count("dropped from a queue"))
		accounted(t, s, "a", "b", "loop")
	})
}

// A second entry of a job that this worker holds is not handed out: the claim goes on under the entry's token.
func TestASecondEntryOfAHeldJobIsDropped(t *testing.T) {
	for _, action := range []worker.Action{worker.ActionComplete, worker.ActionRetry, worker.ActionRelease, worker.ActionBury} {
		t.Run(action.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cfg, book := quiet()
				q := s.queue(cfg)
				c := open(t, q, 0)
				enqueue(t, q, named(t, "a", "b")...)
				job := claim(t, c, 1)[0]
				s.ok("LPUSH", key("pending"), "a")
				require.Equal(t, []string{"b"}, ids(claim(t, c, 9)))
				require.Equal(t, 1, book.count("dropped from a queue"))
				require.NoError(t, c.(worker.Checkpointer).Checkpoint(context.Background(), job, []byte("1")))
				time.Sleep(time.Minute)
				require.Empty(t, c.(worker.CancelWatcher).Revoked())
				require.Empty(t, s.list("pending"))
				mark(t, q, "a")
				require.Equal(t, job.Token, receive(t, c.(worker.CancelWatcher).Revoked()).Token)
				settle(t, c, action, job)
				settle(t, c, action, job) // repeating it is safe
				require.NotContains(t, s.inflight()[slices.Collect(maps.Keys(s.zset("workers")))[0]], "a")
				where := map[worker.Action][]string{
					worker.ActionRetry: {"scheduled"}, worker.ActionRelease: {"pending"}, worker.ActionBury: {"dead"},
				}
				require.Equal(t, where[action], places(s)["a"])
			})
		})
	}
}

// A body that names another queue would be recorded and told as that queue's job.
func TestABodyOfAnotherQueueIsRejected(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		raw(t, s, newJob(t, worker.WithID("x"), worker.OnQueue("other")))
		require.Nil(t, mark(t, q, "x").Job)
		s.ok("DEL", key("cancels"))
		job := claim(t, c, 1)[0]
		var bad *worker.DecodeError
		require.ErrorAs(t, job.Reject, &bad)
		require.Equal(t, "x", bad.ID)
		require.ErrorContains(t, bad, `another queue: "other"`)
		require.Equal(t, "default", job.Queue)
		settle(t, c, worker.ActionBury, job)
		dead, _, err := q.DrawToken(context.Background(), "default", "x")
		require.NoError(t, err)
		require.Nil(t, dead)
	})
}

// When Redis's clock has stepped back, a dead worker's deadline lies far ahead. A live worker's would have been renewed.
func TestADeadlineFarAheadIsExpired(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		cfg.Lease = time.Second
		q := s.queue(cfg)
		ahead := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).UnixMilli(), 10) }
		enqueue(t, q, named(t, "a", "b")...)
		s.ok("DEL", key("pending"))
		s.ok("ZADD", key("workers"), ahead(2*time.Hour), "dead", ahead(time.Hour-time.Minute), "other")
		s.ok("HSET", key("inflight:dead"), "a", "1")
		s.ok("HSET", key("inflight:other"), "b", "1")
		c := open(t, q, 0)
		require.Equal(t, []string{"a"}, ids(claimN(t, c, 1)))
		require.NotContains(t, s.zset("workers"), "dead")
		require.Contains(t, s.zset("workers"), "other", "another worker may have a longer lease")
		requireNotLost(t, c)
	})
}
