package redisqueue_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

const (
	traceA = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traceB = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"
)

func putBack(t testing.TB, c worker.Consumer, vs ...worker.Verdict) {
	t.Helper()
	require.NoError(t, c.Settle(context.Background(), vs...))
}

func TestAPlainJobCouldRunSinceItWasEnqueuedOrDue(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		start := time.Now()
		later := start.Add(time.Minute)
		enqueue(t, q, newJob(t), newJob(t, worker.At(later)), newJob(t, worker.At(start.Add(-time.Hour))))
		time.Sleep(2 * time.Minute)
		jobs := claim(t, c, 3)
		require.WithinDuration(t, start, jobs[0].RunnableAt, time.Millisecond)
		require.WithinDuration(t, start, jobs[1].RunnableAt, time.Millisecond, "a RunAt that had passed")
		require.WithinDuration(t, later, jobs[2].RunnableAt, time.Millisecond)
		for _, job := range jobs {
			require.Empty(t, job.PreviousTrace)
		}
	})
}

// Each put-back that has a delay says when the job is due again, by Redis's clock, and carries the trace.
func TestAPutBackTellsSinceWhenAndByWhichTrace(t *testing.T) {
	for _, action := range []worker.Action{worker.ActionRetry, worker.ActionSnooze, worker.ActionRelease} {
		t.Run(action.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				c := open(t, q, 0)
				enqueue(t, q, named(t, "a")...)
				for _, trace := range []string{traceA, traceB} {
					job := claimN(t, c, 1)[0]
					time.Sleep(time.Second)
					due := time.Now().Add(time.Minute)
					putBack(t, c, worker.Verdict{Job: job, Action: action, Delay: time.Minute, Trace: trace})
					require.True(t, strings.HasSuffix(s.hash("history")["a"], " 0 "+millis(due)+" "+trace), s.hash("history")["a"])
					time.Sleep(2 * time.Minute)
					job = claim(t, c, 1)[0]
					require.WithinDuration(t, due, job.RunnableAt, time.Millisecond)
					require.Equal(t, trace, job.PreviousTrace)
					putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionRelease})
				}
				settle(t, c, worker.ActionComplete, claim(t, c, 1)...)
				require.NotContains(t, s.keyNames(), "history")
			})
		})
	}
}

// A release without a trace says that no attempt has run: that of the one before stays. Without a delay either, nothing
// is written.
func TestAReleaseLeavesTheTraceOfTheAttemptBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "plain")...)
		jobs := claim(t, c, 2)
		putBack(t, c, worker.Verdict{Job: jobs[0], Action: worker.ActionRetry, Trace: traceA},
			worker.Verdict{Job: jobs[1], Action: worker.ActionRelease})
		require.NotContains(t, s.hash("history"), "plain")
		first := time.Now()
		time.Sleep(time.Minute)
		jobs = claim(t, c, 2)
		require.Equal(t, []string{"plain", "a"}, ids(jobs))
		require.WithinDuration(t, first, jobs[1].RunnableAt, time.Millisecond)
		putBack(t, c, worker.Verdict{Job: jobs[1], Action: worker.ActionRelease})
		job := claim(t, c, 1)[0]
		require.Equal(t, traceA, job.PreviousTrace)
		require.WithinDuration(t, first, job.RunnableAt, time.Millisecond, "it could run all the while")
		putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionRelease, Delay: time.Second})
		job = claimN(t, c, 1)[0]
		require.Equal(t, traceA, job.PreviousTrace)
		require.WithinDuration(t, first.Add(time.Minute+time.Second), job.RunnableAt, time.Millisecond)
		time.Sleep(time.Minute)
		putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionRelease, Trace: traceB})
		now := time.Now()
		time.Sleep(time.Minute)
		job = claim(t, c, 1)[0]
		require.Equal(t, traceB, job.PreviousTrace, "an attempt was broken off")
		require.WithinDuration(t, now, job.RunnableAt, time.Millisecond)
		putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionSnooze})
		require.Empty(t, claimN(t, c, 1)[0].PreviousTrace, "a snooze without a trace has none")
	})
}

func TestACrashForgetsSinceWhenAndTheTrace(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		dead := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b")...)
		jobs := claim(t, dead, 2)
		putBack(t, dead, worker.Verdict{Job: jobs[0], Action: worker.ActionRetry, Trace: traceA})
		claimN(t, dead, 1)
		redisqueue.Kill(dead)
		c := open(t, q, 0)
		for _, job := range claimN(t, c, 2) {
			require.Equal(t, 1, job.Crashes)
			require.Zero(t, job.RunnableAt)
			require.Empty(t, job.PreviousTrace)
			putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionSnooze, Trace: traceB})
		}
		for _, job := range claimN(t, c, 2) {
			require.Equal(t, 1, job.Crashes)
			require.Equal(t, traceB, job.PreviousTrace)
			require.WithinDuration(t, time.Now(), job.RunnableAt, time.Second)
		}
	})
}

// Close gives back what is held as it was.
func TestCloseKeepsSinceWhenAndTheTrace(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		putBack(t, c, worker.Verdict{Job: claim(t, c, 1)[0], Action: worker.ActionRetry, Trace: traceA})
		before := s.hash("history")["a"]
		claimN(t, c, 1)
		require.NoError(t, c.Close(context.Background()))
		require.Equal(t, before, s.hash("history")["a"])
	})
}

// What is no traceparent is not kept, on the way in and on the way out.
func TestWhatIsNoTraceIsDropped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		for _, bad := range []string{
			"x", traceA + "0", traceA[:54], strings.ToUpper(traceA), "ff" + traceA[2:], strings.Replace(traceA, "-", " ", 1),
			strings.Replace(traceA, "0a", "0\n", 1), strings.Repeat("0", 55), strings.Repeat("-", 55), strings.Repeat("é", 30),
		} {
			job := claimN(t, c, 1)[0]
			require.Empty(t, job.PreviousTrace)
			putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionRetry, Trace: bad})
			require.Regexp(t, `^\d+ 0 \d{13}$`, s.hash("history")["a"], bad)
			s.ok("HSET", key("history"), "a", s.hash("history")["a"]+" "+bad)
		}
	})
}

// Values of older versions have two words; the words after them may be anything.
func TestWhatHistorySaysOfTheTimeIsReadOrIgnored(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{Timeout: patience}) // miniredis takes long to read a mebibyte in Lua
		c := open(t, q, 9)
		at := time.UnixMilli(1763930000000).UTC()
		enqueued := time.UnixMilli(time.Now().UnixMilli()).UTC()
		for _, tt := range []struct {
			value            string
			attempt, crashes int
			since            time.Time
			trace            string
		}{
			{"0 0", 1, 0, enqueued, ""},
			{"2 0", 3, 0, time.Time{}, ""},
			{"0 1", 1, 1, time.Time{}, ""},
			{"1 0 1763930000000", 2, 0, at, ""},
			{"0 1 1763930000000 " + traceA, 1, 1, at, traceA},
			{"0 0 1763930000000 " + traceA + " more", 1, 0, at, traceA},
			{"1 0 1763930000000  " + traceA, 2, 0, at, ""},
			{"1 0 01763930000000 " + traceA, 2, 0, time.Time{}, ""},
			{"1 0 176393000000000000 " + traceA, 2, 0, time.Time{}, ""},
			{"1 0 -1 " + traceA, 2, 0, time.Time{}, ""},
			{"1 0 0 " + traceA, 2, 0, time.Time{}, ""},
			{"1 0 1e3 " + traceA, 2, 0, time.Time{}, ""},
			{"1 0 17x " + traceA, 2, 0, time.Time{}, ""},
			{"1 0 " + traceA, 2, 0, time.Time{}, ""},
			{"0 0 f 1763930000000", 1, 0, enqueued, ""},
			{"garbage", 1, 0, enqueued, ""},
			{" 1763930000000", 1, 0, enqueued, ""},
			{"\xff\x00 \xff 1763930000000", 1, 0, at, ""},
			{"0 0 " + strings.Repeat("9", mebibyte), 1, 0, enqueued, ""},
			{"0 0 1763930000000 " + strings.Repeat("9", mebibyte), 1, 0, at, ""},
		} {
			name := tt.value[:min(len(tt.value), 80)]
			job := newJob(t, worker.WithID("a"))
			job.EnqueuedAt = enqueued
			raw(t, s, job)
			s.ok("HSET", key("history"), "a", tt.value)
			got := claim(t, c, 1)[0]
			require.NoError(t, got.Reject, name)
			require.Equal(t, tt.attempt, got.Attempt, name)
			require.Equal(t, tt.crashes, got.Crashes, name)
			require.Equal(t, tt.since, got.RunnableAt, name)
			require.Equal(t, tt.trace, got.PreviousTrace, name)
			settle(t, c, worker.ActionComplete, got)
		}
		require.NotContains(t, s.keyNames(), "history")
	})
}

// A canceled job is handed out before it is due, in order not to be run: it could run since now.
func TestACanceledJobCouldNotRunInTheFuture(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		putBack(t, c, worker.Verdict{Job: claim(t, c, 1)[0], Action: worker.ActionRetry, Delay: time.Hour, Trace: traceA})
		mark(t, q, "a")
		job := claimN(t, c, 1)[0]
		require.ErrorIs(t, job.Reject, worker.ErrCanceled)
		require.WithinDuration(t, time.Now(), job.RunnableAt, time.Second)
		putBack(t, c, worker.Verdict{Job: job, Action: worker.ActionSnooze, Delay: time.Hour})
		require.Equal(t, "0", strings.Fields(s.hash("history")["a"])[1])
		require.Equal(t, millis(time.Now()), strings.Fields(s.hash("history")["a"])[2], "one that is marked is due at once")
	})
}

// However a job that was put back ends, nothing of it stays but what dead ones keep.
func TestNothingOfAPutBackOutlivesItsJob(t *testing.T) {
	dead := func(state string) map[string]string { return map[string]string{"a": state} }
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, q *redisqueue.Queue, c worker.Consumer)
		left map[string]string
	}{
		{"complete", func(t *testing.T, _ *redisqueue.Queue, c worker.Consumer) {
			settle(t, c, worker.ActionComplete, claimN(t, c, 1)...)
		}, map[string]string{}},
		{"bury", func(t *testing.T, _ *redisqueue.Queue, c worker.Consumer) {
			settle(t, c, worker.ActionBury, claimN(t, c, 1)...)
		}, dead("0 0 f ")},
		{"cancel", func(t *testing.T, _ *redisqueue.Queue, c worker.Consumer) {
			settle(t, c, worker.ActionCancel, claimN(t, c, 1)...)
		}, dead("0 0 c ")},
		{"canceled while it waits", func(t *testing.T, q *redisqueue.Queue, _ worker.Consumer) {
			mark(t, q, "a")
			remove(t, q, "a")
		}, dead("0 0 c")},
		{"reopened", func(t *testing.T, q *redisqueue.Queue, c worker.Consumer) {
			settle(t, c, worker.ActionBury, claimN(t, c, 1)...)
			require.NoError(t, q.Reopen(context.Background(), named(t, "a")[0]))
		}, map[string]string{}},
		{"crash", func(t *testing.T, _ *redisqueue.Queue, c worker.Consumer) {
			claimN(t, c, 1)
			redisqueue.Kill(c)
			time.Sleep(time.Minute)
		}, dead("0 1")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				c := open(t, q, 0)
				open(t, q, 0)
				enqueue(t, q, named(t, "a")...)
				putBack(t, c, worker.Verdict{Job: claim(t, c, 1)[0], Action: worker.ActionSnooze, Trace: traceA})
				tt.end(t, q, c)
				require.Equal(t, tt.left, s.hash("history"))
			})
		})
	}
}
