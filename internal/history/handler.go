package history

import (
	"context"
	"errors"
	"strings"

	"github.com/real-staging-ai/go-worker"
)

// Handler is a worker.Middleware that writes the start and the finish of every run.
func (s *Scribe) Handler(next worker.Handler) worker.Handler {
	return func(ctx context.Context, job *worker.Job) (err error) {
		s.Write(Event{Op: OpStart, Job: job.ID, Token: job.Token, Attempt: job.Attempt, Crashes: job.Crashes,
			Sum: Sum(job.Payload)})
		finish := Event{Op: OpFinish, Job: job.ID, Token: job.Token, Outcome: OutcomeRetry, Text: "panicked or ended its goroutine"}
		defer func() { s.Write(finish) }()
		err = next(ctx, job)
		finish.Outcome, finish.Text = OutcomeOf(ctx, err), ""
		if err != nil {
			finish.Text = err.Error()
		}
		return err
	}
}

// OutcomeOf tells what a pool makes of a handler's error. A job that its handler cancels counts as OutcomeRetry, and so does
// one whose last attempt this was.
func OutcomeOf(ctx context.Context, err error) Outcome {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, worker.ErrLeaseLost):
		return OutcomeLost
	case err == nil:
		return OutcomeSuccess
	case errors.Is(cause, worker.ErrCanceled):
		return OutcomeCancel
	case errors.Is(cause, worker.ErrShutdown):
		return OutcomeGiveBack
	case worker.IsPermanent(err):
		return OutcomeFailure
	case strings.Contains(err.Error(), "snooze for "):
		return OutcomeSnooze
	}
	return OutcomeRetry
}

// ResultOf tells what an error of Client.Enqueue, EnqueueMany or Push says of one job. A job that has finished was
// accepted before.
func ResultOf(err error, job string) Result {
	var each *worker.EnqueueError
	if errors.As(err, &each) {
		err = each.Failed[job]
	}
	switch {
	case err == nil, errors.As(err, new(*worker.FinishedError)):
		return ResultOK
	case errors.Is(err, worker.ErrRefused), errors.As(err, new(*worker.DuplicateError)):
		return ResultFailed
	}
	return ResultUnknown
}

// ResultOfEdit tells what an error of Client.Edit or RunNow says.
func ResultOfEdit(err error) Result {
	switch {
	case errors.Is(err, worker.ErrRefused), errors.Is(err, worker.ErrCanceled), errors.Is(err, worker.ErrJobChanged):
		return ResultFailed
	}
	return ResultOfControl(err)
}

// ResultOfControl tells what an error of Client.Cancel, Requeue or Delete says. One that was refused may have been refused half-way:
// its status is saved by then, and the round is open, or the job canceled.
func ResultOfControl(err error) Result {
	switch {
	case err == nil:
		return ResultOK
	case errors.Is(err, worker.ErrJobNotFound), errors.Is(err, worker.ErrJobActive), errors.As(err, new(*worker.FinishedError)):
		return ResultFailed
	}
	return ResultUnknown
}
