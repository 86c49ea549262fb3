package redisqueue_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func TestClaimHandsOutInOrderWithRisingTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c, other := open(t, q, 0), open(t, q, 0)
		jobs := enqueue(t, q, newJobs(t, 700)...)
		got := append(claim(t, c, 3), claim(t, other, 1000)...)
		require.Len(t, got, 503, "500 at most")
		got = append(got, claim(t, c, 1000)...)
		require.Equal(t, ids(jobs), ids(got))
		for i := 1; i < len(got); i++ {
			require.Greater(t, got[i].Token, got[i-1].Token)
		}
		require.Equal(t, strconv.FormatInt(got[699].Token, 10), s.text("GET", key("token")))
		require.Equal(t, 1, got[0].Attempt)
		require.Nil(t, got[0].Reject)
	})
}

func TestDueJobsAreClaimedInOrderAndNeverEarly(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		for _, at := range []int{300, 100, 200} {
			enqueue(t, q, newJob(t, worker.WithID(strconv.Itoa(at)), worker.After(time.Duration(at)*time.Millisecond)))
		}
		start := time.Now()
		for _, at := range []int{100, 200, 300} {
			job := claimN(t, c, 1)[0]
			require.Equal(t, strconv.Itoa(at), job.ID)
			late := time.Since(start) - time.Duration(at)*time.Millisecond
			require.GreaterOrEqual(t, late, time.Duration(0))
			require.LessOrEqual(t, late, 50*time.Millisecond)
		}
	})
}

// While Redis's clock stands still a job that is due in a moment stays so. An idle worker looks ever less often then, and
// soon enough for the promise to hold once the clock goes on.
func TestAClockThatStandsStillIsNotPolled(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		s, w := wired(s)
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, newJob(t, worker.After(3*time.Millisecond)))
		s.mini.SetTime(time.Now())
		before := w.scripts.Load()
		jobs, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1, Wait: 59 * time.Second})
		require.NoError(t, err)
		require.Empty(t, jobs)
		require.Less(t, w.scripts.Load()-before, int64(59*35), "looks and heartbeats; and now a second without a beat")

		s.mini.SetTime(time.Time{})
		start := time.Now()
		claimN(t, c, 1)
		require.LessOrEqual(t, time.Since(start), 50*time.Millisecond)

		before = w.scripts.Load()
		enqueue(t, q, newJob(t, worker.After(3*time.Millisecond)))
		start = time.Now()
		claimN(t, c, 1)
		require.Equal(t, 3*time.Millisecond, time.Since(start), "another job is not to blame")
		require.LessOrEqual(t, w.scripts.Load()-before, int64(4))
	})
}

// More jobs may fall due at once than one call promotes.
func TestManyDueJobsAreAllPromoted(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		jobs := newJobs(t, 450)
		for _, job := range jobs {
			job.Delay = time.Second
		}
		enqueue(t, q, jobs...)
		time.Sleep(2 * time.Second)
		require.Len(t, claim(t, c, 1), 1)
		require.Len(t, s.list("pending"), 100)
		require.Len(t, s.zset("scheduled"), 349)
		require.Len(t, claimN(t, c, 449), 449)
	})
}

func TestClaimWaitsForAJobAndReturnsAtOnceWhenItComes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		start := time.Now()
		require.Empty(t, claim(t, c, 1))
		jobs, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1, Wait: time.Second})
		require.NoError(t, err)
		require.Empty(t, jobs)
		require.Equal(t, time.Second, time.Since(start))

		time.AfterFunc(700*time.Millisecond, func() { _ = q.Enqueue(context.Background(), newJob(t)) })
		start = time.Now()
		require.Len(t, claimN(t, c, 1), 1)
		require.Equal(t, 700*time.Millisecond, time.Since(start))
	})
}

// Less than a millisecond must not become "for ever".
func TestAVeryShortWaitEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		c := open(t, s.queue(redisqueue.Config{}), 0)
		for _, limit := range []int{0, 1} {
			jobs, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: limit, Wait: time.Nanosecond})
			require.NoError(t, err)
			require.Empty(t, jobs)
		}
	})
}

func TestLimitZeroOnlyWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		ctx := context.Background()
		wait := func(d time.Duration) time.Duration {
			start := time.Now()
			jobs, err := c.Claim(ctx, worker.ClaimOptions{Wait: d})
			require.NoError(t, err)
			require.Empty(t, jobs)
			return time.Since(start)
		}
		require.Equal(t, time.Second, wait(time.Second))
		require.Equal(t, 2*time.Second, wait(time.Hour), "a wake-up may have been lost")
		enqueue(t, q, newJob(t))
		require.Zero(t, wait(time.Second), "a job waits")
		require.Equal(t, time.Second, wait(time.Second), "the wake-up is used up")
		require.Len(t, s.list("pending"), 1)

		require.Len(t, claim(t, c, 1), 1)
		enqueue(t, q, newJob(t, worker.After(1500*time.Millisecond)))
		require.Zero(t, wait(time.Second), "a new earliest due time")
		require.Empty(t, claim(t, c, 1))
		require.Equal(t, 1500*time.Millisecond, wait(time.Hour), "the next due time")
		require.Zero(t, wait(time.Hour), "it has passed")
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		c := open(t, s.queue(redisqueue.Config{}), 0)
		for range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(10*time.Millisecond, cancel)
			start := time.Now()
			jobs, err := c.Claim(ctx, worker.ClaimOptions{Limit: 1, Wait: time.Hour})
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, jobs)
			require.Less(t, time.Since(start), patience)
		}
	})
}

func TestAWaitEndsWithItsSession(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		c := open(t, s.queue(redisqueue.Config{}), 0)
		done := make(chan error)
		go func() {
			_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1, Wait: time.Hour})
			done <- err
		}()
		require.NoError(t, c.Close(context.Background()))
		require.ErrorIs(t, <-done, worker.ErrLeaseLost)
	})
}

// Whoever takes something passes the wake-up on while there is more; nobody else does.
func TestWakeUpsArePassedOn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		wakes := func(limit int) int {
			s.ok("DEL", key("wake"))
			claim(t, c, limit)
			return len(s.list("wake"))
		}
		enqueue(t, q, newJobs(t, 5)...)
		require.Equal(t, 1, wakes(2), "more waits")
		require.Equal(t, 0, wakes(3), "nothing waits")
		require.Equal(t, 0, wakes(3), "nothing was taken")

		enqueue(t, q, newJob(t), newJob(t, worker.After(time.Hour)))
		require.Equal(t, 0, wakes(1), "due much later")
		enqueue(t, q, newJob(t), newJob(t, worker.After(1900*time.Millisecond)))
		require.Equal(t, 1, wakes(1), "full, and something falls due soon")
		enqueue(t, q, newJob(t))
		require.Equal(t, 0, wakes(2), "not full: this worker waits for it")
	})
}

// With n idle workers, n jobs that come at once are started at once.
func TestABurstWakesAllIdleWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		const n = 8
		got := make(chan time.Time, n)
		for range n {
			c := open(t, q, 0)
			go func() {
				claimN(t, c, 1)
				got <- time.Now()
			}()
		}
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		enqueue(t, q, newJobs(t, n)...)
		for range n {
			require.Less(t, (<-got).Sub(start), 50*time.Millisecond)
		}
	})
}

func TestALostWakeUpCostsTwoSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		done := make(chan time.Duration)
		start := time.Now()
		go func() {
			claimN(t, c, 1)
			done <- time.Since(start)
		}()
		synctest.Wait()
		raw(t, s, newJob(t)) // without a wake-up
		require.LessOrEqual(t, <-done, 2*time.Second)
	})
}

// raw makes a job wait without the enqueue script.
func raw(t testing.TB, s *server, job *worker.Job) {
	t.Helper()
	body, err := worker.EncodeJob(job)
	require.NoError(t, err)
	s.ok("HSET", key("jobs"), job.ID, string(body))
	s.ok("RPUSH", key("pending"), job.ID)
}

func TestGarbageIsHandedOutRejectedAndBuriedWithItsBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		garbage := "\x00not\xffa job"
		s.ok("HSET", key("jobs"), "g", garbage)
		s.ok("RPUSH", key("pending"), "g")
		body, err := worker.EncodeJob(newJob(t, worker.WithID("other")))
		require.NoError(t, err)
		s.ok("HSET", key("jobs"), "alias", string(body))
		s.ok("RPUSH", key("pending"), "alias")

		jobs := claim(t, c, 10)
		require.Equal(t, []string{"g", "alias"}, ids(jobs))
		for i, want := range []string{garbage, string(body)} {
			var bad *worker.DecodeError
			require.ErrorAs(t, jobs[i].Reject, &bad)
			require.Equal(t, jobs[i].ID, bad.ID)
			require.Equal(t, want, string(bad.Body))
			require.Equal(t, want, string(jobs[i].Payload))
			require.Equal(t, "default", jobs[i].Queue)
			require.NotZero(t, jobs[i].Token)
		}
		settle(t, c, worker.ActionBury, jobs...)
		require.Equal(t, garbage, s.hash("jobs")["g"])
		require.Contains(t, s.zset("dead"), "g")
	})
}

// Entries without a body are dropped, and never keep a worker from what comes behind them.
func TestOrphansAreDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		for i := range 30 {
			s.ok("RPUSH", key("pending"), fmt.Sprint("orphan", i))
		}
		s.ok("RPUSH", key("suspects"), "orphan")
		jobs := enqueue(t, q, newJobs(t, 2)...)
		require.Equal(t, ids(jobs), ids(claimN(t, c, 2)))
		require.Positive(t, book.count("without a job"))
		require.Empty(t, s.list("suspects"))
	})
}

func TestAnOrphanAmongJobsLeavesTheBatchFull(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		s.ok("RPUSH", key("pending"), "orphan")
		enqueue(t, q, named(t, "b", "c", "d")...)
		require.Equal(t, []string{"a", "b", "c"}, ids(claim(t, c, 3)))
		require.Equal(t, []string{"d"}, s.list("pending"))
	})
}

func TestAnExpiredJobIsRejected(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		job := newJob(t)
		job.ExpiresAt = time.Now().Add(time.Second).Truncate(time.Millisecond)
		enqueue(t, q, job)
		time.Sleep(time.Second)
		got := claim(t, c, 1)
		require.Nil(t, got[0].Reject, "not yet")
		settle(t, c, worker.ActionRelease, got...)
		time.Sleep(time.Millisecond)
		require.ErrorIs(t, claim(t, c, 1)[0].Reject, worker.ErrExpired)
	})
}

func TestClaimIsRefusedWithoutALease(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		for _, how := range []func(name string){
			func(name string) { s.ok("ZADD", key("workers"), "0", name) },
			func(name string) { s.ok("ZREM", key("workers"), name) },
		} {
			c := open(t, q, 0)
			enqueue(t, q, newJob(t))
			for name := range s.zset("workers") {
				how(name)
			}
			before := s.list("pending")
			_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1})
			require.ErrorIs(t, err, worker.ErrLeaseLost)
			require.Equal(t, before, s.list("pending"))
			<-c.Lost()
			s.ok("DEL", key("workers"))
		}
	})
}

// The digits of tokens are written in two parts: they are right also where the first part changes.
func TestTokensAreWrittenAsTheyAreHandedOut(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ahead := time.Now().Add(time.Hour).UnixMilli() * 250 / 1_000_000 * 1_000_000
		s.ok("SET", key("token"), strconv.FormatInt(ahead-11, 10))
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, newJobs(t, 20)...)
		jobs := claimN(t, c, 20)
		require.Equal(t, ahead-10, jobs[0].Token)
		for _, held := range s.inflight() {
			for _, job := range jobs {
				require.Equal(t, strconv.FormatInt(job.Token, 10), held[job.ID])
			}
		}
		settle(t, c, worker.ActionComplete, jobs...)
		require.Empty(t, s.hash("jobs"), "or the tokens would not match")
	})
}
