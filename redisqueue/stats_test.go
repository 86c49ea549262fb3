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

func stats(t testing.TB, q *redisqueue.Queue) worker.QueueStats {
	t.Helper()
	counts, err := q.Stats(context.Background(), "default")
	require.NoError(t, err)
	require.Equal(t, "default", counts.Queue)
	return counts
}

// enqueuedBefore makes a job that was enqueued a while ago.
func enqueuedBefore(t testing.TB, id string, ago time.Duration) *worker.Job {
	t.Helper()
	job := newJob(t, worker.WithID(id))
	job.EnqueuedAt = time.UnixMilli(time.Now().Add(-ago).UnixMilli())
	return job
}

// millis writes a time as it stands in Redis.
func millis(at time.Time) string { return strconv.FormatInt(at.UnixMilli(), 10) }

func TestStatsCountJobsByState(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		require.Equal(t, worker.QueueStats{Queue: "default"}, stats(t, q))
		require.Empty(t, s.keyNames(), "nothing is written")
		c := open(t, q, 0)
		other := open(t, q, 0)
		enqueue(t, q, newJobs(t, 10)...)
		enqueue(t, q, newJob(t, worker.After(time.Hour)), newJob(t, worker.After(time.Hour)), newJob(t, worker.After(time.Hour)))
		jobs := claim(t, c, 3)
		claim(t, other, 2)
		settle(t, c, worker.ActionBury, jobs[0])
		suspect(t, s, "s", 2)
		got := stats(t, q)
		got.OldestAge = 0
		require.Equal(t, worker.QueueStats{
			Queue: "default", Waiting: 6, Scheduled: 3, Running: 4, Dead: 1, Workers: 2,
		}, got)
	})
}

func TestStatsOfAQueueThatCannotBe(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		_, err := s.queue(redisqueue.Config{}).Stats(context.Background(), "no queue")
		require.Error(t, err)
	})
}

// Entries that no longer count are not counted, be they few or many.
func TestStatsSubtractVoidEntries(t *testing.T) {
	for _, n := range []int{3, 150} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				jobs := enqueue(t, q, newJobs(t, n)...)
				enqueue(t, q, newJobs(t, 2)...)
				for _, job := range jobs {
					mark(t, q, job.ID)
					remove(t, q, job.ID)
				}
				got := stats(t, q)
				require.EqualValues(t, 2, got.Waiting)
				require.EqualValues(t, n, got.Dead)
				// One id twice: exact as long as there are few.
				require.NoError(t, q.Reopen(context.Background(), jobs[0]))
				mark(t, q, jobs[0].ID)
				remove(t, q, jobs[0].ID)
				require.Equal(t, "2", s.hash("void")[jobs[0].ID])
				if n < 100 {
					require.EqualValues(t, 2, stats(t, q).Waiting)
				}
				s.ok("HSET", key("void"), "garbage", "garbage", "much", "9999")
				require.GreaterOrEqual(t, stats(t, q).Waiting, int64(0))
			})
		})
	}
}

// busy is how much older a job may be by the time that its age is asked for. The ages here are further apart.
const busy = 20 * time.Second

// What is due waits, though no worker has promoted it.
func TestStatsCountDueJobsAsWaiting(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		enqueue(t, q, newJob(t, worker.WithID("a"), worker.After(time.Hour)), newJob(t, worker.After(2*time.Hour)))
		require.Zero(t, stats(t, q).OldestAge)
		s.ok("ZADD", key("scheduled"), millis(time.Now().Add(-time.Minute)), "a")
		got := stats(t, q)
		require.EqualValues(t, 1, got.Waiting)
		require.EqualValues(t, 1, got.Scheduled)
		require.InDelta(t, time.Minute, got.OldestAge, float64(busy))
	})
}

// The age is that of the job that is next in line, of those that say since when they could run.
func TestStatsTellTheOldestAge(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		age := func(want time.Duration, why string) {
			t.Helper()
			require.InDelta(t, want, stats(t, q).OldestAge, float64(busy), why)
		}
		ago := func(d time.Duration) string { return millis(time.Now().Add(-d)) }
		raw(t, s, enqueuedBefore(t, "old", time.Hour))
		raw(t, s, enqueuedBefore(t, "new", time.Minute))
		age(time.Hour, "the head")
		s.ok("HSET", key("history"), "old", "1 0 "+ago(10*time.Minute))
		age(10*time.Minute, "it became due again")
		s.ok("HSET", key("history"), "old", "0 1 "+ago(9*time.Minute)+" 00-x-x-00")
		age(9*time.Minute, "with a trace")
		for _, unknown := range []string{"1 0", "0 1", "1 1 garbage", "1 1 -5", "1 1 99999999999999999", "1 1 0"} {
			s.ok("HSET", key("history"), "old", unknown)
			age(time.Minute, "the next one tells: "+unknown)
		}
		for _, known := range []string{"0 0", "garbage", "", "x y z"} {
			s.ok("HSET", key("history"), "old", known)
			age(time.Hour, "nothing happened: "+known)
		}
		s.ok("HSET", key("void"), "old", "1")
		age(time.Minute, "an entry that doesn't count")
		s.ok("DEL", key("void"))
		s.ok("HDEL", key("jobs"), "old")
		age(time.Minute, "an entry without a body")
		s.ok("HSET", key("jobs"), "old", "no line")
		age(time.Minute, "a body without a header")
		s.ok("HSET", key("jobs"), "old", "{}\n1")
		require.Zero(t, stats(t, q).OldestAge, "a header that is no job's")
		s.ok("DEL", key("pending"), key("jobs"), key("history"))
		for range 20 { // a worker took them down
			raw(t, s, enqueuedBefore(t, "crashed", time.Hour))
		}
		s.ok("HSET", key("history"), "crashed", "0 1")
		age(time.Hour, "none of those at the head tells: at most since they were enqueued")
		s.ok("DEL", key("pending"))
		suspect(t, s, "s", 2)
		s.ok("HSET", key("history"), "s", "0 2 "+ago(3*time.Minute))
		age(3*time.Minute, "a suspect")
		for range 20 {
			s.ok("LPUSH", key("pending"), "nothing")
			s.ok("LPUSH", key("suspects"), "nothing")
		}
		require.Zero(t, stats(t, q).OldestAge, "it doesn't search for ever")
	})
}

// A clock that goes ahead makes no age of less than nothing.
func TestStatsTellNoNegativeAge(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		raw(t, s, enqueuedBefore(t, "a", -time.Hour))
		require.Zero(t, stats(t, q).OldestAge)
	})
}

// A worker counts while its lease runs, what it holds until it was taken over.
func TestStatsCountWorkersWhoseLeaseRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		now := time.Now()
		s.ok("ZADD", key("workers"), millis(now.Add(time.Minute)), "alive", millis(now.Add(-time.Second)), "expired",
			"0", "fenced", millis(now.Add(2*time.Hour)), "absurd")
		s.ok("HSET", key("inflight:alive"), "a", "1")
		s.ok("HSET", key("inflight:expired"), "b", "2")
		s.ok("HSET", key("inflight:fenced"), "c", "3", "d", "4")
		got := stats(t, q)
		require.Equal(t, 1, got.Workers)
		require.EqualValues(t, 4, got.Running)
	})
}

// It costs as many commands, and as little of a reply, whatever waits.
func TestStatsCostTheSameForAnyBacklog(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{Lease: time.Hour})
	open(t, q, 0)
	cost := func() int {
		done := monitor(t, s)
		stats(t, q)
		return len(done())
	}
	enqueue(t, q, newJobs(t, 1)...)
	little := cost()
	for range 20 {
		enqueue(t, q, newJobs(t, 500)...)
	}
	require.Equal(t, little, cost())
	require.Less(t, little, 20)
}

// The body stays in Redis: what comes is its first line.
func TestStatsBringNoPayload(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	enqueue(t, q, sized(t, "a", mebibyte))
	stats(t, q) // the script is known
	sent := func() int {
		for line := range strings.Lines(s.text("INFO", "stats")) {
			if text, ok := strings.CutPrefix(line, "total_net_output_bytes:"); ok {
				n, err := strconv.Atoi(strings.TrimSpace(text))
				require.NoError(t, err)
				return n
			}
		}
		return 0
	}
	before := sent()
	stats(t, q)
	require.Less(t, sent()-before, 64<<10)
}

func TestStatsAtMaxmemory(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	enqueue(t, q, newJobs(t, 3)...)
	open(t, q, 0)
	s.ok("CONFIG", "SET", "maxmemory", "1")
	require.EqualValues(t, 3, stats(t, q).Waiting)
	s.ok("SCRIPT", "FLUSH")
	require.EqualValues(t, 3, stats(t, q).Waiting)
}
