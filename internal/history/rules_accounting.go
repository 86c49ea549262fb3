package history

import (
	"fmt"
	"slices"
	"strings"

	"github.com/real-staging-ai/go-worker"
)

// accounting is invariant 1, and the rows of the status table beside it.
var accounting = []rule{
	{1, "only what was accepted is run or kept", other, (*view).strange},
	{1, "no accepted job is lost", lost, (*view).missing},
	{1, "no accepted job is left hanging", stuck, (*view).hanging},
	{1, "a job ends as it must", lost, (*view).wrongEnd},
	{1, "a job is in one place, with its body", other, (*view).misplaced},
	{1, "nothing is left of a finished job but a dead one's body", other, (*view).leftover},
	{0, "the row of a job agrees with the queue", disagrees, (*view).rowDisagrees},
}

func (v *view) strange(s *story) string {
	if s.possible {
		return ""
	}
	switch {
	case len(s.runs) > 0:
		return fmt.Sprintf("%s ran it, but nobody enqueued it", s.runs[0].start.Proc)
	case len(s.finals) > 0 && !s.calledOff():
		return fmt.Sprintf("it has %s, but nobody enqueued it", s.finals[0].State)
	case len(s.places) > 0:
		return fmt.Sprintf("it is left in %s, but nobody enqueued it", s.places[0])
	}
	return ""
}

// calledOff reports whether the job was canceled or deleted though its enqueue had failed, which leaves a row.
func (s *story) calledOff() bool {
	return len(s.cancels)+len(s.deletes) > 0 && s.last() != nil && s.last().State == worker.StateCanceled
}

// settled reports whether the job's last round has ended, as far as anybody could tell.
func (v *view) settled(s *story) bool {
	if s.last() != nil || v.Announced && s.canceledAtOnce() {
		return true
	}
	return v.silent(s) && slices.ContainsFunc(s.runs, func(r run) bool {
		return r.finish != nil && r.finish.Outcome.ends() && (v.lostBy(s.lastRun().start.At) || r.start.Token == s.lastRun().start.Token)
	})
}

// silent reports whether the job may have ended without a word: its worker died before it could announce it.
func (v *view) silent(s *story) bool {
	return v.Announced && (len(v.deaths) > 0 || v.lossy) && len(s.places) == 0
}

// owed reports whether the job must come to an end: it was accepted, by the caller's knowledge or as it ran. With the data
// that Redis lost a job may go that nobody was told of, if no store has it.
func (v *view) owed(s *story) bool {
	return s.accepted || len(s.runs) > 0 && (!v.lossy || !v.Announced)
}

func (v *view) missing(s *story) string {
	switch {
	case !v.owed(s) || v.settled(s) || len(s.places) > 0:
	case len(s.runs) == 0:
		return "it never ran, and is nowhere"
	case s.lastRun().finish == nil:
		return "its last run did not finish, and it is nowhere"
	case len(s.finals) == 0:
		return "it was never settled, and is nowhere"
	default:
		return "it was requeued, and is nowhere"
	}
	return ""
}

func (v *view) hanging(s *story) string {
	switch {
	case v.Unfinished || len(s.places) == 0:
	case !v.settled(s):
		return fmt.Sprintf("it has not ended, and is left in %s", s.places[0])
	case s.places[0] != "dead":
		return fmt.Sprintf("it has %s, but is left in %s", s.last().State, s.places[0])
	}
	return ""
}

func (v *view) wrongEnd(s *story) string {
	want, last := v.Ends[s.id], s.last()
	if want == "" || last == nil || last.State == want {
		return ""
	}
	return fmt.Sprintf("it ended as %s, not as %s", last.State, want)
}

func (v *view) misplaced(s *story) string {
	body := slices.Contains(s.keys, "jobs")
	switch {
	case len(s.places) > 1:
		return fmt.Sprintf("it is in %s at once", strings.Join(s.places, " and "))
	case len(s.places) == 1 && !body:
		return fmt.Sprintf("it is in %s without a body", s.places[0])
	case len(s.places) == 0 && s.last() != nil && s.last().State == worker.StateFailed && !v.lossy && len(s.deletes) == 0:
		return "it failed, but is not among the dead"
	case len(s.places) == 1 && s.places[0] == "dead" && s.last() != nil && s.last().State == worker.StateSucceeded:
		return "it has succeeded, but is among the dead"
	}
	return ""
}

// Keys that may name a dead job, and those that may name any while a run goes on.
var (
	keptOfDead = []string{"dead", "jobs", "history", "checkpoints"}
	goingOn    = []string{"pending", "suspects", "void"}
)

func (v *view) leftover(s *story) string {
	dead := slices.Contains(s.places, "dead")
	if len(s.places) > 0 && !dead {
		return ""
	}
	for _, key := range s.keys {
		kept := dead && slices.Contains(keptOfDead, key) || v.Unfinished && slices.Contains(goingOn, key)
		if !kept {
			return fmt.Sprintf("it is over, but is left in %s", key)
		}
	}
	return ""
}

func (v *view) rowDisagrees(s *story) string {
	place := ""
	if len(s.places) > 0 {
		place = s.places[0]
	}
	switch {
	case v.Rows == nil:
	case !s.hasRow:
		if s.accepted {
			return "it has no row"
		}
	case s.row.State.Final():
		if place != "" && !v.Unfinished && (place != "dead" || s.row.State == worker.StateSucceeded) {
			return fmt.Sprintf("its row says %s, but it is in %s", s.row.State, place)
		}
		if last := s.last(); last != nil && (last.State != s.row.State || last.Token != s.row.Token) {
			return fmt.Sprintf("its row says %s, but it was stored as %s", ending(s.row.State, s.row.Token),
				ending(last.State, last.Token))
		}
	case place == "dead":
		return fmt.Sprintf("its row says %s, but it is dead", s.row.State)
	case place == "" && (s.accepted || v.Swept || !s.possible):
		return fmt.Sprintf("its row says %s, but the queue does not know it", s.row.State)
	case s.last() != nil:
		return fmt.Sprintf("its row says %s, but it was stored as %s", s.row.State, s.last().State)
	}
	return ""
}
