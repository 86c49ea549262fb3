package workertest

import (
	"context"
	"testing"

	"github.com/real-staging-ai/go-worker"
)

// Run runs a handler once on a job as a worker would receive it: the payload is encoded, decoded and validated on its
// way, and one that doesn't survive that is the error a worker would fail the job with. It returns that job, whose
// Result and CheckpointData show what the handler set, and the handler's error. A panic goes through.
//
// The options are those of an enqueue; one of the test's own may also set Attempt, Crashes and CheckpointData, to run a
// later attempt. No pool stands behind the job: Progress does nothing.
func Run[P worker.Payload](
	t testing.TB, h worker.HandlerFunc[P], payload P, opts ...worker.JobOption,
) (*worker.Job, error) {
	t.Helper()
	sent, err := worker.NewJob(payload, opts...)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	job := copyJob(sent)
	job.Attempt, job.Crashes, job.Token = max(sent.Attempt, 1), sent.Crashes, 1
	job.CheckpointData = sent.CheckpointData

	received, err := worker.DecodePayload[P](job)
	if err != nil {
		return job, err
	}
	ctx := worker.ContextWithJob(t.Context(), job)
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, job.Timeout)
		defer cancel()
	}
	return job, h(ctx, job, received)
}
