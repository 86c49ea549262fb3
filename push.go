package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// Push enqueues jobs whose first status is in the store already: after the commit of a transaction that wrote it, as
// sqlstatus's EnqueueTx does. It writes no status, but announces the first one. When it fails, or the process dies
// before it, nothing is lost: calling it again is safe, and a sweep enqueues the jobs that the queue doesn't know. Each
// call announces again, which a Notifier that knows versions, as redisnotify does, leaves out once the job has gone on.
//
// Jobs whose unique key another one has are listed with a *DuplicateError, and their rows end as canceled. Where that cannot
// be recorded, or the job has run before, the error is another one: the row waits for a sweep that finds the key free. One
// with UniquePolicy.Replace takes the place of a waiting one that was enqueued before it, and is listed all the same:
// nothing runs under its id.
//
// Jobs whose id the queue knows as ended are listed in an *EnqueueError with a *FinishedError, and their rows end, too, if
// they still wait for their first run or the store is a Getter; but not where a Requeue has opened a round.
func (c *Client) Push(ctx context.Context, jobs ...*Job) error {
	return c.send(ctx, "push", jobs, c.pushAndTell)
}

// pushAndTell pushes, and tells of all jobs that they wait but of those of which the queue knows better.
func (c *Client) pushAndTell(ctx context.Context, jobs []*Job) error {
	err := c.push(ctx, jobs, nil)
	refused, failed := (*EnqueueError)(nil), map[string]error{}
	if errors.As(err, &refused) {
		maps.Copy(failed, refused.Failed)
		c.pushDead(ctx, jobs, failed)
		err = nil
	}
	for _, job := range jobs {
		if !errors.As(failed[job.ID], new(*FinishedError)) && !isDuplicate(failed[job.ID]) {
			c.notes.announce(waitingStatus(job, 0))
		}
	}
	if len(failed) > 0 {
		return &EnqueueError{Failed: failed}
	}
	return err
}

// pushDead pushes once more the jobs that failed as the queue says that they have ended, now that their rows are read: one
// that is dead still was so after its row was read, so an unfinished row is that of a claim that is over. It brings failed up
// to date.
func (c *Client) pushDead(ctx context.Context, jobs []*Job, failed map[string]error) {
	var dead []*Job
	tokens := make(map[string]int64)
	for _, job := range jobs {
		if !errors.As(failed[job.ID], new(*FinishedError)) {
			continue
		}
		dead = append(dead, job)
		if token, ours := c.tokenOf(ctx, job.ID); ours {
			tokens[job.ID] = token
		}
	}
	if len(dead) == 0 {
		return
	}
	err := c.push(ctx, dead, tokens)
	still := (*EnqueueError)(nil)
	listed := errors.As(err, &still)
	for _, job := range dead {
		delete(failed, job.ID)
		if err != nil && !listed { // it may be in the queue again by now
			failed[job.ID] = err
		}
	}
	if listed {
		maps.Copy(failed, still.Failed)
	}
}

// tokenOf returns the token of a job's row, 0 when it cannot be read. It reports false for a row that opens a round: its
// end is not ours to record, as a Requeue is at it.
func (c *Client) tokenOf(ctx context.Context, id string) (token int64, ours bool) {
	if c.getter == nil {
		return 0, true
	}
	row, err := c.getter.Get(ctx, id)
	if err != nil || row == nil {
		return 0, true
	}
	return row.Token(), !row.opens() || row.Token() == 0
}

// push enqueues jobs that have a row. A refusal says nothing about how they end: they go on waiting for the next try. A
// duplicate that has not run before ends, as somebody's job does what it would have done. The
// end of those that the queue knows as dead is recorded if they have an entry in tokens: the token of a row that was read
// before, which no later writer is overruled by.
func (c *Client) push(ctx context.Context, jobs []*Job, tokens map[string]int64) error {
	err := c.queue.Enqueue(ctx, jobs...)
	refused := (*EnqueueError)(nil)
	if !errors.As(err, &refused) {
		if err != nil {
			return fmt.Errorf("push: %w", err)
		}
		return nil
	}
	c.replaceLater(ctx, jobs, refused.Failed)
	if len(refused.Failed) == 0 {
		return nil
	}
	finished := make(map[string]error)
	for id, why := range refused.Failed {
		if isDuplicate(why) {
			finished[id] = why
		}
		if _, ours := tokens[id]; ours && errors.As(why, new(*FinishedError)) {
			finished[id] = why
		}
	}
	for id, why := range c.saveRefused(ctx, jobs, tokens, finished) { // a sweep does what could not be done
		if isDuplicate(refused.Failed[id]) {
			refused.Failed[id] = notNow(refused.Failed[id], why)
		}
	}
	return refused
}
