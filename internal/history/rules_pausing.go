package history

import (
	"fmt"
	"time"
)

// pausing is what the pause of a queue must bring about.
var pausing = []rule{
	{0, "nothing is claimed from a queue that is paused", other, (*view).claimedInPause},
}

const (
	// TokensPerMilli is how many tokens lie between two milliseconds of Redis's clock.
	TokensPerMilli = 250
	// tokenLead is how far tokens may be ahead of that clock, as there may be more claims than that in a millisecond.
	tokenLead = 10 * time.Millisecond
)

// claimedInPause goes by tokens, which tell when Redis handed a job out: what was claimed before may well start in a pause.
// They do so in fake time, where all have one clock, until Redis's is moved or it loses data.
func (v *view) claimedInPause(s *story) string {
	if !v.Timing.judged() {
		return ""
	}
	for _, e := range s.claims() {
		if e.At >= v.moved || v.lostBy(e.At) {
			continue
		}
		at := e.Token / TokensPerMilli * int64(time.Millisecond)
		for _, p := range v.pauses {
			if p.Queue == s.first.Queue && at > later(p.At, tokenLead) && at < v.resumed(p) {
				return fmt.Sprintf("%s claimed it %v after its queue was paused", e.Proc,
					time.Duration(at-p.At).Truncate(time.Millisecond))
			}
		}
	}
	return ""
}

// claims returns what tells of a claim: starts, and replies that were lost.
func (s *story) claims() (all []Event) {
	for _, r := range s.runs {
		all = append(all, r.start)
	}
	return append(all, s.cut...)
}

// resumed is when a pause was over at the earliest, in whole milliseconds as tokens have them: as the first call began that
// may have been executed after it.
func (v *view) resumed(p Event) int64 {
	until := int64(forever)
	for _, e := range v.resumes {
		if e.Queue == p.Queue && (e.At >= p.Since || e.Result == ResultUnknown) {
			until = min(until, e.Since)
		}
	}
	return until - until%int64(time.Millisecond)
}
