package redisqueue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func TestCompleteForgetsAJob(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		ctx := context.Background()
		enqueue(t, q, named(t, "plain", "rich")...)
		jobs := claim(t, c, 2)
		rich := jobs[1]
		require.NoError(t, c.(worker.Checkpointer).Checkpoint(ctx, rich, []byte("1")))
		require.NoError(t, c.Settle(ctx, worker.Verdict{Job: rich, Action: worker.ActionRetry}))
		rich = claimN(t, c, 1)[0]
		require.Equal(t, 2, rich.Attempt)
		require.Equal(t, "1", string(rich.CheckpointData))
		_, err := q.MarkCanceled(ctx, "default", "rich")
		require.NoError(t, err)

		settle(t, c, worker.ActionComplete, jobs[0], rich)
		require.Equal(t, []string{"token", "workers"}, withoutWake(s.keyNames()))
	})
}

func TestAVerdictCountsOnceAndOnlyForItsClaim(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c, other := open(t, q, 0), open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		first := claim(t, c, 1)[0]
		settle(t, c, worker.ActionRetry, first)
		settle(t, c, worker.ActionRetry, first)    // a repeated one
		settle(t, c, worker.ActionComplete, first) // a late one
		second := claimN(t, other, 1)[0]
		require.Equal(t, 2, second.Attempt)
		for _, action := range []worker.Action{
			worker.ActionComplete, worker.ActionRetry, worker.ActionSnooze, worker.ActionRelease, worker.ActionBury,
			worker.ActionCancel,
		} {
			settle(t, c, action, first)
			settle(t, c, action, second) // another worker's
			settle(t, other, action, first)
		}
		require.Equal(t, map[string][]string{"a": {"held"}}, places(s))
		settle(t, other, worker.ActionRetry, second)
		require.Regexp(t, `^2 0 \d{13}$`, s.hash("history")["a"])
	})
}

// Of two verdicts on one claim in one call, one counts.
func TestTwoVerdictsInOneCall(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		require.NoError(t, c.Settle(context.Background(),
			worker.Verdict{Job: job, Action: worker.ActionRelease},
			worker.Verdict{Job: job, Action: worker.ActionBury},
			worker.Verdict{Job: job, Action: worker.ActionRelease}))
		accounted(t, s, "a")
	})
}

// A complete verdict wins over another on the same claim.
func TestCompleteAndAnotherVerdictInOneCall(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		require.NoError(t, c.Settle(context.Background(),
			worker.Verdict{Job: job, Action: worker.ActionRetry},
			worker.Verdict{Job: job, Action: worker.ActionComplete}))
		accounted(t, s)
	})
}

func TestRetryAndSnoozeComeBackWhenTheyAreDue(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "retry", "snooze", "release")...)
		jobs := claim(t, c, 3)
		start := time.Now()
		require.NoError(t, c.Settle(context.Background(),
			worker.Verdict{Job: jobs[0], Action: worker.ActionRetry, Delay: time.Second},
			worker.Verdict{Job: jobs[1], Action: worker.ActionSnooze, Delay: 2 * time.Second},
			worker.Verdict{Job: jobs[2], Action: worker.ActionRelease, Delay: 3 * time.Second}))
		for i, want := range []struct {
			id      string
			attempt int
		}{{"retry", 2}, {"snooze", 1}, {"release", 1}} {
			job := claimN(t, c, 1)[0]
			require.Equal(t, want.id, job.ID)
			require.Equal(t, want.attempt, job.Attempt)
			require.Greater(t, job.Token, jobs[2].Token)
			require.InDelta(t, time.Duration(i+1)*time.Second, time.Since(start), float64(50*time.Millisecond))
		}
	})
}

func TestReleasedJobsEndAtTheHeadInClaimOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		jobs := enqueue(t, q, newJobs(t, 1203)...)
		held := append(append(claim(t, c, 500), claim(t, c, 500)...), claim(t, c, 100)...)
		shuffled := slices.Clone(held)
		slices.SortFunc(shuffled, func(a, b *worker.Job) int { return strings.Compare(a.ID[30:], b.ID[30:]) })
		s.ok("DEL", key("wake"))
		settle(t, c, worker.ActionRelease, shuffled...)
		require.Equal(t, ids(jobs), s.list("pending"))
		require.Len(t, s.list("wake"), 1)
		again := claim(t, c, 1)[0]
		require.Equal(t, 1, again.Attempt)
		require.Zero(t, again.Crashes)
	})
}

func TestSettleWakesForANewEarliestDueTime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, newJobs(t, 3)...)
		jobs := claim(t, c, 3)
		wakes := func(job *worker.Job, delay time.Duration) int {
			s.ok("DEL", key("wake"))
			require.NoError(t, c.Settle(context.Background(),
				worker.Verdict{Job: job, Action: worker.ActionRetry, Delay: delay}))
			return len(s.list("wake"))
		}
		require.Equal(t, 1, wakes(jobs[0], 2*time.Hour))
		require.Equal(t, 0, wakes(jobs[1], 3*time.Hour))
		require.Equal(t, 1, wakes(jobs[2], time.Hour))
	})
}

func TestBuriedJobsKeepBodyHistoryAndCause(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		ctx := context.Background()
		enqueue(t, q, named(t, "a", "b", "c")...)
		jobs := claim(t, c, 3)
		require.NoError(t, c.(worker.Checkpointer).Checkpoint(ctx, jobs[0], []byte("[1]")))
		bodies := s.hash("jobs")
		long := strings.Repeat("é", 600) + "\xff"
		require.NoError(t, c.Settle(ctx,
			worker.Verdict{Job: jobs[0], Action: worker.ActionBury, Cause: errors.New("it\nbroke")},
			worker.Verdict{Job: jobs[1], Action: worker.ActionCancel},
			worker.Verdict{Job: jobs[2], Action: worker.ActionBury, Cause: errors.New(long)}))
		require.Equal(t, bodies, s.hash("jobs"))
		require.Equal(t, "[1]", s.hash("checkpoints")["a"])
		history := s.hash("history")
		require.Equal(t, "0 0 f it\nbroke", history["a"])
		require.Equal(t, "0 0 c ", history["b"])
		require.Equal(t, "0 0 f "+strings.Repeat("é", 512), history["c"])
		require.Len(t, s.zset("dead"), 3)
	})
}

func TestDeadJobsAreTrimmedByNumber(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		cfg.DeadMaxCount = 5
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, newJobs(t, 12)...)
		jobs := claim(t, c, 12)
		for _, job := range jobs {
			require.NoError(t, c.(worker.Checkpointer).Checkpoint(context.Background(), job, []byte("1")))
		}
		settle(t, c, worker.ActionBury, jobs[:4]...)
		for _, job := range jobs[:4] { // their deaths lie apart
			s.ok("ZADD", key("dead"), "1", job.ID)
		}
		require.Len(t, s.zset("dead"), 4, "1970 is older than any job may be, but nobody looked yet")
		settle(t, c, worker.ActionBury, jobs[4:]...)
		for _, name := range []string{"jobs", "history", "checkpoints"} {
			require.Len(t, s.hash(name), 5, name)
		}
		require.Len(t, s.zset("dead"), 5)
		require.NotContains(t, s.zset("dead"), jobs[0].ID, "the oldest go first")
		require.Positive(t, book.count("dead jobs forgotten"))
	})
}

func TestDeadJobsAreTrimmedByAge(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		cfg.DeadMaxAge = time.Hour
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, newJobs(t, 3)...)
		jobs := claim(t, c, 3)
		settle(t, c, worker.ActionBury, jobs[0])
		time.Sleep(30 * time.Minute)
		settle(t, c, worker.ActionBury, jobs[1])
		time.Sleep(29 * time.Minute)
		require.Len(t, s.zset("dead"), 2)
		time.Sleep(3 * time.Minute) // with no other job that dies
		require.Equal(t, []string{jobs[1].ID}, keysOf(s.zset("dead")))
		require.Equal(t, 1, book.count("dead jobs forgotten"))
		time.Sleep(27*time.Minute + 30*time.Second)
		settle(t, c, worker.ActionBury, jobs[2])
		require.Len(t, s.hash("jobs"), len(s.zset("dead")))
	})
}

func keysOf[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

func TestSettleChecksVerdictsBeforeItSendsAny(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		ctx := context.Background()
		require.Error(t, c.Settle(ctx, worker.Verdict{Job: job, Action: worker.ActionComplete}, worker.Verdict{}))
		require.Error(t, c.Settle(ctx, worker.Verdict{Job: job}, worker.Verdict{Job: job, Action: 99}))
		require.NoError(t, c.Settle(ctx))
		accounted(t, s, "a")
	})
}

// A caller whose context has ended still settles: what was claimed is never dropped.
func TestSettleOutlivesItsContext(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.NoError(t, c.Settle(ctx, verdicts(worker.ActionComplete, job)...))
		accounted(t, s)
	})
}

func TestSettleAndCheckpointAreRefusedWithoutALease(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		ctx := context.Background()
		for _, act := range []func(c worker.Consumer, job *worker.Job) error{
			func(c worker.Consumer, job *worker.Job) error {
				return c.Settle(ctx, verdicts(worker.ActionComplete, job)...)
			},
			func(c worker.Consumer, job *worker.Job) error {
				return c.Settle(ctx, verdicts(worker.ActionBury, job)...)
			},
			func(c worker.Consumer, job *worker.Job) error {
				return c.(worker.Checkpointer).Checkpoint(ctx, job, []byte("1"))
			},
		} {
			s.ok("FLUSHALL")
			enqueue(t, q, named(t, "a")...)
			c := open(t, q, 0)
			job := claim(t, c, 1)[0]
			for name := range s.zset("workers") {
				s.ok("ZADD", key("workers"), "0", name)
			}
			require.ErrorIs(t, act(c, job), worker.ErrLeaseLost)
			<-c.Lost()
			require.ErrorIs(t, act(c, job), worker.ErrLeaseLost, "and from then on without asking")
			require.NoError(t, c.Close(ctx))
			accounted(t, s, "a")
			require.Equal(t, map[string][]string{"a": {"held"}}, places(s), "nothing is given back by who lost it")
			require.NotContains(t, s.keyNames(), "checkpoints")
		}
	})
}

func TestCheckpointIsFenced(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		keeper := c.(worker.Checkpointer)
		ctx := context.Background()
		enqueue(t, q, named(t, "a")...)
		first := claim(t, c, 1)[0]
		require.NoError(t, keeper.Checkpoint(ctx, first, []byte("1")))
		require.NoError(t, keeper.Checkpoint(ctx, first, []byte("2")))
		settle(t, c, worker.ActionRelease, first)
		require.ErrorIs(t, keeper.Checkpoint(ctx, first, []byte("3")), worker.ErrLeaseLost)
		second := claim(t, c, 1)[0]
		require.ErrorIs(t, keeper.Checkpoint(ctx, first, []byte("3")), worker.ErrLeaseLost)
		require.Equal(t, "2", string(second.CheckpointData))
		select {
		case <-c.Lost():
			t.Fatal("the session goes on")
		default:
		}
	})
}
