package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

const (
	scheduled = worker.StateScheduled
	queued    = worker.StateQueued
	running   = worker.StateRunning
	retrying  = worker.StateRetrying
	succeeded = worker.StateSucceeded
	failed    = worker.StateFailed
	canceled  = worker.StateCanceled
)

func TestJobRunsAndIsRecordedAndTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, job *worker.Job, p ping) error {
			found, ok := worker.JobFromContext(ctx)
			assert.True(t, ok)
			assert.Same(t, job, found)
			assert.Equal(t, 1, job.Attempt)
			return job.SetResult(map[string]int{"got": p.N})
		}).start()
		job := r.enqueue(7)
		r.quiet()
		assert.Equal(t, []worker.State{queued, running, succeeded}, r.states(job.ID))
		assert.Equal(t, []worker.State{queued, running, succeeded}, r.toldStates(job.ID))
		st := r.last(job.ID)
		assert.JSONEq(t, `{"got":7}`, string(st.Result))
		assert.Equal(t, 1.0, st.Progress)
		assert.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
		r.stop()
	})
}

func TestWithoutStoreTheUserHearsOfWhatIsSettled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			job.Progress(0.5, "half")
			return nil
		}, withoutStore).start()
		job := r.enqueue(1)
		r.quiet()
		assert.Equal(t, []worker.State{queued, running, running, succeeded}, r.toldStates(job.ID))
		assert.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
		r.stop()
	})
}

// TestHandlersAnswers holds each thing that a handler can answer to what becomes of the job.
func TestHandlersAnswers(t *testing.T) {
	tests := []struct {
		name    string
		answer  func(attempt int) error
		opts    []worker.JobOption
		states  []worker.State
		err     string
		passes  time.Duration // until it is over
		attempt int
	}{
		{name: "success", answer: func(int) error { return nil },
			states: []worker.State{queued, running, succeeded}, attempt: 1},
		{name: "an error is retried", answer: failUntil(3), passes: time.Minute,
			states: []worker.State{queued, running, retrying, running, retrying, running, succeeded}, attempt: 3},
		{name: "the last attempt fails", answer: failUntil(9), opts: []worker.JobOption{worker.MaxAttempts(2)},
			states: []worker.State{queued, running, retrying, running, failed}, err: "flaky", passes: time.Minute, attempt: 2},
		{name: "permanent", answer: func(int) error { return fmt.Errorf("no: %w", worker.Permanent(errFlaky)) },
			states: []worker.State{queued, running, failed}, err: "no: flaky", attempt: 1},
		{name: "cancel", answer: func(int) error { return worker.Cancel(errFlaky) },
			states: []worker.State{queued, running, canceled}, err: "flaky", attempt: 1},
		{name: "retry after", answer: func(a int) error {
			if a == 1 {
				return worker.RetryAfter(time.Hour, errFlaky)
			}
			return nil
		}, states: []worker.State{queued, running, retrying, running, succeeded}, passes: time.Hour + time.Second, attempt: 2},
		{name: "the window closes", answer: failUntil(9),
			opts:   []worker.JobOption{worker.WithRetry(worker.RetryPolicy{MaxAttempts: 99, Base: time.Hour, Window: time.Nanosecond})},
			states: []worker.State{queued, running, failed}, err: "flaky", passes: time.Minute, attempt: 1},
		{name: "a panic", answer: func(int) error { panic("ouch") }, opts: []worker.JobOption{worker.MaxAttempts(1)},
			states: []worker.State{queued, running, failed}, err: "panic: ouch", attempt: 1},
		{name: "a panic is retried", answer: func(a int) error {
			if a == 1 {
				panic(errFlaky)
			}
			return nil
		}, states: []worker.State{queued, running, retrying, running, succeeded}, passes: time.Minute, attempt: 2},
		{name: "Goexit", answer: func(int) error { runtime.Goexit(); return nil }, opts: []worker.JobOption{worker.MaxAttempts(1)},
			states: []worker.State{queued, running, failed}, err: "runtime.Goexit", attempt: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error { return tt.answer(job.Attempt) }).start()
				job := r.enqueue(1, tt.opts...)
				r.after(tt.passes)
				assert.Equal(t, tt.states, r.states(job.ID))
				assert.Equal(t, tt.states, r.toldStates(job.ID))
				st := r.last(job.ID)
				assert.Contains(t, st.Error, tt.err)
				assert.Equal(t, tt.attempt, st.Attempt)
				want := worker.PlaceUnknown
				if st.State != succeeded {
					want = worker.PlaceDead
				}
				assert.Equal(t, want, r.queue.Place("default", job.ID))
				second := r.enqueue(2, worker.MaxAttempts(1))
				r.quiet()
				assert.True(t, r.last(second.ID).State.Final(), "the slot goes on")
				r.stop()
			})
		})
	}
}

func failUntil(n int) func(int) error {
	return func(attempt int) error {
		if attempt < n {
			return errFlaky
		}
		return nil
	}
}

func TestSnoozeBurnsNoAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var calls atomic.Int32
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			assert.Equal(t, 1, job.Attempt)
			if calls.Add(1) < 20 {
				return worker.Snooze(time.Minute)
			}
			return nil
		}).start()
		job := r.enqueue(1, worker.MaxAttempts(1))
		r.quiet()
		assert.Equal(t, scheduled, r.last(job.ID).State)
		assert.WithinDuration(t, time.Now().Add(time.Minute), r.last(job.ID).RunAt, 0)
		r.after(time.Hour)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		assert.EqualValues(t, 20, calls.Load())
		r.stop()
	})
}

func TestTimeoutCancelsTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.WithinDuration(t, time.Now().Add(time.Minute), deadline, 0)
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), context.DeadlineExceeded)
			return ctx.Err()
		}).start()
		job := r.enqueue(1, worker.Timeout(time.Minute), worker.MaxAttempts(1))
		r.after(time.Minute)
		assert.Equal(t, failed, r.last(job.ID).State)
		assert.Contains(t, r.last(job.ID).Error, "deadline exceeded")
		r.stop()
	})
}

func TestHandlerThatIgnoresItsContextIsAbandoned(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var late error
		r := newRig(t, func(ctx context.Context, job *worker.Job, p ping) error {
			if p.N == 1 && job.Attempt == 1 {
				<-release
				job.Progress(1, "too late")
				late = job.Checkpoint(context.Background(), 1)
				assert.ErrorIs(t, job.SetResult(1), worker.ErrAbandoned)
			}
			return nil
		}, func(c *worker.Config) { c.Concurrency = 2; c.CancelGrace = time.Second }).start()
		job := r.enqueue(1, worker.Timeout(time.Minute), worker.WithRetry(worker.Exponential(2, 1, 1)))
		r.after(time.Minute + 2*time.Second)
		assert.Equal(t, retrying, r.last(job.ID).State)
		assert.GreaterOrEqual(t, time.Until(r.last(job.ID).RunAt), 7*time.Second, "it waits for a lease: the handler still runs")
		other := r.enqueue(2)
		r.quiet()
		assert.Equal(t, succeeded, r.last(other.ID).State, "the slot goes on")
		r.after(time.Minute)
		assert.Equal(t, []worker.State{queued, running, retrying, running, succeeded}, r.states(job.ID))
		close(release)
		r.quiet()
		assert.ErrorIs(t, late, worker.ErrAbandoned)
		r.stop()
	})
}

func TestClaimsStopWhenAllSlotsAreHeldByAbandonedHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			if p.N == 1 {
				<-release
			}
			return nil
		}, func(c *worker.Config) { c.Concurrency = 1; c.CancelGrace = time.Second }).start()
		r.enqueue(1, worker.Timeout(time.Minute), worker.MaxAttempts(1))
		r.after(2 * time.Minute)
		other := r.enqueue(2)
		r.after(time.Minute)
		assert.Equal(t, queued, r.last(other.ID).State)
		close(release)
		r.quiet()
		assert.Equal(t, succeeded, r.last(other.ID).State, "it goes on when one has returned")
		r.stop()
	})
}

func TestUnknownTypeIsPutBackAndFailsAfterADay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		job := r.enqueue(1, worker.MaxAttempts(1))
		r.after(time.Hour)
		assert.Equal(t, queued, r.last(job.ID).State)
		r.after(24 * time.Hour)
		st := r.last(job.ID)
		assert.Equal(t, failed, st.State)
		assert.Contains(t, st.Error, `no worker knows this job type: "ping"`)
		assert.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		r.stop()
	})
}

func TestUnknownTypeRunsOnTheWorkerThatKnowsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		stranger := newRig(t, nil).start()
		job := stranger.enqueue(1, worker.MaxAttempts(1))
		stranger.quiet()
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			assert.Equal(t, 1, job.Attempt)
			return nil
		}, func(c *worker.Config) { c.Queue, c.StatusStore = stranger.queue, stranger.store }).start()
		r.after(5 * time.Minute)
		assert.Equal(t, succeeded, stranger.last(job.ID).State)
		r.stop()
		stranger.stop()
	})
}

func TestUndecodablePayloadFailsAtOnceWithItsBytesKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { panic("not called") }).start()
		job := &worker.Job{Type: "ping", Payload: json.RawMessage(`{"n": "seven" }`)}
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), job))
		r.quiet()
		assert.Equal(t, []worker.State{queued, running, failed}, r.states(job.ID))
		kept, _, err := r.queue.DrawToken(t.Context(), "default", job.ID)
		require.NoError(t, err)
		assert.Equal(t, `{"n": "seven" }`, string(kept.Payload))
		r.stop()
	})
}

func TestGarbageInTheQueueIsBuried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil }).start()
		r.queue.EnqueueRaw("default", "bad", []byte("\x00garbage"))
		good := r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, worker.PlaceDead, r.queue.Place("default", "bad"))
		assert.Equal(t, failed, r.last("bad").State)
		assert.Equal(t, "job:bad", r.last("bad").Topic)
		assert.Equal(t, succeeded, r.last(good.ID).State)
		r.stop()
	})
}

func TestExpiredJobDoesNotRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { panic("not called") })
		job := r.enqueue(1, worker.ExpireAt(time.Now().Add(time.Minute)))
		r.after(2 * time.Minute)
		r.start()
		r.quiet()
		assert.Equal(t, []worker.State{queued, failed}, r.states(job.ID))
		assert.Contains(t, r.last(job.ID).Error, "expired")
		r.stop()
	})
}

func TestOptionsRankEnqueueHandlerPool(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		deadlines := map[int]time.Duration{}
		r := newRig(t, nil, func(c *worker.Config) {
			c.JobTimeout = 3 * time.Minute
			c.Retry.MaxAttempts = 9
			c.Concurrency = 1
			worker.Handle(c.Registry, func(ctx context.Context, _ *worker.Job, p ping) error {
				d, _ := ctx.Deadline()
				deadlines[p.N] = time.Until(d)
				return nil
			}, worker.Timeout(2*time.Minute))
			c.Registry.Handle("raw", func(ctx context.Context, _ *worker.Job) error {
				d, _ := ctx.Deadline()
				deadlines[0] = time.Until(d)
				return nil
			})
		}).start()
		one := r.enqueue(1, worker.Timeout(time.Minute), worker.MaxAttempts(4))
		two := r.enqueue(2)
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), &worker.Job{Type: "raw", Payload: json.RawMessage(`1`)}))
		r.quiet()
		assert.Equal(t, map[int]time.Duration{1: time.Minute, 2: 2 * time.Minute, 0: 3 * time.Minute}, deadlines)
		assert.Equal(t, 4, r.last(one.ID).MaxAttempts)
		assert.Equal(t, 9, r.last(two.ID).MaxAttempts)
		r.stop()
	})
}

func TestMiddlewareWrapsInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var calls []string
		wrap := func(name string) worker.Middleware {
			return func(next worker.Handler) worker.Handler {
				return func(ctx context.Context, job *worker.Job) error {
					calls = append(calls, name)
					return next(ctx, job)
				}
			}
		}
		r := newRig(t, func(context.Context, *worker.Job, ping) error { calls = append(calls, "handler"); return nil },
			func(c *worker.Config) { c.Registry.Use(wrap("outer"), wrap("inner")) }).start()
		r.enqueue(1)
		r.quiet()
		assert.Equal(t, []string{"outer", "inner", "handler"}, calls)
		r.stop()
	})
}

func TestProgressIsThrottledAndTheLastOneCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			for i := range 1000 {
				job.Progress(float64(i)/1000, fmt.Sprint("step ", i))
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Second)
			return nil
		}).start()
		job := r.enqueue(1)
		r.after(3 * time.Second)
		history := r.store.History(job.ID)
		assert.Len(t, history, 14, "queued, running, 11 of progress, succeeded")
		assert.Equal(t, "step 999", history[12].Message)
		for i := 1; i < len(history); i++ {
			assert.Greater(t, history[i].Version, history[i-1].Version)
			assert.GreaterOrEqual(t, history[i].Progress, history[i-1].Progress)
		}
		r.stop()
	})
}

func TestCheckpointSurvivesAttempts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			var step int
			found, err := job.LastCheckpoint(&step)
			assert.NoError(t, err)
			assert.Equal(t, job.Attempt > 1, found)
			assert.Equal(t, job.Attempt-1, step)
			assert.NoError(t, job.Checkpoint(ctx, job.Attempt))
			return failUntil(3)(job.Attempt)
		}).start()
		job := r.enqueue(1)
		r.after(time.Minute)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

func TestBareJobKeepsItsReports(t *testing.T) {
	job, err := worker.NewJob(ping{1})
	require.NoError(t, err)
	job.Progress(0.5, "nobody listens")
	require.NoError(t, job.SetResult("done"))
	assert.Equal(t, `"done"`, string(job.Result()))
	var v int
	found, err := job.LastCheckpoint(&v)
	require.NoError(t, err)
	assert.False(t, found)
	require.NoError(t, job.Checkpoint(t.Context(), 5))
	found, err = job.LastCheckpoint(&v)
	require.NoError(t, err)
	assert.True(t, found)
	assert.Equal(t, 5, v)
	assert.Error(t, job.SetResult(make(chan int)))
	assert.ErrorContains(t, job.SetResult(make([]byte, worker.MaxResultSize)), "the limit is 1048576")
	assert.ErrorContains(t, job.Checkpoint(t.Context(), make([]byte, worker.MaxCheckpointSize)), "the limit is 1048576")
}

func TestPanicErrorUnwraps(t *testing.T) {
	err := error(&worker.PanicError{Value: errFlaky})
	assert.ErrorIs(t, err, errFlaky)
	assert.NoError(t, errors.Unwrap(&worker.PanicError{Value: "text"}))
}
