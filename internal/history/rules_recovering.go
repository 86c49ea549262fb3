package history

import (
	"fmt"
	"slices"
	"time"
)

// recovering is invariants 5, 6 and 7. Where times are not judged, that a job is found at all is invariant 1's.
var recovering = []rule{
	{5, "a claim whose reply was lost is noticed within three heartbeats", other, (*view).unnoticed},
	{6, "a dead worker's job starts again within lease, grace and two beats", other, (*view).recoveredLate},
	{6, "no job is taken from a worker before lease and grace are over", other, (*view).robbedEarly},
	{6, "no worker that lives is robbed, no crash counted without one", other, (*view).crashWithoutDeath},
	{7, "who lost its lease stops its handlers with ErrLeaseLost", other, (*view).ranOn},
	{7, "who lost its lease records nothing", doubled, (*view).recordedLate},
}

// unnoticed goes by what is true of a dead worker's jobs where the one whose claim it was has died.
func (v *view) unnoticed(s *story) string {
	if !v.Timing.judged() {
		return ""
	}
	for _, e := range s.cut {
		by := v.deadline(e.At, 3*v.Timing.beat()+v.Timing.Tolerance)
		died := v.fate(e.Proc).end
		orphaned := died != 0 && died <= by
		if orphaned {
			by = v.deadline(died, v.Timing.recovery()+v.Timing.Slack)
		}
		for _, r := range s.runs {
			if r.start.Token < e.Token {
				continue
			}
			if orphaned && (r.start.suspect() || r.start.At <= v.slotFree(r, by)) {
				break
			}
			if r.start.At > by && !s.settledBy(e.Token, by) {
				return fmt.Sprintf("its claim's reply was lost, and it started %v later", time.Duration(r.start.At-e.At))
			}
			break
		}
	}
	return ""
}

// orphaned calls f with each run that its process's death cut short, when that was, and the run that came next. One that
// ended in the same moment, as happens in fake time, may have been settled.
func (v *view) orphaned(s *story, f func(before run, died int64, next run) string) string {
	return s.again(func(before, next run) string {
		died := v.fate(before.start.Proc).end
		if died == 0 || before.finish != nil && before.finish.At <= died || died > next.start.At {
			return ""
		}
		return f(before, died, next)
	})
}

// suspect reports whether a job that starts had to wait for a slot of its own, as it may take its worker down.
func (e Event) suspect() bool { return e.Crashes >= 2 }

func (v *view) recoveredLate(s *story) string {
	if !v.Timing.judged() {
		return ""
	}
	return v.orphaned(s, func(_ run, died int64, next run) string {
		within := v.Timing.recovery() + v.Timing.Slack
		by := v.deadline(died, within)
		for _, e := range s.dues {
			if e.At > died && e.At <= next.start.At { // somebody else's time counts now
				if v.Timing.Busy { // and its place is at the end of the line
					return ""
				}
				by = max(by, v.deadline(e.Due, within))
			}
		}
		if next.start.suspect() || next.start.At <= v.slotFree(next, by) {
			return ""
		}
		return fmt.Sprintf("its worker died, and it started again %v later", time.Duration(next.start.At-died))
	})
}

// slotFree is until when a job that is due to start at by must have done so, as a slot was free for it: a job that started
// for the first time came behind those of a dead worker.
func (v *view) slotFree(next run, by int64) int64 {
	for v.Timing.Busy {
		i, _ := slices.BinarySearch(v.firsts, by+1)
		if i == len(v.firsts) || v.firsts[i] >= next.start.At {
			return next.start.At
		}
		free := v.firsts[i]
		until := v.deadline(free, v.Timing.Tolerance)
		if until == later(free, v.Timing.Tolerance) {
			return until
		}
		by = until // nobody could claim it there, and then other jobs may have been first
	}
	return by
}

func (v *view) robbedEarly(s *story) string {
	if !v.Timing.judged() {
		return ""
	}
	t := v.Timing
	return v.orphaned(s, func(before run, died int64, next run) string {
		if before.finish != nil && before.finish.At <= died { // perhaps it was settled in the same moment, in fake time
			return ""
		}
		beat := died - int64(t.beat()+t.Tolerance) // the last one may have been so long ago
		earliest := later(beat, t.Lease+t.grace())
		from := beat - int64(t.Lease+t.grace())
		if next.start.At >= earliest || v.lostBy(next.start.At) || v.disturbed(before.start.Proc, from, next.start.At) ||
			v.stopped(before, next) {
			return ""
		}
		return fmt.Sprintf("%s started it only %v after %s had died", next.start.Proc, time.Duration(next.start.At-died),
			before.start.Proc)
	})
}

// disturbed reports whether in a time the process could not renew its lease, or Redis's clock may have ended it.
func (v *view) disturbed(proc string, from, until int64) bool {
	return slices.ContainsFunc(v.trouble, func(t trouble) bool {
		return t.op != OpEnd && (t.proc == "" || t.proc == proc) && t.from <= until && t.until >= from
	})
}

func (v *view) crashWithoutDeath(s *story) string {
	for _, r := range s.runs {
		deaths := 0
		for _, at := range v.deaths {
			if at <= r.start.At {
				deaths++
			}
		}
		if r.start.Crashes > deaths {
			return fmt.Sprintf("it counts %d crashes after %d deaths", r.start.Crashes, deaths)
		}
	}
	return ""
}

// takenAlive calls f with each run whose process lives although the job was taken from it.
func (v *view) takenAlive(s *story, f func(before, next run) string) string {
	return s.again(func(before, next run) string {
		if v.lostBy(next.start.At) || !v.wasCut(before, next.start.At) || v.fate(before.start.Proc).end != 0 {
			return ""
		}
		return f(before, next)
	})
}

func (v *view) ranOn(s *story) string {
	return v.takenAlive(s, func(before, next run) string {
		if before.lost || before.abandoned || before.finish != nil && before.finish.At <= next.start.At {
			return ""
		}
		who := before.start.Proc
		if before.finish == nil {
			if v.fate(who).stop != 0 {
				return ""
			}
			return fmt.Sprintf("%s never stopped it, though %s had it", who, next.start.Proc)
		}
		for _, p := range v.fate(who).pauses {
			if p.from <= next.start.At && (p.until == forever || before.finish.At <= later(p.until, v.notice())) {
				return "" // it did not know yet
			}
		}
		if !v.Timing.judged() {
			return ""
		}
		return fmt.Sprintf("%s ran it to its end, though %s had it", who, next.start.Proc)
	})
}

func (v *view) recordedLate(s *story) string {
	return v.takenAlive(s, func(before, next run) string {
		for _, e := range s.finals {
			if e.Token == before.start.Token {
				return fmt.Sprintf("%s made it %s, though %s had it", before.start.Proc, e.State, next.start.Proc)
			}
		}
		return ""
	})
}
