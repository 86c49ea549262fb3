package worker

import (
	"context"
	"errors"
	"fmt"
)

// Push enqueues jobs whose first status is in the store already: after the commit of a transaction that wrote it, as
// sqlstatus's EnqueueTx does. It writes no status, but announces the first one. When it fails, or the process dies
// before it, nothing is lost: calling it again is safe, and a sweep enqueues the jobs that the queue doesn't know. Each
// call announces again, which a Notifier that knows versions, as redisnotify does, leaves out once the job has gone on.
//
// Jobs whose id the queue knows as ended are listed in an *EnqueueError with a *FinishedError, and their rows end, too, if
// they still wait for their first run or the store is a Getter.
func (c *Client) Push(ctx context.Context, jobs ...*Job) error {
	return c.send(ctx, "push", jobs, c.pushAndTell)
}

// pushAndTell pushes, and tells of all jobs that they wait but of those of which the queue knows better.
func (c *Client) pushAndTell(ctx context.Context, jobs []*Job) error {
	err := c.push(ctx, jobs, c.tokenOf)
	refused := &EnqueueError{}
	errors.As(err, &refused)
	for _, job := range jobs {
		if !errors.As(refused.Failed[job.ID], new(*FinishedError)) {
			c.notes.announce(waitingStatus(job, 0))
		}
	}
	return err
}

// tokenOf returns the token of a job's row, 0 when it cannot be read.
func (c *Client) tokenOf(ctx context.Context, id string) int64 {
	if c.getter == nil {
		return 0
	}
	row, err := c.getter.Get(ctx, id)
	if err != nil || row == nil {
		return 0
	}
	return row.Token()
}

// push enqueues jobs that have a row. A refusal says nothing about how they end: they go on waiting for the next try. The
// end of those that the queue knows as dead is recorded under the tokens of their rows, which no later writer is
// overruled by.
func (c *Client) push(ctx context.Context, jobs []*Job, token func(context.Context, string) int64) error {
	err := c.queue.Enqueue(ctx, jobs...)
	refused := (*EnqueueError)(nil)
	if !errors.As(err, &refused) {
		if err != nil {
			return fmt.Errorf("push: %w", err)
		}
		return nil
	}
	finished, tokens := make(map[string]error), make(map[string]int64)
	for id, why := range refused.Failed {
		if errors.As(why, new(*FinishedError)) {
			finished[id], tokens[id] = why, token(ctx, id)
		}
	}
	c.saveRefused(ctx, jobs, tokens, finished)
	return refused
}
