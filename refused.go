package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// refusals adds to failed what the queue said of jobs that it did not take. An error says that this is not known.
func refusals(err error, push []*Job, failed map[string]error) (map[string]error, error) {
	if failed == nil {
		failed = make(map[string]error)
	}
	refused := (*EnqueueError)(nil)
	switch {
	case errors.As(err, &refused):
		maps.Copy(failed, refused.Failed)
	case errors.Is(err, ErrRefused):
		for _, job := range push {
			failed[job.ID] = err
		}
	default:
		return nil, fmt.Errorf("enqueue: it is unknown whether the jobs were accepted; enqueue them again: %w", err)
	}
	return failed, nil
}

// isAnothers reports whether a row under a job's id is that of another job.
func (s *Status) isAnothers(job *Job) bool { return s.Queue != job.Queue || s.Type != job.Type }

func (s *Status) taken() *IDTakenError {
	return &IDTakenError{ID: s.JobID, Type: s.Type, Queue: s.Queue}
}

// whyRefused returns why the store refused a job's first status for good: where it can be read, it may tell that the id is
// another job's, of which it has the first status, too.
func (c *Client) whyRefused(ctx context.Context, job *Job, refusal error) error {
	if row, err := c.rowOf(ctx, job.ID); err == nil && row != nil && row.isAnothers(job) {
		return row.taken()
	}
	return refusal
}

// recordRefused records how the jobs end that the queue refused. A sweep enqueues the job of a row that waits, so a refusal
// whose row still does is not clear: in failed it no longer wraps ErrRefused, nor is it a *DuplicateError.
func (c *Client) recordRefused(ctx context.Context, push []*Job, repeated []string, failed map[string]error) {
	ended, waits := maps.Clone(failed), make(map[string]error)
	for _, id := range repeated {
		if !errors.As(failed[id], new(*FinishedError)) && !isDuplicate(failed[id]) {
			delete(ended, id)
			waits[id] = errors.New("an earlier call may have been accepted")
		}
	}
	maps.Copy(waits, c.saveRefused(ctx, push, nil, ended))
	for id, why := range waits {
		if errors.Is(failed[id], ErrRefused) || isDuplicate(failed[id]) {
			failed[id] = notNow(failed[id], why)
		}
	}
}

// errRowWaits says that a sweep may enqueue what the queue has refused.
var errRowWaits = errors.New("maybe later, as its row still waits")

// notNow makes a refusal one that is not clear.
func notNow(refusal, why error) error {
	return fmt.Errorf("not enqueued now (%s), but %w: %w", refusal.Error(), errRowWaits, why)
}

// saveRefused marks the jobs that the queue clearly refused as failed, with token 0: "not enqueued"; duplicates and ticks
// that came too late, by which nobody needs to be alarmed, as canceled; and those that turned out to be over as what they
// are, under the tokens that are given, or 0. A job whose fate isn't known goes on waiting, for its row and its users. It
// returns the ids of which that could not be recorded, and why.
func (c *Client) saveRefused(
	ctx context.Context, push []*Job, tokens map[string]int64, failed map[string]error,
) (unsaved map[string]error) {
	unsaved = make(map[string]error)
	var statuses []Status
	for _, job := range push {
		why := failed[job.ID]
		finished := (*FinishedError)(nil)
		st := waitingStatus(job, 0)
		st.Version, st.RunAt = version(tokens[job.ID], phaseFinal, 0), time.Time{}
		switch {
		case errors.As(why, &finished):
			st.State, st.Error = or(finished.State, StateFailed), cleanText(why.Error())
		case isDuplicate(why) || errors.Is(why, errPassed): // nothing went wrong
			st.State, st.Error = StateCanceled, cleanText("not enqueued: "+why.Error())
		case errors.Is(why, ErrRefused):
			st.State, st.Error = StateFailed, cleanText("not enqueued: "+why.Error())
		default:
			continue
		}
		statuses = append(statuses, st)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	for part := range slices.Chunk(statuses, maxBatch) {
		saved, err := c.saveEach(ctx, part, unsaved)
		if err != nil {
			if c.seldom.allow("unsaved refusals") {
				c.log.Error("the status of refused jobs could not be saved", "jobs", len(part), "error", err)
			}
			for _, st := range part {
				unsaved[st.JobID] = err
			}
			continue
		}
		for i, answer := range saved {
			switch st := part[i]; {
			case answer.OK:
				c.notes.announce(st)
			case unsaved[st.JobID] == nil && !answer.Current.Final():
				unsaved[st.JobID] = fmt.Errorf("somebody else has made it %s", answer.Current)
			}
		}
	}
	return unsaved
}
