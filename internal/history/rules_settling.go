package history

import (
	"fmt"
	"slices"
	"strings"

	"github.com/real-staging-ai/go-worker"
)

// settling is invariant 2, and what may end a job: 8.
var settling = []rule{
	{2, "a claim is settled once", doubled, (*view).settledTwice},
	{2, "a round has one final state", doubled, (*view).endedTwice},
	{2, "a job that ended never starts again", doubled, (*view).startedAfterEnd},
	{2, "a final state follows from what was done", other, (*view).unexplainedEnd},
	{2, "a cancel that says so has ended the job", other, (*view).cancelForgotten},
	{8, "a job takes down no more workers than it may", other, (*view).poisonRanOn},
	{8, "only a job that took down as many workers as it may fails for it", lost, (*view).buriedEarly},
}

func (v *view) settledTwice(s *story) string {
	first := make(map[int64]Event)
	for _, e := range s.settles {
		f, again := first[e.Token]
		if again && (f.Text != e.Text || f.Proc != e.Proc) {
			return fmt.Sprintf("its claim %d was settled as %s by %s and as %s by %s", e.Token, f.Text, f.Proc, e.Text, e.Proc)
		}
		first[e.Token] = e
	}
	return ""
}

func (v *view) endedTwice(s *story) string {
	rounds := 1
	for i := 1; i < len(s.finals); i++ {
		before, after := s.finals[i-1], s.finals[i]
		if v.Announced && v.lostBy(max(before.At, after.At)) {
			continue
		}
		if before.State == worker.StateSucceeded || !s.reopened(before.Token, after.Token) {
			return fmt.Sprintf("it was settled %d times: %s after %s", len(s.finals), ending(after.State, after.Token),
				ending(before.State, before.Token))
		}
		rounds++
	}
	if most := 1 + len(s.requeues); rounds > most {
		return fmt.Sprintf("it was settled %d times in %d rounds", rounds, most)
	}
	return ""
}

func (v *view) startedAfterEnd(s *story) string {
	for _, e := range s.finals {
		for _, r := range s.runs {
			if v.Announced && v.lostBy(r.start.At) {
				continue
			}
			if r.start.Token > e.Token && (e.State == worker.StateSucceeded || !s.reopened(e.Token, r.start.Token)) {
				return fmt.Sprintf("%s started it after it had %s", r.start.Proc, e.State)
			}
		}
	}
	return ""
}

// unexplainedEnd looks for what led to each final state: a run under its token, a cancel, or the death of workers.
func (v *view) unexplainedEnd(s *story) string {
	for _, e := range s.finals {
		r := s.runOf(e.Token)
		finished := r != nil && r.finish != nil
		explained := false
		switch e.State {
		case worker.StateSucceeded:
			explained = finished && r.ended(OutcomeSuccess)
		case worker.StateFailed:
			explained = finished && (r.ended(OutcomeFailure) || r.ended(OutcomeRetry)) || r != nil && r.abandoned ||
				r == nil && (e.Crashes > 0 || e.Text != "" || len(v.deaths) > 0)
		case worker.StateCanceled:
			explained = len(s.cancels)+len(s.deletes) > 0 || finished && !r.ended(OutcomeSuccess)
		}
		if !explained {
			return fmt.Sprintf("nothing led to %s", ending(e.State, e.Token))
		}
	}
	return ""
}

func (v *view) cancelForgotten(s *story) string {
	ended := slices.ContainsFunc(s.finals, func(e Event) bool { return e.State == worker.StateCanceled })
	if s.canceledAtOnce() && !ended && !v.Announced {
		return "a client was told that it is canceled, which it never was"
	}
	return ""
}

func (v *view) poisonRanOn(s *story) string {
	for _, r := range s.runs {
		if r.start.Crashes >= v.maxCrashes() {
			return fmt.Sprintf("it was started after it had taken down %d workers", r.start.Crashes)
		}
	}
	return ""
}

func (v *view) buriedEarly(s *story) string {
	for _, e := range s.finals {
		why := e.Text == "" || strings.Contains(e.Text, "worker lost")
		if e.State == worker.StateFailed && why && s.runOf(e.Token) == nil && e.Crashes > 0 && e.Crashes < v.maxCrashes() {
			return fmt.Sprintf("it failed after it had taken down %d workers", e.Crashes)
		}
	}
	return ""
}
