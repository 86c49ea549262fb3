package workertest

import (
	"context"
	"encoding/json"
	"reflect"
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

	received, err := decode[P](job.Payload)
	if err != nil {
		return job, worker.Permanent(&worker.DecodeError{ID: job.ID, Body: job.Payload, Err: err})
	}
	ctx := worker.ContextWithJob(t.Context(), job)
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, job.Timeout)
		defer cancel()
	}
	return job, h(ctx, job, received)
}

// decode makes a payload of its JSON, as worker.Handle does.
func decode[P worker.Payload](data []byte) (P, error) {
	var payload P
	into := any(&payload)
	if t := reflect.TypeFor[P](); t.Kind() == reflect.Pointer {
		payload = reflect.New(t.Elem()).Interface().(P)
		into = payload
	}
	if err := json.Unmarshal(data, into); err != nil {
		return payload, err
	}
	if v, ok := any(payload).(interface{ Validate() error }); ok {
		return payload, v.Validate()
	}
	return payload, nil
}
