package integration

import (
	"context"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// client is a producer whose cancels and requeues are noted. What it enqueues is noted by rig.accept.
type client struct {
	*worker.Client
	hist *chronicle
}

// Cancel cancels a job.
func (c *client) Cancel(ctx context.Context, id string, opts ...worker.JobOption) (worker.State, error) {
	state, err := c.Client.Cancel(ctx, id, opts...)
	c.hist.write(event{Op: history.OpCancel, Job: id, Result: history.ResultOfControl(err), State: state})
	return state, err
}

// Requeue opens a new round of a job.
func (c *client) Requeue(ctx context.Context, id string, opts ...worker.JobOption) error {
	err := c.Client.Requeue(ctx, id, opts...)
	c.hist.write(event{Op: history.OpRequeue, Job: id, Result: history.ResultOfControl(err)})
	return err
}
