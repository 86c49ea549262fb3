package workertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

type greeting struct {
	Name string `json:"name"`
}

func (greeting) JobType() string { return "greeting" }

func greet(ctx context.Context, job *worker.Job, p greeting) error {
	job.Progress(0.5, "half way")
	if err := job.Checkpoint(ctx, "greeted "+p.Name); err != nil {
		return err
	}
	return job.SetResult("hello " + p.Name)
}

// greetings is a registry with one handler.
func greetings(h worker.HandlerFunc[greeting], defaults ...worker.JobOption) *worker.Registry {
	r := worker.NewRegistry()
	worker.Handle(r, h, defaults...)
	return r
}

// returns is a handler that returns err.
func returns(err error) worker.HandlerFunc[greeting] {
	return func(context.Context, *worker.Job, greeting) error { return err }
}

// failing runs do with a T of its own and returns what it failed with, nothing if it did not.
func failing(t *testing.T, do func(workertest.T)) string {
	t.Helper()
	f := &fakeT{ctx: t.Context()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(f)
	}()
	<-done
	return f.failure
}

type fakeT struct {
	ctx     context.Context
	failure string
}

func (f *fakeT) Helper()                  {}
func (f *fakeT) Context() context.Context { return f.ctx }
func (f *fakeT) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestRun(t *testing.T) {
	got := workertest.Run(t, greetings(greet), greeting{"Ada"},
		worker.WithID("a"), worker.WithHeader("lang", "en"), worker.OnQueue("mail"), worker.After(time.Hour))
	require.NoError(t, got.Err)
	assert.Equal(t, worker.StateSucceeded, got.State)
	assert.True(t, got.Ran)
	assert.Zero(t, got.Delay)
	assert.Equal(t, "a", got.Job.ID)
	assert.Equal(t, "mail", got.Job.Queue)
	assert.Equal(t, "en", got.Job.Headers["lang"])
	assert.Equal(t, 1, got.Job.Attempt)
	assert.JSONEq(t, `"hello Ada"`, string(got.Job.Result()))
	assert.Equal(t, []workertest.Progress{{Fraction: 0.5, Message: "half way"}}, got.Progress)
	assert.Equal(t, []json.RawMessage{json.RawMessage(`"greeted Ada"`)}, got.Checkpoints)
	var last string
	found, err := got.Job.LastCheckpoint(&last)
	require.NoError(t, err)
	assert.True(t, found)
	assert.Equal(t, "greeted Ada", last)
}

func TestRunJudgesAsAPoolDoes(t *testing.T) {
	flaky := errors.New("flaky")
	for name, c := range map[string]struct {
		handler  worker.HandlerFunc[greeting]
		opts     []worker.JobOption
		state    worker.State
		min, max time.Duration // of the delay
		err      error
	}{
		"retry": {handler: returns(flaky), state: worker.StateRetrying, max: 2 * time.Second, err: flaky},
		"the last attempt": {handler: returns(flaky), opts: []worker.JobOption{worker.MaxAttempts(3),
			func(j *worker.Job) { j.Attempt = 3 }}, state: worker.StateFailed, err: flaky},
		"retry after": {handler: returns(worker.RetryAfter(time.Minute, flaky)), state: worker.StateRetrying,
			min: time.Minute, max: time.Minute, err: flaky},
		"permanent": {handler: returns(fmt.Errorf("greet: %w", worker.Permanent(flaky))), state: worker.StateFailed, err: flaky},
		"cancel":    {handler: returns(worker.Cancel(flaky)), state: worker.StateCanceled, err: flaky},
		"snooze":    {handler: returns(worker.Snooze(time.Hour)), state: worker.StateScheduled, min: time.Hour, max: time.Hour},
		"panic": {handler: func(context.Context, *worker.Job, greeting) error { panic(flaky) },
			state: worker.StateRetrying, max: 2 * time.Second, err: flaky},
		"goexit": {handler: func(context.Context, *worker.Job, greeting) error { runtime.Goexit(); return nil },
			state: worker.StateRetrying, max: 2 * time.Second, err: worker.ErrGoexit},
		"timeout": {handler: func(ctx context.Context, _ *worker.Job, _ greeting) error { <-ctx.Done(); return ctx.Err() },
			opts:  []worker.JobOption{worker.Timeout(time.Minute)},
			state: worker.StateRetrying, max: 2 * time.Second, err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := workertest.Run(t, greetings(c.handler), greeting{"Ada"}, c.opts...)
				assert.Equal(t, c.state, got.State)
				assert.GreaterOrEqual(t, got.Delay, c.min)
				assert.LessOrEqual(t, got.Delay, c.max)
				require.ErrorIs(t, got.Err, c.err)
				assert.True(t, got.Ran)
			})
		})
	}
}

func TestRunShowsAPanic(t *testing.T) {
	got := workertest.Run(t, greetings(func(context.Context, *worker.Job, greeting) error { panic("boom") }), greeting{})
	var panicked *worker.PanicError
	require.ErrorAs(t, got.Err, &panicked)
	assert.Equal(t, "boom", panicked.Value)
	assert.Contains(t, string(panicked.Stack), "run_test.go")
}

func TestRunLaterAttempt(t *testing.T) {
	resume := func(_ context.Context, job *worker.Job, _ greeting) error {
		var step int
		if found, err := job.LastCheckpoint(&step); !found || err != nil {
			return fmt.Errorf("checkpoint found: %v, error: %w", found, err)
		}
		return fmt.Errorf("attempt %d, step %d, crashes %d", job.Attempt, step, job.Crashes)
	}
	past := func(j *worker.Job) { j.Attempt, j.CheckpointData, j.Crashes = 3, []byte("7"), 2 }
	got := workertest.Run(t, greetings(resume), greeting{}, past)
	require.EqualError(t, got.Err, "attempt 3, step 7, crashes 2")
}

func TestRunRefusesAsAPoolDoes(t *testing.T) {
	for name, c := range map[string]struct {
		option worker.JobOption
		err    error
	}{
		"expired":          {worker.ExpireAt(time.Now().Add(-time.Hour)), worker.ErrExpired},
		"a crash too many": {func(j *worker.Job) { j.Crashes = 3 }, worker.ErrCrashLoop},
	} {
		t.Run(name, func(t *testing.T) {
			got := workertest.Run(t, greetings(greet), greeting{}, c.option)
			assert.Equal(t, worker.StateFailed, got.State)
			require.ErrorIs(t, got.Err, c.err)
			require.ErrorIs(t, got.Job.Reject, c.err)
			assert.False(t, got.Ran)
		})
	}
}

func TestRunAppliesTheHandlersDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := workertest.Run(t, greetings(func(ctx context.Context, _ *worker.Job, _ greeting) error {
			deadline, _ := ctx.Deadline()
			return fmt.Errorf("%v", time.Until(deadline))
		}, worker.Timeout(time.Hour), worker.MaxAttempts(1)), greeting{})
		require.EqualError(t, got.Err, "1h0m0s")
		assert.Equal(t, worker.StateFailed, got.State)
	})
}

func TestRunGoesThroughTheMiddleware(t *testing.T) {
	var around []string
	denied := errors.New("denied")
	registry := greetings(greet)
	registry.Use(func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, job *worker.Job) error {
			around = append(around, "before")
			if job.Headers["user"] == "" {
				return worker.Permanent(denied)
			}
			defer func() { around = append(around, "after") }()
			return next(ctx, job)
		}
	})
	got := workertest.Run(t, registry, greeting{"Ada"})
	require.ErrorIs(t, got.Err, denied)
	assert.False(t, got.Ran, "the middleware kept the job from the handler")
	got = workertest.Run(t, registry, greeting{"Ada"}, worker.WithHeader("user", "1"))
	require.NoError(t, got.Err)
	assert.True(t, got.Ran)
	assert.Equal(t, []string{"before", "before", "after"}, around)
}

func TestRunSeesProgressThatComesTooFast(t *testing.T) {
	got := workertest.Run(t, greetings(func(_ context.Context, job *worker.Job, _ greeting) error {
		for i := range 1000 {
			job.Progress(float64(i), "")
		}
		return nil
	}), greeting{})
	require.Len(t, got.Progress, 1000)
	assert.Equal(t, workertest.Progress{Fraction: 999}, got.Progress[999], "unclamped")
}

func TestRunOfAHandlerThatIgnoresItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		got := workertest.Run(t, greetings(func(_ context.Context, job *worker.Job, _ greeting) error {
			<-free
			job.Progress(1, "too late")
			return nil
		}), greeting{}, worker.Timeout(time.Minute))
		assert.Equal(t, worker.StateRetrying, got.State)
		require.ErrorIs(t, got.Err, worker.ErrAbandoned)
		assert.GreaterOrEqual(t, got.Delay, 10*time.Second, "a lease: it still runs")
		close(free)
		synctest.Wait()
		assert.Empty(t, got.Progress)
	})
}

// picky is a payload that accepts itself only before it is sent.
type picky struct {
	sent bool
	Name string
}

func (picky) JobType() string { return "picky" }

func (p picky) Validate() error {
	if !p.sent {
		return errors.New("not what was sent")
	}
	return nil
}

func TestRunValidates(t *testing.T) {
	registry := worker.NewRegistry()
	worker.Handle(registry, func(context.Context, *worker.Job, picky) error { panic("called") })
	got := workertest.Run(t, registry, picky{sent: true})
	var bad *worker.DecodeError
	require.ErrorAs(t, got.Err, &bad)
	assert.Equal(t, worker.StateFailed, got.State)
	assert.True(t, strings.HasSuffix(got.Err.Error(), "not what was sent"))
}

func TestRunFailsTheTest(t *testing.T) {
	for want, do := range map[string]func(workertest.T){
		"not what was sent": func(t workertest.T) { workertest.Run(t, greetings(greet), picky{}) },
		`the registry has no handler for "picky"`: func(t workertest.T) {
			workertest.Run(t, greetings(greet), picky{sent: true})
		},
		"Registry is missing": func(t workertest.T) { workertest.Run(t, nil, greeting{}) },
		"payload has 1":       func(t workertest.T) { workertest.Run(t, greetings(greet), greeting{strings.Repeat("x", 1<<20)}) },
	} {
		assert.Contains(t, failing(t, do), want)
	}
}

func TestRunsShareARegistry(t *testing.T) {
	registry := greetings(greet)
	for range 3 { // room for more in the slice of middleware
		registry.Use(func(next worker.Handler) worker.Handler { return next })
	}
	for range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			assert.Len(t, workertest.Run(t, registry, greeting{"Ada"}).Progress, 1)
		})
	}
}

type strict struct{ N int }

func (strict) JobType() string { return "strict" }

// Validate has a pointer receiver, where worker.Handle finds it as well.
func (s *strict) Validate() error {
	if s.N < 0 {
		return errors.New("N is negative")
	}
	return nil
}

func TestDecodesAsAWorkerDoes(t *testing.T) {
	job := &worker.Job{ID: "1", Payload: []byte(`{"N":-1}`)}
	_, err := worker.DecodePayload[strict](job)
	assert.ErrorContains(t, err, "N is negative")
	assert.True(t, worker.IsPermanent(err))
	_, err = worker.NewJob(strict{-1})
	assert.ErrorContains(t, err, "N is negative")
}

func TestRunThroughCrash(t *testing.T) {
	var calls atomic.Int32
	registry := greetings(func(ctx context.Context, job *worker.Job, p greeting) error {
		calls.Add(1)
		return greet(ctx, job, p)
	})
	for _, inBubble := range []bool{false, true} {
		run := func(t *testing.T) {
			calls.Store(0)
			start := time.Now()
			got := workertest.RunThroughCrash(t, registry, workertest.BeforeSave, greeting{"Ada"})
			if inBubble { // where the time is exact
				assert.Less(t, time.Since(start), 3*time.Second, "a lease is 10 s, a call to a store up to 5")
			}
			assert.Equal(t, int32(2), calls.Load())
			assert.True(t, got.Ran)
			assert.Equal(t, worker.StateSucceeded, got.State)
			assert.Equal(t, 1, got.Job.Crashes)
			assert.Equal(t, 1, got.Job.Attempt)
			assert.Len(t, got.Progress, 1, "of the second worker only")

			calls.Store(0)
			got = workertest.RunThroughCrash(t, registry, workertest.BeforeSettle, greeting{"Ada"})
			assert.Equal(t, int32(1), calls.Load())
			assert.False(t, got.Ran, "its status says that it is over")
			assert.Equal(t, worker.StateSucceeded, got.State)
			assert.Equal(t, 1, got.Job.Crashes)
		}
		if inBubble {
			synctest.Test(t, run)
		} else {
			run(t)
		}
	}
}

func TestRunThroughCrashOfAFailure(t *testing.T) {
	calls := 0
	registry := greetings(func(_ context.Context, job *worker.Job, _ greeting) error {
		if calls++; calls == 1 {
			return errors.New("flaky")
		}
		var last string
		found, err := job.LastCheckpoint(&last)
		return errors.Join(err, job.SetResult(fmt.Sprint(found, job.Attempt)))
	})
	got := workertest.RunThroughCrash(t, registry, workertest.BeforeSettle, greeting{},
		func(j *worker.Job) { j.Attempt, j.CheckpointData = 2, []byte(`"far"`) })
	assert.Equal(t, 2, calls, "it was to be retried, so it is run again")
	assert.Equal(t, worker.StateSucceeded, got.State)
	assert.JSONEq(t, `"true 2"`, string(got.Job.Result()))
}

func TestRunThroughCrashTooMany(t *testing.T) {
	got := workertest.RunThroughCrash(t, greetings(greet), workertest.BeforeSave, greeting{},
		func(j *worker.Job) { j.Crashes = 2 })
	assert.Equal(t, worker.StateFailed, got.State)
	require.ErrorIs(t, got.Err, worker.ErrCrashLoop)
	assert.False(t, got.Ran)
}

func TestRunThroughCrashFailsTheTest(t *testing.T) {
	for want, do := range map[string]func(workertest.T){
		"there is no crash point 0": func(t workertest.T) { workertest.RunThroughCrash(t, greetings(greet), 0, greeting{}) },
		`the registry has no handler for "picky"`: func(t workertest.T) {
			workertest.RunThroughCrash(t, greetings(greet), workertest.BeforeSave, picky{sent: true})
		},
	} {
		assert.Contains(t, failing(t, do), want)
	}
}
