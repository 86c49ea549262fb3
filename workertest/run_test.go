package workertest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
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

func TestRun(t *testing.T) {
	job, err := workertest.Run(t, greet, greeting{"Ada"}, worker.WithID("a"), worker.WithHeader("lang", "en"))
	require.NoError(t, err)
	assert.Equal(t, "a", job.ID)
	assert.Equal(t, "en", job.Headers["lang"])
	assert.Equal(t, 1, job.Attempt)
	assert.JSONEq(t, `"hello Ada"`, string(job.Result()))
	var last string
	found, err := job.LastCheckpoint(&last)
	require.NoError(t, err)
	assert.True(t, found)
	assert.Equal(t, "greeted Ada", last)
}

func TestRunLaterAttempt(t *testing.T) {
	resume := func(_ context.Context, job *worker.Job, _ *greeting) error {
		var step int
		if found, err := job.LastCheckpoint(&step); !found || err != nil {
			return fmt.Errorf("checkpoint found: %v, error: %w", found, err)
		}
		return worker.RetryAfter(time.Minute, fmt.Errorf("attempt %d, step %d", job.Attempt, step))
	}
	job, err := workertest.Run(t, resume, &greeting{}, func(j *worker.Job) {
		j.Attempt, j.CheckpointData = 3, []byte("7")
	})
	require.EqualError(t, err, "attempt 3, step 7")
	assert.Equal(t, 3, job.Attempt)
}

func TestRunTimeout(t *testing.T) {
	slow := func(ctx context.Context, _ *worker.Job, _ greeting) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	_, err := workertest.Run(t, slow, greeting{}, worker.Timeout(time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
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
	never := func(context.Context, *worker.Job, picky) error { panic("called") }
	_, err := workertest.Run(t, never, picky{sent: true})
	var bad *worker.DecodeError
	require.ErrorAs(t, err, &bad)
	assert.True(t, worker.IsPermanent(err))
	assert.True(t, strings.HasSuffix(err.Error(), "not what was sent"))
}

func TestRunsJobIsFoundInTheContext(t *testing.T) {
	var found *worker.Job
	job, err := workertest.Run(t, func(ctx context.Context, _ *worker.Job, _ greeting) error {
		found, _ = worker.JobFromContext(ctx)
		return nil
	}, greeting{"Ada"})
	require.NoError(t, err)
	assert.Same(t, job, found)
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
