package redisqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// gate is a client whose calls wait until it is opened. It counts them.
type gate struct {
	rueidis.Client
	calls  atomic.Int64
	open   chan struct{}
	panics atomic.Bool // the calls that come now do
	deaf   bool        // they don't hear that their contexts end
}

func (g *gate) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	if command.Commands()[0] == "SADD" { // the queue's name, once
		return g.Client.Do(ctx, command)
	}
	g.calls.Add(1)
	if g.panics.Load() {
		panic("ouch")
	}
	if g.deaf {
		<-g.open
	}
	select {
	case <-g.open:
	case <-ctx.Done():
	}
	return g.Client.Do(ctx, command)
}

// gated is a queue behind a gate, inside a bubble.
type gated struct {
	*gate
	t     *testing.T
	queue *redisqueue.Queue
	held  chan error // of the call that waits at the gate
}

// gatedQueue returns a queue of which one Enqueue, of first, waits at the gate.
func gatedQueue(ctx context.Context, t *testing.T, s *server, first ...*worker.Job) *gated {
	g := &gated{t: t, gate: &gate{Client: s.client, open: make(chan struct{})}}
	cfg, _ := quiet()
	for _, source := range redisqueue.Scripts() {
		s.ok("SCRIPT", "LOAD", source) // or the first calls would be two
	}
	var err error
	g.queue, err = redisqueue.New(g.gate, cfg)
	require.NoError(t, err)
	g.held = g.enqueue(ctx, first...)
	return g
}

// enqueue begins an Enqueue and returns when it waits.
func (g *gated) enqueue(ctx context.Context, jobs ...*worker.Job) chan error {
	result := make(chan error, 1)
	go func() { result <- g.queue.Enqueue(ctx, jobs...) }()
	synctest.Wait()
	return result
}

func TestConcurrentEnqueuesShareACallInTheirOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		jobs := newJobs(t, 16)
		g := gatedQueue(t.Context(), t, s, jobs[0])
		var results []chan error
		for _, job := range jobs[1:] {
			results = append(results, g.enqueue(t.Context(), job))
		}
		require.Equal(t, 1, g.requireDone(results...), "and then one for all others")
		require.Equal(t, ids(jobs), s.list("pending"))
	})
}

// requireDone opens the gate, requires that nothing fails, and returns how many calls were made after that.
func (g *gated) requireDone(results ...chan error) int {
	g.t.Helper()
	before := g.calls.Load()
	close(g.open)
	for _, result := range append(results, g.held) {
		require.NoError(g.t, receive(g.t, result))
	}
	return int(g.calls.Load() - before)
}

// When much has gathered another call goes, though none has returned: but not more than four.
func TestManyEnqueuesKeepSeveralCallsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		var results []chan error
		for i := range 100 {
			results = append(results, g.enqueue(t.Context(), newJob(t)))
			require.EqualValues(t, min(4, 1+(i+1)/16), g.calls.Load())
		}
		require.Equal(t, 1, g.requireDone(results...))
		require.Len(t, s.list("pending"), 101)
	})
}

func TestSharedCallsHaveLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		var results []chan error
		for range 3 {
			results = append(results, g.enqueue(t.Context(), newJobs(t, 400)...))
		}
		require.EqualValues(t, 4, g.calls.Load(), "each is worth a call")
		for range 3 {
			results = append(results, g.enqueue(t.Context(), newJobs(t, 200)...)) // two of them fit
		}
		results = append(results, g.enqueue(t.Context(), largeJob(t)), g.enqueue(t.Context(), newJob(t)))
		require.Equal(t, 4, g.requireDone(results...), "400 jobs, 200, the large one by itself, the last one")
		require.Len(t, s.list("pending"), 1+1200+600+2)
	})
}

func largeJob(t *testing.T) *worker.Job {
	job := newJob(t)
	job.Payload = []byte(`"` + strings.Repeat("x", 300<<10) + `"`)
	return job
}

func TestWhatIsLargeIsWorthACall(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		large := g.enqueue(t.Context(), largeJob(t))
		require.EqualValues(t, 2, g.calls.Load())
		g.requireDone(large)
	})
}

// A server that doesn't answer keeps nobody for longer than two calls may take, and nothing is sent long afterwards.
func TestNobodyWaitsLongForOthersCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		var results []chan error
		for range 20 {
			results = append(results, g.enqueue(context.Background(), newJobs(t, 500)...))
		}
		time.Sleep(6 * time.Second) // twice the Timeout
		synctest.Wait()
		notSent := 0
		for _, result := range results {
			require.Len(t, result, 1, "it waits still")
			var failed *worker.EnqueueError
			require.ErrorAs(t, <-result, &failed)
			for _, err := range failed.Failed {
				if errors.Is(err, worker.ErrRefused) {
					notSent++
				}
			}
		}
		require.Positive(t, notSent)
		before := len(s.list("pending"))
		close(g.open)
		time.Sleep(time.Minute)
		require.Len(t, s.list("pending"), before)
	})
}

func TestAClientThatPanicsFailsItsCallersOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		a, b := g.enqueue(t.Context(), newJob(t)), g.enqueue(t.Context(), newJob(t))
		g.panics.Store(true)
		close(g.open)
		require.NoError(t, receive(t, g.held))
		for _, result := range []chan error{a, b} {
			var failed *worker.EnqueueError
			require.ErrorAs(t, receive(t, result), &failed)
			for _, err := range failed.Failed {
				require.NotErrorIs(t, err, worker.ErrRefused, "nobody knows")
			}
		}
		g.panics.Store(false)
		require.NoError(t, receive(t, g.enqueue(t.Context(), newJob(t))))
	})
}

func TestEachCallerHearsOfItsOwnJobs(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "failed")...)
		settle(t, c, worker.ActionBury, claim(t, c, 1)...)
		waits := enqueue(t, q, named(t, "waits")...)

		g := gatedQueue(t.Context(), t, s, newJob(t))
		news := g.enqueue(t.Context(), named(t, "new 1", "new 2", "new 3")...)
		mixed := g.enqueue(t.Context(), named(t, "new 4", "failed", "waits")...)
		again := g.enqueue(t.Context(), waits...)
		twice := g.enqueue(t.Context(), named(t, "new 1")...)
		close(g.open)
		for _, result := range []chan error{g.held, news, again, twice} {
			require.NoError(t, receive(t, result))
		}
		var failed *worker.EnqueueError
		require.ErrorAs(t, receive(t, mixed), &failed)
		require.Len(t, failed.Failed, 1)
		require.ErrorAs(t, failed.Failed["failed"], new(*worker.FinishedError))
	})
}

func TestAnErrorOfASharedCallIsEachCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		a, b := g.enqueue(t.Context(), newJob(t)), g.enqueue(t.Context(), newJob(t))
		s.mini.SetError("LOADING Redis is loading the dataset in memory")
		close(g.open)
		for _, result := range []chan error{g.held, a, b} {
			var failed *worker.EnqueueError
			require.ErrorAs(t, receive(t, result), &failed)
			for _, err := range failed.Failed {
				require.ErrorIs(t, err, worker.ErrRefused)
			}
		}
		s.mini.SetError("")
		require.NoError(t, receive(t, g.enqueue(t.Context(), newJob(t))))
	})
}

// requireGaveUp requires that an Enqueue ended with its context, and says whether it was sent: then nobody knows.
func requireGaveUp(t *testing.T, err error, sent bool) {
	t.Helper()
	var failed *worker.EnqueueError
	require.ErrorAs(t, err, &failed)
	for _, err := range failed.Failed {
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, !sent, errors.Is(err, worker.ErrRefused))
	}
}

func TestWhoGivesUpTakesNoOtherAlong(t *testing.T) {
	t.Run("first in line", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *server) {
			first, cancel := context.WithCancel(t.Context())
			g := gatedQueue(first, t, s, newJob(t))
			job := newJob(t)
			other := g.enqueue(t.Context(), job)
			cancel()
			requireGaveUp(t, receive(t, g.held), true)
			close(g.open)
			require.NoError(t, receive(t, other))
			require.Contains(t, s.list("pending"), job.ID)
		})
	})
	t.Run("waiting", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *server) {
			g := gatedQueue(t.Context(), t, s, newJob(t))
			impatient, cancel := context.WithCancel(t.Context())
			jobs := newJobs(t, 2)
			gaveUp, other := g.enqueue(impatient, jobs[0]), g.enqueue(t.Context(), jobs[1])
			cancel()
			requireGaveUp(t, receive(t, gaveUp), false)
			requireGaveUp(t, g.queue.Enqueue(impatient, jobs[0]), false)
			g.requireDone(other)
			require.Len(t, s.list("pending"), 2)
			require.NotContains(t, s.list("pending"), jobs[0].ID)
		})
	})
	t.Run("sent for", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *server) {
			g := gatedQueue(t.Context(), t, s, newJob(t))
			impatient, cancel := context.WithCancel(t.Context())
			gaveUp := g.enqueue(impatient, newJobs(t, 16)...)
			cancel()
			requireGaveUp(t, receive(t, gaveUp), true)
			g.requireDone()
		})
	})
}

// Few wait for a call that hangs: it may be on a connection that is dead, and others are not.
func TestACallThatHangsKeepsNobodyWaitingForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		var results []chan error
		for calls := range int64(10) {
			results = append(results, g.enqueue(t.Context(), newJob(t)))
			require.Equal(t, min(calls+1, 4), g.calls.Load())
			time.Sleep(40 * time.Millisecond)
			synctest.Wait()
			require.Equal(t, min(calls+2, 4), g.calls.Load())
		}
		g.requireDone(results...)
	})
}

// Of jobs that would share a call only those that have waited for too long are given up.
func TestWhatHasJustComeIsSentThoughOthersHaveWaitedForTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		for range 3 {
			g.enqueue(t.Context(), newJobs(t, 16)...)
		}
		early := g.enqueue(context.Background(), newJob(t))
		time.Sleep(2 * time.Second)
		job := newJob(t)
		late := g.enqueue(context.Background(), job)
		time.Sleep(time.Second) // the calls end
		synctest.Wait()
		close(g.open)
		require.ErrorIs(t, receive(t, early), worker.ErrRefused)
		require.NoError(t, receive(t, late))
		require.Contains(t, s.list("pending"), job.ID)
	})
}

// A client may be slower than the contexts of its calls.
func TestAClientThatOverstaysKeepsNobodyElseWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s)
		g.deaf = true
		for range 4 {
			g.enqueue(t.Context(), newJobs(t, 16)...)
		}
		waiting := g.enqueue(t.Context(), newJob(t))
		time.Sleep(3*time.Second + 50*time.Millisecond)
		synctest.Wait()
		require.Len(t, waiting, 1, "it waits still")
		require.ErrorIs(t, <-waiting, worker.ErrRefused)
		close(g.open)
	})
}

func TestWhatIsWorthACallIsNotLeftBehindALoneJob(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		g := gatedQueue(t.Context(), t, s, newJob(t))
		results := []chan error{g.enqueue(t.Context(), newJob(t)), g.enqueue(t.Context(), newJobs(t, 500)...)}
		require.EqualValues(t, 3, g.calls.Load())
		g.requireDone(results...)
	})
}

func TestQueueNamesOfProducersAreNotKept(t *testing.T) {
	s := onMini(t)
	q, err := redisqueue.New(s.client, redisqueue.Config{}) // as it is: what a test watches takes longer
	require.NoError(t, err)
	for i := range 1_100 {
		require.NoError(t, q.Enqueue(t.Context(), newJob(t, worker.OnQueue(fmt.Sprintf("tenant-%d", i)))))
	}
	require.LessOrEqual(t, redisqueue.Outboxes(q), 1_001)
}
