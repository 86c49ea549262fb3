package history

import (
	"cmp"
	"fmt"
	"slices"
)

// starting is invariants 3, 4 and 9, and that claims are told apart.
var starting = []rule{
	{3, "a job runs again only after a retry, a snooze, a give-back or a takeover", other, (*view).ranAgain},
	{3, "crashes and shutdowns are no attempts, failures are", other, (*view).miscounted},
	{2, "a claim starts a job at most once", doubled, (*view).startedTwice},
	{2, "later claims have larger tokens", other, (*view).tokenWentBack},
	{2, "at most one process runs a job", other, (*view).overlapped},
	{4, "with one slot jobs start in order, returned ones first", other, func(v *view, s *story) string { return v.order[s.id] }},
	{9, "payload bytes arrive as they were sent", other, (*view).payloadChanged},
}

// again calls f with each two consecutive runs of one round, until it returns something.
func (s *story) again(f func(before, next run) string) string {
	for i := 1; i < len(s.runs); i++ {
		before, next := s.runs[i-1], s.runs[i]
		if s.newRound(before, next) {
			continue
		}
		if how := f(before, next); how != "" {
			return how
		}
	}
	return ""
}

// newRound reports whether a Requeue came between two runs. Where its token isn't known, the end of the round tells, or a
// run that ended for good.
func (s *story) newRound(before, next run) bool {
	for _, e := range s.requeues {
		if before.start.Token < e.Token && e.Token < next.start.Token {
			return true
		}
		if e.Token != 0 {
			continue
		}
		ended := before.finish != nil && before.finish.Outcome.ends()
		for _, f := range s.finals {
			ended = ended || before.start.Token <= f.Token && f.Token < next.start.Token
		}
		if ended {
			return true
		}
	}
	return false
}

// taken reports whether the next run came since the first one's process was gone or might be taken to be.
func (v *view) taken(before, next run) bool {
	return v.lostBy(next.start.At) || v.died(before, next.start.At) || v.wasCut(before, next.start.At)
}

// stopped reports whether the next run came since the first one's pool was told to stop, or gave its handler up.
func (v *view) stopped(before, next run) bool {
	stop := v.fate(before.start.Proc).stop
	return before.abandoned || stop != 0 && stop <= next.start.At && !before.ended(OutcomeSuccess)
}

func (v *view) ranAgain(s *story) string {
	return s.again(func(before, next run) string {
		returned := before.ended(OutcomeRetry) || before.ended(OutcomeSnooze) || before.ended(OutcomeGiveBack)
		if returned || v.taken(before, next) || v.stopped(before, next) {
			return ""
		}
		return fmt.Sprintf("%s ran it again after %s, for no reason", next.start.Proc, before.start.Proc)
	})
}

func (v *view) miscounted(s *story) string {
	if len(s.runs) > 0 && s.runs[0].start.Attempt != 1 {
		return fmt.Sprintf("its first run was attempt %d", s.runs[0].start.Attempt)
	}
	return s.again(func(before, next run) string {
		was, is := before.start.Attempt, next.start.Attempt
		failed := before.ended(OutcomeRetry) || before.abandoned
		doubtful := v.taken(before, next) || v.stopped(before, next) || before.abandoned // perhaps nobody recorded the failure
		switch {
		case v.lostBy(next.start.At) || is == was && (!failed || doubtful) || is == was+1 && failed:
			return ""
		case is > was:
			return fmt.Sprintf("attempt %d followed attempt %d, though no handler failed", is, was)
		}
		return fmt.Sprintf("attempt %d followed attempt %d, which had failed", is, was)
	})
}

func (v *view) startedTwice(s *story) string {
	for i := 1; i < len(s.runs); i++ {
		before, next := s.runs[i-1].start, s.runs[i].start
		if before.Token == next.Token {
			return fmt.Sprintf("claim %d was started by %s and by %s", next.Token, before.Proc, next.Proc)
		}
	}
	return ""
}

// tokenWentBack excuses a worker that was left with an old master: it claims there what others have claimed from the new one,
// and may start it before they do.
func (v *view) tokenWentBack(s *story) string {
	for i := 1; i < len(s.runs); i++ {
		before, next := s.runs[i-1], s.runs[i]
		left := v.lostBy(next.start.At) && v.wasCut(next, next.start.At)
		if next.start.At < before.start.At && !v.wasCut(before, before.start.At) && !left {
			return fmt.Sprintf("token %d came after %d", before.start.Token, next.start.Token)
		}
	}
	return ""
}

func (v *view) overlapped(s *story) string {
	for i := 1; i < len(s.runs); i++ {
		before, next := s.runs[i-1], s.runs[i]
		if !v.over(before, next.start.At) && !v.taken(before, next) && !v.stopped(before, next) {
			return fmt.Sprintf("%s started it while %s ran it", next.start.Proc, before.start.Proc)
		}
	}
	return ""
}

func (v *view) payloadChanged(s *story) string {
	for _, r := range s.runs {
		switch sum := s.sumAt(r.start.Token); {
		case r.start.Sum == sum:
		case sum == s.sent:
			return "its payload changed on the way"
		default:
			return fmt.Sprintf("%s ran it with a payload that it had no longer", r.start.Proc)
		}
	}
	return ""
}

// step is a start in the order of a queue with one slot.
type step struct {
	s   *story
	run int
}

// disorder finds, queue by queue, the jobs that started before others that should have come first.
func (v *view) disorder() map[string]string {
	found := make(map[string]string)
	queues := make(map[string][]step)
	for _, s := range v.stories {
		if !s.possible || s.first.Due != 0 {
			continue
		}
		for i := range s.runs {
			queues[s.first.Queue] = append(queues[s.first.Queue], step{s, i})
		}
	}
	for _, steps := range queues {
		slices.SortStableFunc(steps, func(a, b step) int {
			return cmp.Compare(a.s.runs[a.run].start.At, b.s.runs[b.run].start.At)
		})
		v.overtaken(steps, found)
		v.notFirst(steps, found)
	}
	return found
}

// overtaken notes the jobs whose first run came after that of a job that was enqueued later.
func (v *view) overtaken(steps []step, found map[string]string) {
	var newest *story
	for _, at := range steps {
		switch {
		case at.run > 0:
		case newest != nil && at.s.first.At < newest.first.At:
			found[at.s.id] = fmt.Sprintf("%s, which was enqueued later, started before it", newest.id)
		default:
			newest = at.s
		}
	}
}

// notFirst notes the jobs that were given back and then had to let others pass. When those of a dead worker are back in their
// queue no history tells.
func (v *view) notFirst(steps []step, found map[string]string) {
	for i := 1; i < len(steps); i++ {
		was, now := steps[i-1], steps[i]
		if was.s.runs[was.run].ended(OutcomeGiveBack) && now.s != was.s {
			found[was.s.id] = fmt.Sprintf("it was returned to its queue, but %s started first", now.s.id)
		}
	}
}
