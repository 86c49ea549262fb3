package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxReplaces is how often a job is tried to be enqueued, or put in another's place, when the key's holder changes
// meanwhile.
const maxReplaces = 5

// enqueueUnique enqueues jobs of which some are unique. Those whose key is taken are turned away before anything is written
// of them, or put in the place of the holder; the queue has the last word on the others.
func (c *Client) enqueueUnique(ctx context.Context, jobs []*Job) error {
	failed, replaced := make(map[string]error), make(map[*Job]replacement)
	for range maxReplaces {
		free := c.turnAway(ctx, jobs, failed, replaced)
		if len(free) == 0 {
			break
		}
		for _, job := range free { // what an earlier try said of it doesn't hold any more
			delete(failed, job.ID)
		}
		err, refused := c.accept(ctx, free), (*EnqueueError)(nil)
		switch {
		case errors.As(err, &refused):
			maps.Copy(failed, refused.Failed)
		case err != nil:
			if c.store != nil { // enqueued again under their own ids they would run once more
				rename(replaced)
			}
			return err
		}
		jobs = slices.DeleteFunc(free, func(job *Job) bool { return !job.replaces() || !isDuplicate(failed[job.ID]) })
	}
	for job := range replaced {
		delete(failed, job.ID)
	}
	for _, r := range replaced {
		if r.err != nil {
			failed[r.now.ID] = r.err
		}
	}
	rename(replaced)
	if len(failed) > 0 {
		return &EnqueueError{Failed: failed}
	}
	return nil
}

// replacement is what has become of a job that took another one's place: that one as it is now, and why its status is not
// recorded, if it isn't.
type replacement struct {
	now *Job
	err error
}

// rename gives jobs the ids of those whose places they have taken.
func rename(replaced map[*Job]replacement) {
	for job, r := range replaced {
		job.ID, job.Topic = r.now.ID, r.now.Topic
	}
}

func (j *Job) replaces() bool { return j.Unique != nil && j.Unique.Replace }

// turnAway returns the jobs that may be enqueued. The others are in failed, or in replaced with what became of the holder.
func (c *Client) turnAway(ctx context.Context, jobs []*Job, failed map[string]error, replaced map[*Job]replacement) (free []*Job) {
	holders := c.holders(ctx, jobs)
	for _, job := range jobs {
		holder, taken := holders[job.ID]
		if !taken {
			free = append(free, job)
			continue
		}
		err := error(job.duplicateOf(holder.ID))
		if job.replaces() {
			var now *Job
			now, err = c.replace(ctx, job, holder, false)
			switch {
			case errors.Is(err, errKeyFree):
				free = append(free, job)
				continue
			case now != nil:
				replaced[job] = replacement{now, err}
				continue
			}
		}
		failed[job.ID] = err
	}
	return free
}

// holders returns who has the keys of the jobs that are kept out, by their ids. It is empty when that cannot be told: then
// the queue decides alone. A job with a row isn't kept out here: the row may know better what became of it.
func (c *Client) holders(ctx context.Context, jobs []*Job) map[string]Holder {
	var ask []*Job
	for _, job := range jobs {
		if job.replaces() || job.Unique != nil && (c.store != nil || c.notes.notifier != nil) {
			ask = append(ask, job)
		}
	}
	taken := make(map[string]Holder)
	if len(ask) == 0 {
		return taken
	}
	answers, err := c.uniquer.Holders(ctx, ask...)
	if err != nil || len(answers) != len(ask) {
		return taken
	}
	for i, job := range ask {
		if answers[i].ID != "" && !c.hasRow(ctx, job.ID) {
			taken[job.ID] = answers[i]
		}
	}
	return taken
}

// hasRow reports whether a job has a row that says more than that it was not enqueued, or whether that isn't known.
func (c *Client) hasRow(ctx context.Context, id string) bool {
	row, err := c.rowOf(ctx, id)
	return err != nil || row != nil && (!row.State.Final() || row.ended())
}

// errKeyFree says that nobody keeps a job out any more.
var errKeyFree = errors.New("the unique key is free")

func (j *Job) duplicateOf(holder string) *DuplicateError {
	return &DuplicateError{Key: j.Unique.Key, Holder: holder}
}

// replace puts a job in the place of the holder of its key, and returns that as it is now: with an error, too, when only its
// status is not recorded. With later set it doesn't replace what was enqueued after it.
func (c *Client) replace(ctx context.Context, job *Job, holder Holder, later bool) (*Job, error) {
	for range maxReplaces {
		waiting := holder.Job
		if waiting == nil || waiting.Type != job.Type || later && job.EnqueuedAt.Before(waiting.EnqueuedAt) {
			return nil, job.duplicateOf(holder.ID)
		}
		row, err := c.rowOf(ctx, holder.ID)
		if err != nil {
			return nil, fmt.Errorf("replace job %q: %w", holder.ID, err)
		}
		if row.ended() {
			return nil, job.keptOutBy(holder.ID, later)
		}
		now := job.snapshot()
		now.ID, now.Topic = waiting.ID, waiting.Topic
		place, token, err := c.uniquer.Replace(ctx, waiting, now)
		switch {
		case err != nil:
			return nil, fmt.Errorf("replace job %q: %w", holder.ID, err)
		case place == PlaceWaiting:
			if err = c.recordReplaced(ctx, row, now, token); errors.Is(err, errOver) {
				return nil, job.keptOutBy(holder.ID, later)
			}
			return now, err
		case place != PlaceUnknown:
			return nil, job.duplicateOf(holder.ID)
		}
		holders, err := c.uniquer.Holders(ctx, job)
		switch {
		case err != nil:
			return nil, fmt.Errorf("replace job %q: %w", holder.ID, err)
		case len(holders) != 1 || holders[0].ID == "":
			return nil, errKeyFree
		}
		holder = holders[0]
	}
	return nil, job.duplicateOf(holder.ID)
}

// keptOutBy is the error of a job whose key a job has that is over and not settled. One that was committed may come later.
func (j *Job) keptOutBy(holder string, later bool) error {
	if later {
		return fmt.Errorf("replace job %q: %w", holder, errOver)
	}
	return j.duplicateOf(holder)
}

// rowOf reads a job's row, nil if there is none or it cannot be read in this store.
func (c *Client) rowOf(ctx context.Context, id string) (*Status, error) {
	if c.getter == nil {
		return nil, nil
	}
	row, err := c.getter.Get(ctx, id)
	if errors.Is(err, ErrJobNotFound) {
		return nil, nil
	}
	return row, err
}

// errOver says that a job had ended before another one took its place, which is dropped with it.
var errOver = errors.New("the job had ended")

// recordReplaced saves the status of a job that another one has taken the place of, by the token of that, also when ctx has
// ended meanwhile. It returns errOver when the job had ended before.
func (c *Client) recordReplaced(ctx context.Context, row *Status, job *Job, token int64) error {
	if row == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if row = c.latest(ctx, row); !row.State.Final() {
		st := waitingStatus(job, 0)
		st.Version, st.Attempt, st.Crashes, st.Error = editedVersion(token), row.Attempt, row.Crashes, row.Error
		if row.State == StateRetrying {
			st.State = StateRetrying
		}
		saved, err := c.saveChanged(ctx, st)
		if err != nil {
			return fmt.Errorf("job %q is replaced, its status is not recorded: %w", job.ID, err)
		}
		if saved.OK || !saved.Current.Final() {
			return nil
		}
		row = c.latest(ctx, row) // which may have ended just now
	}
	if row.ended() && row.Token() < token {
		return errOver
	}
	return nil
}

// keptOut answers a *DuplicateError if another job has the unique key of one that is to be reopened.
func (c *Client) keptOut(ctx context.Context, job *Job) error {
	if job.Unique == nil || c.uniquer == nil {
		return nil
	}
	holders, err := c.uniquer.Holders(ctx, job)
	if err == nil && len(holders) == 1 && holders[0].ID != "" {
		err = job.duplicateOf(holders[0].ID)
	}
	return err
}

// closeRound ends a round that was recorded, and that the queue didn't open as another job has the unique key: as the round
// before had ended, where that is known.
func (c *Client) closeRound(ctx context.Context, round *Job, token int64, before *Status, why error) error {
	st := waitingStatus(round, 0)
	st.State, st.Error = StateCanceled, cleanText("not requeued: "+why.Error())
	if before != nil && before.State.Final() {
		st.State, st.Error, st.Message = before.State, before.Error, before.Message
		st.Progress, st.Result = before.Progress, before.Result
		st.Attempt, st.Crashes, st.MaxAttempts = before.Attempt, before.Crashes, or(before.MaxAttempts, st.MaxAttempts)
	}
	st.Version, st.RunAt, st.At = version(token, phaseFinal, 0), time.Time{}, time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	_, err := c.saveFinal(ctx, st)
	return err
}

// replaceLater puts those of the pushed jobs that are kept out and replace in the place of the older jobs that keep them
// out: what was committed later counts. They are refused all the same, as nothing runs under their ids; but for those whose
// key has become free, which are enqueued, and no longer in failed.
func (c *Client) replaceLater(ctx context.Context, jobs []*Job, failed map[string]error) {
	for _, job := range jobs {
		if c.uniquer == nil || !job.replaces() || !isDuplicate(failed[job.ID]) {
			continue
		}
		holders, err := c.uniquer.Holders(ctx, job)
		if err == nil && (len(holders) != 1 || holders[0].ID == "") {
			err = errKeyFree
		}
		if err == nil {
			_, err = c.replace(ctx, job, holders[0], true)
		}
		if errors.Is(err, errKeyFree) {
			err = c.enqueueOne(ctx, job)
			if err == nil {
				delete(failed, job.ID)
			}
		}
		if err != nil && !isDuplicate(err) {
			failed[job.ID] = fmt.Errorf("not enqueued yet: %w", err) // its row waits for the next try
		}
	}
}

// enqueueOne enqueues a job that has a row, and returns its own error.
func (c *Client) enqueueOne(ctx context.Context, job *Job) error {
	err, refused := c.queue.Enqueue(ctx, job), (*EnqueueError)(nil)
	if errors.As(err, &refused) {
		return refused.Failed[job.ID]
	}
	return err
}
