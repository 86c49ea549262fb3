package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cancel ends a job that waits, and tells the worker of one that runs to stop: its handler's context ends within a second,
// while the worker reaches the queue. The returned state says which of the two it was, StateCanceled or StateRunning, or the
// final state that the job already had. ErrJobNotFound means that neither the queue nor the store knows the id. OnQueue is
// needed when the job isn't on the default queue and the store, if any, cannot be read; one that contradicts an unfinished
// row is an error.
//
// A job that was never enqueued, as the queue refused it, ends as canceled: enqueueing it again no longer runs it.
//
// It marks the job, saves the status, then removes the job: whatever crashes in between, the mark ends the job with its next
// claim. So after a crash behind the mark, or when a worker puts the job back just as it is marked, it may be shown as queued,
// scheduled or retrying, and have its unique key, until it is claimed, on a queue that is paused or has no worker; canceling
// it again ends it at once.
func (c *Client) Cancel(ctx context.Context, id string, opts ...JobOption) (State, error) {
	if c.canceler == nil {
		return "", fmt.Errorf("cancel job %q: the queue cannot cancel: %w", id, errors.ErrUnsupported)
	}
	asked, row, err := c.find(ctx, id, opts)
	if err != nil {
		return "", fmt.Errorf("cancel job %q: %w", id, err)
	}
	if row.ended() {
		if row.State == StateCanceled { // by a call that may have been cut short
			_, err = c.canceler.RemoveCanceled(ctx, or(row.queue(), asked.Queue), id)
		}
		if err != nil {
			return "", fmt.Errorf("cancel job %q: %w", id, err)
		}
		return row.State, nil
	}
	state, err := c.cancel(ctx, asked.Queue, id, row)
	if err != nil {
		return state, fmt.Errorf("cancel job %q: %w", id, err)
	}
	c.logAsked(ctx, "job canceled", asked, "state", state)
	return state, nil
}

func (c *Client) cancel(ctx context.Context, queue, id string, row *Status) (State, error) {
	mark, err := c.canceler.MarkCanceled(ctx, queue, id)
	if err != nil {
		return "", err
	}
	switch mark.Place {
	case PlaceHeld:
		return StateRunning, nil
	case PlaceDead:
		if row == nil {
			return or(mark.State, StateFailed), nil
		}
	case PlaceUnknown:
		if row == nil {
			return "", ErrJobNotFound
		}
	}
	state, err := c.saveCanceled(ctx, mark, row)
	if err != nil {
		return "", err
	}
	if state != StateCanceled {
		return state, nil // over in another way, and not settled yet: a claim settles it as that, and drops the mark
	}
	place, err := c.canceler.RemoveCanceled(ctx, queue, id)
	if err == nil && place == PlaceHeld && c.store == nil {
		state = StateRunning // claimed in between: the mark tells its worker
	}
	return state, err
}

// saveCanceled records the end of a job that no worker runs, and returns the state that holds afterwards.
func (c *Client) saveCanceled(ctx context.Context, mark CancelMark, row *Status) (State, error) {
	var st Status
	switch {
	case mark.Job != nil:
		st = waitingStatus(mark.Job, 0)
		st.Attempt, st.Crashes = mark.Job.Attempt, mark.Job.Crashes
		if row != nil && !row.State.Final() { // it knows what was, too; that of another round does not
			st.Attempt, st.Crashes = max(st.Attempt, row.Attempt), max(st.Crashes, row.Crashes)
			st.MaxAttempts, st.Progress, st.Message = or(row.MaxAttempts, st.MaxAttempts), row.Progress, row.Message
		}
	case row != nil:
		st = *row
	default:
		return StateCanceled, nil // its body is garbage: the claim will say so
	}
	st.State, st.Version = StateCanceled, version(mark.Token, phaseFinal, 0)
	st.RunAt, st.At = time.Time{}, time.Now()
	return c.saveFinal(ctx, st)
}

func (c *Client) saveFinal(ctx context.Context, st Status) (State, error) {
	if c.store == nil {
		c.notes.announce(st)
		return st.State, nil
	}
	saved, err := save(ctx, c.store, []Status{st})
	switch {
	case err != nil:
		return "", fmt.Errorf("save status: %w", err)
	case saved[0].OK:
		c.notes.announce(st)
		return st.State, nil
	case saved[0].Current.Final():
		return saved[0].Current, nil
	}
	return "", &jobError{fmt.Errorf("job %q is %s by a later claim: try again", st.JobID, saved[0].Current)}
}

// Requeue opens a new round for a job that failed or was canceled: it waits again, at once, with attempts and crashes
// 0 and its checkpoint kept. ErrJobActive means that it waits or runs, ErrJobNotFound that nothing is known of it, and
// a *FinishedError that it succeeded. A *DuplicateError means that another job has its unique key by now. After any other
// error but ErrRefused the round may be open, or be opened later. A Requeue that was cut short can be repeated; of several
// at the same moment, those that come too late get ErrJobActive.
func (c *Client) Requeue(ctx context.Context, id string, opts ...JobOption) error {
	if c.requeuer == nil {
		return fmt.Errorf("requeue job %q: the queue cannot requeue: %w", id, errors.ErrUnsupported)
	}
	asked, row, err := c.find(ctx, id, opts)
	if err == nil {
		err = c.requeue(ctx, asked, row)
	}
	if err != nil {
		return fmt.Errorf("requeue job %q: %w", id, err)
	}
	c.logAsked(ctx, "job requeued", asked)
	return nil
}

func (c *Client) requeue(ctx context.Context, asked *Job, row *Status) error {
	if row != nil && row.State == StateSucceeded {
		return &FinishedError{ID: asked.ID, State: row.State}
	}
	job, token, err := c.requeuer.DrawToken(ctx, asked.Queue, asked.ID)
	if err != nil {
		return err
	}
	if job == nil && row != nil && row.Job != nil && row.Job.ID == asked.ID {
		job = row.Job
	}
	if job == nil {
		return ErrJobNotFound
	}
	round := job.newRound()
	if round.Queue != asked.Queue {
		return otherQueue(asked, round.Queue)
	}
	if err := round.check(c.maxPayload); err != nil {
		return &jobError{err}
	}
	if err := c.keptOut(ctx, round); err != nil {
		return err
	}
	if err := c.saveRound(ctx, round, token); err != nil {
		return err
	}
	err = c.requeuer.Reopen(ctx, round)
	if isDuplicate(err) {
		return or(c.closeRound(ctx, round, token, row, err), err)
	}
	if c.store != nil && errors.Is(err, ErrRefused) { // that would say that the job stays as it is
		err = fmt.Errorf("the new round is recorded and not opened yet (%s): repeat it, or a sweep will", err.Error())
	}
	return err
}

// newRound copies what a producer would set, due now, without an expiry.
func (j *Job) newRound() *Job {
	round := j.snapshot()
	round.RunAt, round.ExpiresAt, round.EnqueuedAt, round.Delay = time.Time{}, time.Time{}, time.Time{}, 0
	round.complete()
	return round
}

// saveRound records the new round. A row that isn't final says that an earlier Requeue was cut short after its Save,
// and that this one is to finish it.
func (c *Client) saveRound(ctx context.Context, round *Job, token int64) error {
	st := waitingStatus(round, token)
	if c.store == nil {
		c.notes.announce(st)
		return nil
	}
	saved, err := save(ctx, c.store, []Status{st})
	switch {
	case err != nil:
		return fmt.Errorf("save status: %w", err)
	case saved[0].OK:
		c.notes.announce(st)
	case saved[0].Current.Final():
		return &FinishedError{ID: round.ID, State: saved[0].Current}
	}
	return nil
}

// Pause keeps all workers from claiming jobs of a queue until Resume, whatever is started anew meanwhile. Jobs can still be
// enqueued and canceled, and those that were claimed go on. Pausing twice is pausing once. Redis keeps the pause: where it
// loses its data, the queue is worked on again.
func (c *Client) Pause(ctx context.Context, queue string) error {
	return c.steer("pause", queue, func(p Pauser) error { return p.Pause(ctx, queue) })
}

// Resume ends a pause: the queue's jobs are claimed again within a second. A queue that isn't paused stays as it is.
func (c *Client) Resume(ctx context.Context, queue string) error {
	return c.steer("resume", queue, func(p Pauser) error { return p.Resume(ctx, queue) })
}

// ReleaseUnique frees a unique key of a queue, for an operator: one that is taken ForPeriod, which outlives the job's cancel
// and deletion, or that of a job which nothing ends any more. It returns the id of the job that had the key, empty when it was
// free. That job is not ended: if it waits or runs, the next one of the key comes in beside it. Without a queue that is a
// UniqueReleaser the error wraps errors.ErrUnsupported.
func (c *Client) ReleaseUnique(ctx context.Context, queue, key string) (holder string, err error) {
	if c.releaser == nil {
		err = fmt.Errorf("the queue cannot release unique keys: %w", errors.ErrUnsupported)
	} else {
		err = errors.Join(CheckQueueName(queue), checkName("unique key", key, MaxUniqueKeyLength))
	}
	if err == nil {
		holder, err = c.releaser.ReleaseUnique(ctx, queue, key)
	}
	if err != nil {
		return "", fmt.Errorf("release unique key %q of queue %q: %w", key, queue, err)
	}
	return holder, nil
}

func (c *Client) steer(doing, queue string, steer func(Pauser) error) error {
	if c.pauser == nil {
		return fmt.Errorf("%s queue %q: the queue cannot pause: %w", doing, queue, errors.ErrUnsupported)
	}
	err := CheckQueueName(queue)
	if err == nil {
		err = steer(c.pauser)
	}
	if err != nil {
		return fmt.Errorf("%s queue %q: %w", doing, queue, err)
	}
	return nil
}
