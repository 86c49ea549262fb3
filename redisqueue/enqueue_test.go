package redisqueue_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func TestEnqueueWritesEachJobOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		jobs := named(t, "a", "b", "c")
		enqueue(t, q, jobs[0], jobs[1])
		enqueue(t, q, jobs[1], jobs[2], jobs[2])
		require.Equal(t, []string{"a", "b", "c"}, s.list("pending"))
		body, err := worker.EncodeJob(jobs[0])
		require.NoError(t, err)
		require.Equal(t, string(body), s.hash("jobs")["a"])
		require.Equal(t, []string{"jobs", "pending", "wake"}, s.keyNames())
	})
}

func TestEnqueueLeavesAHeldJobAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		require.Len(t, claim(t, c, 1), 1)
		enqueue(t, q, named(t, "a")...)
		require.Empty(t, s.list("pending"))
	})
}

func TestEnqueueOfADeadJobTellsHowItEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "failed", "canceled")...)
		jobs := claim(t, c, 2)
		settle(t, c, worker.ActionBury, jobs[0])
		settle(t, c, worker.ActionCancel, jobs[1])

		err := q.Enqueue(context.Background(), named(t, "failed", "new", "canceled")...)
		var failed *worker.EnqueueError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, map[string]error{
			"failed":   &worker.FinishedError{ID: "failed", State: worker.StateFailed},
			"canceled": &worker.FinishedError{ID: "canceled", State: worker.StateCanceled},
		}, failed.Failed)
		require.Equal(t, []string{"new"}, s.list("pending"))
	})
}

func TestEnqueueSplitsLargeCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		jobs := newJobs(t, 1203)
		for i := range 9 { // four and more megabytes
			jobs[100+i].Payload = []byte(`"` + strings.Repeat("x", 600<<10) + `"`)
		}
		enqueue(t, q, jobs...)
		require.Equal(t, ids(jobs), s.list("pending"))
		require.Len(t, s.hash("jobs"), 1203)
	})
}

func TestEnqueueSortsJobsByTime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		future := time.Now().Add(time.Hour)
		enqueue(t, q,
			newJob(t, worker.WithID("past"), worker.At(time.Now().Add(-time.Hour))),
			newJob(t, worker.WithID("delayed"), worker.After(time.Hour)),
			newJob(t, worker.WithID("short"), worker.After(time.Nanosecond)),
			newJob(t, worker.WithID("later"), worker.At(future)),
			newJob(t, worker.WithID("now")),
		)
		require.Equal(t, []string{"past", "now"}, s.list("pending"))
		due := s.zset("scheduled")
		require.Len(t, due, 3)
		require.Equal(t, float64(future.UnixMilli()), due["later"])
		require.InDelta(t, float64(time.Now().Add(time.Hour).UnixMilli()), due["delayed"], 60_000)
	})
}

// A wake-up is set where somebody may wait for it: by the first job of an empty queue, and by a new earliest due time.
func TestEnqueueWakesOneWorker(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		wakes := func(job *worker.Job) int {
			s.ok("DEL", key("wake"))
			enqueue(t, q, job)
			return len(s.list("wake"))
		}
		require.Equal(t, 1, wakes(newJob(t, worker.After(2*time.Hour))), "the first due time")
		require.Equal(t, 0, wakes(newJob(t, worker.After(3*time.Hour))), "a later one")
		require.Equal(t, 1, wakes(newJob(t, worker.After(time.Hour))), "an earlier one")
		require.Equal(t, 1, wakes(newJob(t)), "the first that waits")
		require.Equal(t, 0, wakes(newJob(t)), "the second")

		enqueue(t, q, newJob(t, worker.After(time.Minute)))
		enqueue(t, q, newJob(t, worker.After(time.Second)))
		require.Len(t, s.list("wake"), 1, "at most one token")
	})
}

// A dead job's entry may lie in the list when its id comes again after the body was trimmed.
func TestEnqueueAfterAVoidEntryRunsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{DeadMaxCount: 1})
		ctx := context.Background()
		enqueue(t, q, named(t, "a", "b")...)
		for _, id := range []string{"a", "b"} {
			_, err := q.MarkCanceled(ctx, "default", id)
			require.NoError(t, err)
			_, err = q.RemoveCanceled(ctx, "default", id)
			require.NoError(t, err)
		}
		require.Equal(t, map[string]string{"a": "1", "b": "1"}, s.hash("void"))
		require.NotContains(t, s.hash("jobs"), "a", "trimmed: one dead job is kept")

		enqueue(t, q, named(t, "a", "c")...)
		require.Equal(t, []string{"a", "b", "a", "c"}, s.list("pending"))
		c := open(t, q, 0)
		require.Equal(t, []string{"a", "c"}, ids(claim(t, c, 10)))
		require.Empty(t, claim(t, c, 10))
		require.NotContains(t, s.keyNames(), "void")
		require.NotContains(t, s.keyNames(), "pending")
	})
}

func TestEnqueueAtMaxmemoryIsRefusedAndTheRestDrains(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	q := s.queue(cfg)
	ctx := context.Background()
	c := open(t, q, 0)
	enqueue(t, q, named(t, "a", "b", "c", "d", "e", "f", "dead")...)
	enqueue(t, q, newJob(t, worker.WithID("later"), worker.After(time.Millisecond)))
	jobs := claim(t, c, 7)
	settle(t, c, worker.ActionBury, jobs[6])
	settle(t, c, worker.ActionRelease, jobs[3:6]...)
	s.ok("CONFIG", "SET", "maxmemory", "1")

	before := s.keyNames()
	err := q.Enqueue(ctx, named(t, "a", "new", "dead", "d", "other")...)
	var failed *worker.EnqueueError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failed, 3, "a and d are known")
	for _, id := range []string{"new", "other"} {
		require.ErrorIs(t, failed.Failed[id], worker.ErrRefused)
		require.ErrorContains(t, failed.Failed[id], "OOM")
	}
	require.Equal(t, &worker.FinishedError{ID: "dead", State: worker.StateFailed}, failed.Failed["dead"])
	require.NoError(t, q.Enqueue(ctx, named(t, "a", "d")...), "known ids are no refusal")
	require.Equal(t, before, s.keyNames())
	require.NotContains(t, s.hash("jobs"), "new")

	// Everything else goes on.
	require.NoError(t, c.(worker.Checkpointer).Checkpoint(ctx, jobs[0], []byte("1")))
	settle(t, c, worker.ActionComplete, jobs[0])
	settle(t, c, worker.ActionRetry, jobs[1])
	settle(t, c, worker.ActionBury, jobs[2])
	mark, err := q.MarkCanceled(ctx, "default", "d")
	require.NoError(t, err)
	require.Equal(t, worker.PlaceWaiting, mark.Place)
	_, err = q.RemoveCanceled(ctx, "default", "d")
	require.NoError(t, err)
	other := open(t, q, 0)
	rest := claimN(t, other, 4)
	require.ElementsMatch(t, []string{"e", "f", "b", "later"}, ids(rest))
	settle(t, other, worker.ActionComplete, rest[0])
	require.NoError(t, other.Close(ctx))
	last := claimN(t, c, 3)
	settle(t, c, worker.ActionComplete, last...)
	require.NoError(t, c.Close(ctx))
	require.Equal(t, []string{"dead", "history", "jobs", "rates", "token"}, withoutWake(s.keyNames()))
	require.Len(t, s.hash("jobs"), 3, "the dead ones")
}

func withoutWake(names []string) []string {
	var rest []string
	for _, name := range names {
		if name != "wake" && name != "void" {
			rest = append(rest, name)
		}
	}
	return rest
}

// A job that cannot be encoded was certainly not written.
func TestEnqueueRefusesWhatCannotBeEncoded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		jobs := named(t, "bad", "good")
		jobs[0].Payload = nil
		jobs[0].Headers = map[string]string{"x": strings.Repeat("y", 1<<20)}
		var failed *worker.EnqueueError
		require.ErrorAs(t, q.Enqueue(context.Background(), jobs...), &failed)
		require.Len(t, failed.Failed, 1)
		require.ErrorIs(t, failed.Failed["bad"], worker.ErrRefused)
		accounted(t, s, "good")
	})
}

// A replica's word about known ids does not count: it may know what its master has long forgotten.
func TestEnqueueOnAReplicaIsRefused(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	enqueue(t, q, named(t, "a")...)
	s.ok("REPLICAOF", "127.0.0.1", "1") // nobody is there
	var failed *worker.EnqueueError
	require.ErrorAs(t, q.Enqueue(context.Background(), named(t, "a", "b")...), &failed)
	for _, id := range []string{"a", "b"} {
		require.ErrorIs(t, failed.Failed[id], worker.ErrRefused)
		require.ErrorContains(t, failed.Failed[id], "READONLY")
	}
}

func TestRefusalsByWholeServers(t *testing.T) {
	s := onMini(t)
	q := s.queue(redisqueue.Config{})
	for text, refused := range map[string]bool{
		"OOM command not allowed when used memory > 'maxmemory'.": true, "LOADING Redis is loading": true,
		"something else": false,
	} {
		s.mini.SetError(text)
		err := q.Enqueue(context.Background(), newJob(t))
		s.mini.SetError("")
		require.ErrorContains(t, err, text)
		require.Equal(t, refused, isRefused(err), text)
	}
}

func isRefused(err error) bool { return strings.Contains(err.Error(), worker.ErrRefused.Error()) }

// Nothing is written when a key has the wrong type, whichever it is.
func TestWrongTypesAreFoundBeforeAnythingIsWritten(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		for _, name := range []string{"pending", "jobs", "history", "scheduled", "dead", "wake"} {
			t.Run(name, func(t *testing.T) {
				s.ok("FLUSHALL")
				s.ok("SET", key(name), "x")
				err := q.Enqueue(context.Background(), newJob(t), newJob(t, worker.After(time.Hour)))
				require.ErrorContains(t, err, "WRONGTYPE")
				require.Equal(t, []string{name}, s.keyNames())
			})
		}
	})
}

func TestWrongTypesStopClaimsAndVerdictsBeforeAJobIsLost(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		ctx := context.Background()
		for i, name := range []string{
			"pending", "suspects", "jobs", "history", "checkpoints", "cancels", "void", "scheduled", "wake", "token", "dead",
		} {
			t.Run(name, func(t *testing.T) {
				s.ok("FLUSHALL")
				c, err := q.Consume(ctx, "default", worker.ConsumeOptions{})
				require.NoError(t, err)
				enqueue(t, q, named(t, "held", "waits")...)
				held := claim(t, c, 1)[0]
				require.Equal(t, "held", held.ID)
				broken := key(name) + strconv.Itoa(i)
				s.do("RENAME", key(name), broken)
				s.ok("SET", key(name), "not a number")

				jobs, _ := c.Claim(ctx, worker.ClaimOptions{Limit: 1})
				verdict := worker.Verdict{Job: held, Action: worker.ActionBury}
				if name == "pending" || name == "suspects" || name == "wake" {
					verdict.Action = worker.ActionRelease
				}
				_ = c.Settle(ctx, verdict)

				s.ok("DEL", key(name))
				s.do("RENAME", broken, key(name))
				require.NoError(t, c.Settle(ctx, verdict))
				if len(jobs) == 0 {
					claimN(t, c, 1)
				}
				require.NoError(t, c.Close(ctx))
				accounted(t, s, "held", "waits")
			})
		}
	})
}
