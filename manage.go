package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxEdits is how often an Edit looks again at a job that changed meanwhile.
const maxEdits = 5

// Edit changes a job that waits. change is called with a copy of the job as it is in the queue, and again with a later one
// when somebody else was faster; an error of its own ends the call. It may replace the payload (not write into its bytes),
// headers, retry policy, timeout and expiry. When it sets Delay or another RunAt, a zero one included, the job waits until
// then; otherwise for what it waited for before. The id, type, queue, topic, key, unique key and time of enqueue stay, and
// so does the time at which a unique key expires.
//
// A job is claimed either as it was or as it is afterwards. The errors say why it stayed as it was: ErrJobActive (it is
// held), a *FinishedError, ErrJobNotFound, ErrCanceled (a cancel is under way), or ErrJobChanged. OnQueue is needed as
// for Cancel.
//
// With a status store that can be read, the status follows: a store that keeps jobs has the new one from then on, unless the
// job was claimed or canceled before the status was saved. Then it keeps the old one, which runs should Redis lose the job
// or a deleted one be requeued. An error that wraps none of these and not ErrRefused may mean that the job was edited and the
// status was not.
func (c *Client) Edit(ctx context.Context, id string, change func(*Job) error, opts ...JobOption) error {
	if change == nil {
		return fmt.Errorf("edit job %q: change is missing", id)
	}
	by := func(job *Job, _ Place) (Move, error) {
		runAt := job.RunAt
		if err := change(job); err != nil {
			return MoveNone, err
		}
		switch {
		case job.Delay > 0 && job.RunAt.Equal(runAt):
			job.RunAt = time.Now().Add(job.Delay)
		case job.Delay <= 0 && job.RunAt.Equal(runAt):
			return MoveNone, nil
		}
		return MoveToTime, nil
	}
	if err := c.edit(ctx, id, by, opts); err != nil {
		return fmt.Errorf("edit job %q: %w", id, err)
	}
	return nil
}

// RunNow makes a job that waits for its time, or for its next attempt, due at once. One that is due already stays as it
// is. The job itself stays as it is, too: a RetryPolicy's Window still begins at its RunAt. Errors are those of Edit.
func (c *Client) RunNow(ctx context.Context, id string, opts ...JobOption) error {
	now := func(_ *Job, place Place) (Move, error) {
		if place == PlaceWaiting {
			return MoveNone, errDue
		}
		return MoveNow, nil
	}
	err := c.edit(ctx, id, now, opts)
	if errors.Is(err, errDue) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run job %q now: %w", id, err)
	}
	return nil
}

// errDue says that a job to be run now is due already.
var errDue = errors.New("job is due")

// edit changes a job; change is told where it is, and says what becomes of its time.
func (c *Client) edit(ctx context.Context, id string, change func(*Job, Place) (Move, error), opts []JobOption) error {
	if c.editor == nil || c.inspector == nil {
		return fmt.Errorf("the queue cannot edit: %w", errors.ErrUnsupported)
	}
	asked, row, err := c.find(ctx, id, opts)
	if err != nil {
		return err
	}
	if row.ended() {
		return &FinishedError{ID: id, State: row.State}
	}
	for range maxEdits {
		info, err := c.inspector.Find(ctx, asked.Queue, id)
		if err != nil {
			return err
		}
		if err = info.editable(); err != nil {
			return err
		}
		after, move, err := c.changed(info, change)
		if err != nil {
			return err
		}
		edited, err := c.editor.Edit(ctx, info.Job, after, move)
		if err == nil {
			return c.recordEdit(ctx, row, info, after, edited)
		}
		if !errors.Is(err, ErrJobChanged) {
			return err
		}
	}
	return ErrJobChanged
}

// editable says why a job cannot be edited where it is.
func (i *JobInfo) editable() error {
	switch {
	case i.Place == PlaceHeld:
		return ErrJobActive
	case i.Place == PlaceDead:
		return &FinishedError{ID: i.ID, State: i.State}
	case i.Canceled:
		return ErrCanceled
	case i.Job == nil:
		return or(i.Err, ErrJobNotFound)
	}
	return nil
}

// changed returns what a change makes of a job, as it may be enqueued.
func (c *Client) changed(info JobInfo, change func(*Job, Place) (Move, error)) (*Job, Move, error) {
	before, after := info.Job, info.Job.snapshot()
	move, err := change(after, info.Place)
	if err != nil {
		return nil, move, err
	}
	if after.ID != before.ID || after.Type != before.Type || after.Queue != before.Queue || after.Topic != before.Topic ||
		after.Key != before.Key || !sameUnique(after.Unique, before.Unique) || !after.EnqueuedAt.Equal(before.EnqueuedAt) {
		return nil, move, errors.New("the id, type, queue, topic, key, unique key and time of enqueue must stay")
	}
	after.complete()
	return after, move, after.check(max(c.maxPayload, len(before.Payload))) // it may have come with another's limit
}

func sameUnique(a, b *Unique) bool { return a == b || a != nil && b != nil && *a == *b }

// recordEdit saves the status of an edited job that has a row: one whose row was not there yet, when it was looked for, was
// enqueued just then.
func (c *Client) recordEdit(ctx context.Context, row *Status, info JobInfo, job *Job, edited Edited) error {
	if row == nil {
		var err error
		if row, err = c.rowOf(ctx, job.ID); err != nil {
			return fmt.Errorf("the job is edited, its status is not recorded: %w", err)
		}
	} else {
		row = c.latest(ctx, row)
	}
	if row == nil {
		return nil
	}
	st := *row
	st.Version, st.State, st.RunAt = editedVersion(edited.Token), StateQueued, edited.Due
	st.At, st.Job, st.Result = time.Now(), job.snapshot(), nil
	if !edited.Due.IsZero() {
		st.State = StateScheduled
	}
	if info.Attempts > 0 {
		st.State = StateRetrying
	}
	if job.Retry.MaxAttempts > 0 || job.Retry.Window > 0 {
		st.MaxAttempts = job.Retry.MaxAttempts
	}
	if _, err := c.saveChanged(ctx, st); err != nil {
		return fmt.Errorf("the job is edited, its status is not recorded: %w", err)
	}
	return nil
}

// latest returns the row of a job that was just changed, as it is by now: since it was read first a claim may have come and
// gone, and a status that follows the change has to tell of that. Where it cannot be read again, the first one has to do.
func (c *Client) latest(ctx context.Context, row *Status) *Status {
	if now, err := c.getter.Get(ctx, row.JobID); err == nil {
		return now
	}
	return row
}

// saveChanged saves the status of a job that was changed while it waited, and announces it. Its token was drawn with the
// change: claims and changes that came since have larger tokens, before which it yields. So what isn't OK was overtaken, or is
// the end that a worker had saved of the job before it lost it.
func (c *Client) saveChanged(ctx context.Context, st Status) (Saved, error) {
	saved, err := save(ctx, c.store, []Status{st})
	if err != nil {
		return Saved{}, err
	}
	if saved[0].OK {
		c.notes.announce(st)
	}
	return saved[0], nil
}

// Delete ends a job that waits as Cancel does, and drops what the queue keeps of it, or of one that is dead. ErrJobActive
// means that it runs: cancel it first. One that a worker claims at that very moment is canceled, and that is waited for; where
// it takes over a second the answer is ErrJobActive, too: delete it again. ErrJobNotFound means that there is no such job. A
// status store keeps the job's row, so that its end is known and its id is not taken for new. What stays besides is a unique
// key that is taken ForPeriod, and that of a job which doesn't decode: Client.ReleaseUnique frees them. OnQueue is needed as
// for Cancel.
func (c *Client) Delete(ctx context.Context, id string, opts ...JobOption) error {
	err := c.delete(ctx, id, opts)
	if err != nil {
		return fmt.Errorf("delete job %q: %w", id, err)
	}
	return nil
}

// delete makes the job dead with a final status, then has it forgotten: a sweep enqueues what is unfinished in the store
// and unknown to the queue.
func (c *Client) delete(ctx context.Context, id string, opts []JobOption) error {
	switch {
	case c.editor == nil || c.inspector == nil:
		return fmt.Errorf("the queue cannot delete: %w", errors.ErrUnsupported)
	case c.canceler == nil:
		return fmt.Errorf("the queue cannot cancel: %w", errors.ErrUnsupported)
	}
	asked, row, err := c.find(ctx, id, opts)
	if err != nil {
		return err
	}
	info, err := c.inspector.Find(ctx, asked.Queue, id)
	if err != nil && !errors.Is(err, ErrJobNotFound) {
		return err
	}
	known, over := err == nil, row.ended()
	switch {
	case known && info.Place == PlaceHeld:
		return ErrJobActive // a mark would stop it
	case !known && over && or(row.queue(), asked.Queue) != asked.Queue:
		return otherQueue(asked, row.queue())
	case !known && over:
		return nil
	case !known || info.Place != PlaceDead || row != nil && !over:
		if err = c.end(ctx, asked.Queue, id, row); err != nil {
			return err
		}
	}
	return c.forget(ctx, asked.Queue, id)
}

// end ends a job that is not held, whatever its row said: a new round may have been opened since. A row that is final by a
// later claim stays as it is.
func (c *Client) end(ctx context.Context, queue, id string, row *Status) error {
	mark, err := c.canceler.MarkCanceled(ctx, queue, id)
	switch {
	case err != nil:
		return err
	case mark.Place == PlaceHeld:
		return ErrJobActive
	case mark.Place == PlaceUnknown && row == nil:
		return ErrJobNotFound
	case mark.Place == PlaceDead && row == nil:
		return nil
	}
	if _, err = c.saveCanceled(ctx, mark, row); err != nil {
		return err
	}
	_, err = c.canceler.RemoveCanceled(ctx, queue, id)
	return err
}

// maxEnding is how long forget waits for a worker that settles a job that is over.
const maxEnding = time.Second

// forget has the queue forget a job that has ended. A worker may have claimed it as it was marked, which makes it due, and is
// waited for: it would bury the job afterwards. ErrJobActive says that this took too long, or that the job waits again.
func (c *Client) forget(ctx context.Context, queue, id string) error {
	late := time.Now().Add(maxEnding)
	for pause := 5 * time.Millisecond; ; pause *= 2 {
		n, err := c.editor.Forget(ctx, queue, id)
		if err != nil || n > 0 {
			return err
		}
		info, err := c.inspector.Find(ctx, queue, id)
		switch {
		case errors.Is(err, ErrJobNotFound):
			return nil
		case err != nil:
			return err
		case info.Place != PlaceHeld && info.Place != PlaceDead || !time.Now().Before(late):
			return ErrJobActive
		}
		if sleep(min(pause, time.Until(late)), ctx.Done(), nil); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
