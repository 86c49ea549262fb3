package workertest

import (
	"context"
	"encoding/json"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// T is what the helpers need of a test: *testing.T, *testing.B and testing.TB have it. Fatalf does not return.
type T interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// Result is what became of one claim of one job, as a pool judged it.
type Result struct {
	// Job is the job as the worker received it. Its Result method and LastCheckpoint tell what the handler left; Attempt,
	// Crashes and Reject, how it came.
	Job *worker.Job
	// State is the job's state afterwards.
	State worker.State
	// Delay is how long it is until the job runs again, for StateRetrying and StateScheduled.
	Delay time.Duration
	// Err is why the job didn't succeed: what the handler returned, a *worker.PanicError, a *worker.DecodeError, or why
	// it was not run. Ask it with errors.Is and errors.As. Nil for a success, and for a snooze.
	Err error
	// Ran tells whether the handler was called. It is not when middleware keeps the job from it, when Job.Reject says so,
	// and when the job's status was final before.
	Ran bool
	// Progress is all that the handler reported, oldest first, also what came too fast to be saved.
	Progress []Progress
	// Checkpoints are those that the queue took, oldest first.
	Checkpoints []json.RawMessage
}

// Progress is one call of Job.Progress.
type Progress struct {
	Fraction float64 // as it was given
	Message  string
}

// stateAfter is the state that a verdict leaves a job in.
func stateAfter(action worker.Action) worker.State {
	switch action {
	case worker.ActionComplete:
		return worker.StateSucceeded
	case worker.ActionRetry:
		return worker.StateRetrying
	case worker.ActionSnooze:
		return worker.StateScheduled
	case worker.ActionBury:
		return worker.StateFailed
	case worker.ActionCancel:
		return worker.StateCanceled
	}
	return worker.StateQueued // released
}
