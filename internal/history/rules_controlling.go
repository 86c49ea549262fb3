package history

import (
	"fmt"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// controlling is what edits, deletes, cancels and calls to run now must bring about, and rounds that are opened.
var controlling = []rule{
	{9, "an edit that was confirmed was made, one that failed was not", other, (*view).editDenied},
	{0, "the row of a job has the payload that the job has", disagrees, (*view).rowOfOtherPayload},
	{2, "a job that was deleted never starts again", doubled, (*view).startedAfterDelete},
	{1, "a job that was deleted has ended, and nothing is kept of it", other, (*view).deletedInPart},
	{2, "a delete that is refused leaves the job alone", other, (*view).stoppedByRefusal},
	{0, "a running job that was canceled is stopped within a beat", other, (*view).ranOnCanceled},
	{10, "a job that is to run now doesn't wait for its time", stuck, (*view).waitedOn},
	{3, "a new round begins with attempt 1", other, (*view).roundWentOn},
}

// sumAt is the checksum of the payload that the job had under a token: a claim's, or a cancel's.
func (s *story) sumAt(token int64) uint32 {
	sum := s.sent
	for _, e := range s.edited {
		if e.Token <= token {
			sum = e.Sum
		}
	}
	return sum
}

func (v *view) editDenied(s *story) string {
	for _, e := range s.edits {
		made := slices.ContainsFunc(s.edited, func(by Event) bool { return by.Sum == e.Sum && by.At <= e.At })
		switch {
		case !v.edits:
		case e.Result == ResultOK && !made:
			return fmt.Sprintf("%s was told that it is edited, which it never was", e.Proc)
		case e.Result == ResultFailed && made:
			return fmt.Sprintf("%s was told that it is not edited, which it was", e.Proc)
		}
	}
	return ""
}

// rowOfOtherPayload leaves it open whether a row has heard of an edit that nobody was told is made.
func (v *view) rowOfOtherPayload(s *story) string {
	sum := s.sumAt(s.row.Token)
	confirmed := sum == s.sent || slices.ContainsFunc(s.edits, func(e Event) bool { return e.Sum == sum && e.Result == ResultOK })
	if !s.hasRow || s.row.Sum == 0 || !s.possible || s.row.Sum == sum || !confirmed {
		return ""
	}
	return fmt.Sprintf("its row, %s, has another payload", ending(s.row.State, s.row.Token))
}

// startedAfterDelete looks at claims that are older than the end that a delete gave the job, too: a worker that had been cut
// off may not know yet that the job was taken from it.
func (v *view) startedAfterDelete(s *story) string {
	for _, e := range s.deletes {
		for _, r := range s.runs {
			if e.Result == ResultOK && r.start.At > e.At && !s.reopenedSince(e, r.start.Token) && !v.wasCut(r, r.start.At) &&
				!v.lostBy(r.start.At) {
				return fmt.Sprintf("%s started it %v after it was deleted", r.start.Proc, time.Duration(r.start.At-e.At))
			}
		}
	}
	return ""
}

// reopenedSince reports whether since a delete began a new round may have been opened that a token is of.
func (s *story) reopenedSince(e Event, token int64) bool {
	return slices.ContainsFunc(s.requeues, func(r Event) bool { return r.Token < token && (r.Token == 0 || r.At >= e.Since) })
}

func (v *view) deletedInPart(s *story) string {
	i := slices.IndexFunc(s.deletes, func(e Event) bool { return e.Result == ResultOK })
	if i < 0 || v.Announced || s.reopenedSince(s.deletes[i], forever) {
		return ""
	}
	switch {
	case len(s.finals) == 0:
		return "it was deleted, but has not ended"
	case len(s.keys) > 0 && !s.unclear && s.answered < s.deletes[i].At: // else it may have come again
		return fmt.Sprintf("it was deleted, but is left in %s", s.keys[0])
	}
	return ""
}

func (v *view) stoppedByRefusal(s *story) string {
	doubtful := func(e Event) bool { return e.Token == 0 && e.Result == ResultUnknown }
	if len(s.cancels) > 0 || slices.ContainsFunc(s.deletes, doubtful) {
		return ""
	}
	for _, e := range s.deletes {
		if r := s.runOf(e.Token); r != nil && r.ended(OutcomeCancel) {
			return fmt.Sprintf("%s was told that it runs, and yet it was stopped", e.Proc)
		}
	}
	return ""
}

// ranOnCanceled counts from the answer, which comes after what tells the job's worker. A run that has ended by itself meanwhile
// need not have been told, and what a worker does that is told to stop, or may have lost its lease, is for other rules.
func (v *view) ranOnCanceled(s *story) string {
	if !v.Timing.judged() {
		return ""
	}
	for _, e := range s.cancels {
		for _, r := range s.runs {
			began := r.start.At <= e.At && !s.reopenedSince(e, r.start.Token)
			if e.Result != ResultOK || e.State != worker.StateRunning || !began {
				continue
			}
			by := v.deadlineOf(r.start.Proc, e.At, v.Timing.beat()+v.Timing.Tolerance)
			if !v.over(r, by) && !v.mayRunOn(r, by) {
				return fmt.Sprintf("%s was told that it is being stopped, and %s ran it on", e.Proc, r.start.Proc)
			}
		}
	}
	return ""
}

// mayRunOn reports whether by then a run may have been cut off from what is to stop it, or its worker has given it up or is
// about to end itself.
func (v *view) mayRunOn(r run, by int64) bool {
	stop := v.fate(r.start.Proc).stop
	return r.abandoned || stop != 0 && stop <= by || v.wasCut(r, by) || v.lostBy(by) || r.finish == nil && v.Unfinished
}

// waitedOn looks at jobs that were due much later only: any may have to wait for a worker.
func (v *view) waitedOn(s *story) string {
	for _, e := range s.hastened {
		if v.Unfinished || v.deadline(e.At, v.Timing.recovery()+max(v.Timing.Slack, time.Minute)) >= s.first.Due {
			continue
		}
		early := func(at int64) bool { return at < s.first.Due }
		started := slices.ContainsFunc(s.runs, func(r run) bool { return early(r.start.At) })
		ended := slices.ContainsFunc(s.finals, func(f Event) bool { return early(f.At) })
		if !started && !ended {
			return fmt.Sprintf("%s made it due, and it waited on", e.Proc)
		}
	}
	return ""
}

func (v *view) roundWentOn(s *story) string {
	for i := 1; i < len(s.runs); i++ {
		before, next := s.runs[i-1], s.runs[i]
		if next.start.Attempt != 1 && !v.lostBy(next.start.At) && s.newRound(before, next) {
			return fmt.Sprintf("a new round began with attempt %d", next.start.Attempt)
		}
	}
	return ""
}
