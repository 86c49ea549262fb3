package redisqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
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

// A worker that has settled its suspect takes the next one at once, not after a wait: the wake-up reaches it also while
// others wait that hold one.
func TestSuspectsDrainAsFastAsTheyAreSettled(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				watched, w := wired(s)
				q := watched.queue(redisqueue.Config{})
				const n = 30
				for i := range n {
					suspect(t, s, fmt.Sprint("s", i), 2)
				}
				ctx, cancel := context.WithCancel(context.Background())
				var mu sync.Mutex
				var all sync.WaitGroup
				left := n
				run := func(c worker.Consumer, job *worker.Job, d time.Duration) {
					time.Sleep(d)
					if err := c.Settle(ctx, worker.Verdict{Job: job, Action: worker.ActionComplete}); err != nil {
						t.Errorf("settle: %v", err)
					}
					mu.Lock()
					defer mu.Unlock()
					if left--; left == 0 {
						cancel()
					}
				}
				start := time.Now()
				for i := range workers {
					c := open(t, q, 5)
					d := 50 * time.Millisecond
					if i > 0 {
						d = time.Second // they wait for wake-ups, but can do nothing with them
					}
					all.Go(func() {
						for ctx.Err() == nil {
							jobs, _ := c.Claim(ctx, worker.ClaimOptions{Limit: 8})
							for _, job := range jobs {
								all.Go(func() { run(c, job, d) })
							}
							if len(jobs) == 0 {
								_, _ = c.Claim(ctx, worker.ClaimOptions{Wait: time.Minute})
							}
						}
					})
				}
				all.Wait()
				require.LessOrEqual(t, time.Since(start), n*55*time.Millisecond+time.Second, "no wait ran out")
				require.LessOrEqual(t, w.pops.Load(), int64(n*(workers+1)), "nobody wakes itself over and over")
				require.LessOrEqual(t, w.scripts.Load(), int64(n*(workers+5)))
			})
		})
	}
}

// Only a settled suspect makes anybody look again.
func TestSettlingAPlainJobWakesNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 5)
		enqueue(t, q, named(t, "a", "b")...)
		suspect(t, s, "s1", 2)
		suspect(t, s, "s2", 2)
		jobs := claim(t, c, 2)
		require.Equal(t, []string{"s1", "a"}, ids(jobs))
		s.ok("DEL", key("wake"))
		settle(t, c, worker.ActionComplete, jobs[1])
		require.Empty(t, s.list("wake"))
		settle(t, c, worker.ActionComplete, jobs[0])
		require.Len(t, s.list("wake"), 1)
	})
}

// A pool hands on a wake-up that it has no slot for.
func TestWakeWakesAnotherWorkerIfThereIsSomething(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 5)
		wakes := func() int {
			s.ok("DEL", key("wake"))
			for range 2 {
				require.NoError(t, c.(worker.Waker).Wake(context.Background()))
			}
			return len(s.list("wake"))
		}
		require.Equal(t, 0, wakes())
		enqueue(t, q, newJob(t, worker.After(time.Hour)))
		require.Equal(t, 0, wakes(), "due much later")
		enqueue(t, q, newJob(t))
		require.Equal(t, 1, wakes())
		claim(t, c, 9)
		require.Equal(t, 0, wakes())
		suspect(t, s, "s", 2)
		require.Equal(t, 1, wakes())
		claim(t, c, 9)
		enqueue(t, q, newJob(t, worker.After(time.Second)))
		require.Equal(t, 1, wakes(), "due soon: the wake-up may have been for it")
	})
}

func TestAWakeReachesAWaitingWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c, other := open(t, q, 0), open(t, q, 0)
		done := make(chan []*worker.Job)
		go func() {
			jobs, _ := other.Claim(context.Background(), worker.ClaimOptions{Limit: 1, Wait: time.Minute})
			done <- jobs
		}()
		synctest.Wait()
		raw(t, s, newJob(t)) // without a wake-up
		start := time.Now()
		require.NoError(t, c.(worker.Waker).Wake(context.Background()))
		require.Len(t, receive(t, done), 1)
		require.Zero(t, time.Since(start))
	})
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
