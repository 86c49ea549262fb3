package history

import (
	"fmt"
	"time"
)

// Figures sum a run up.
type Figures struct {
	Jobs          int // accepted ones
	Lost          int
	DoubleSettled int
	Stuck         int
	// ExtraStarts are those beyond the first of each round that neither a retry nor a snooze asked for.
	ExtraStarts int
	// LongestRecovery is the longest time from the death of a worker, or from when it stood still, to the next start of a
	// job that it was running. Suspects apart: they wait for a slot of their own.
	LongestRecovery time.Duration
	// Disagreeing are the rows that disagree with the queue; -1 without a status store.
	Disagreeing int
}

// Plus sums two runs up.
func (f Figures) Plus(g Figures) Figures {
	f.Jobs += g.Jobs
	f.Lost += g.Lost
	f.DoubleSettled += g.DoubleSettled
	f.Stuck += g.Stuck
	f.ExtraStarts += g.ExtraStarts
	f.LongestRecovery = max(f.LongestRecovery, g.LongestRecovery)
	if f.Disagreeing >= 0 && g.Disagreeing >= 0 {
		f.Disagreeing += g.Disagreeing
	} else {
		f.Disagreeing = max(f.Disagreeing, g.Disagreeing)
	}
	return f
}

// Columns name the figures in a table's head, in the order of Cells.
func Columns() []string {
	return []string{"jobs", "lost", "double-settled", "stuck", "extra starts", "longest recovery", "rows that disagree"}
}

// Cells are the figures as a table shows them.
func (f Figures) Cells() []string {
	rows := "–"
	if f.Disagreeing >= 0 {
		rows = fmt.Sprint(f.Disagreeing)
	}
	recovery := "–"
	if f.LongestRecovery > 0 {
		recovery = fmt.Sprintf("%.1f s", f.LongestRecovery.Seconds())
	}
	return []string{fmt.Sprint(f.Jobs), fmt.Sprint(f.Lost), fmt.Sprint(f.DoubleSettled), fmt.Sprint(f.Stuck),
		fmt.Sprint(f.ExtraStarts), recovery, rows}
}

func (v *view) figures(found []Violation) Figures {
	f := Figures{}
	by := make(map[kind]map[string]bool)
	for _, broken := range found {
		if by[broken.kind] == nil {
			by[broken.kind] = make(map[string]bool)
		}
		by[broken.kind][broken.Job] = true
	}
	f.Lost, f.DoubleSettled, f.Stuck, f.Disagreeing = len(by[lost]), len(by[doubled]), len(by[stuck]), len(by[disagrees])
	if v.Rows == nil {
		f.Disagreeing = -1
	}
	for _, s := range v.stories {
		if s.accepted {
			f.Jobs++
		}
		s.again(func(before, next run) string {
			if !before.ended(OutcomeRetry) && !before.ended(OutcomeSnooze) {
				f.ExtraStarts++
			}
			f.LongestRecovery = max(f.LongestRecovery, v.recovery(before, next))
			return ""
		})
	}
	return f
}

// recovery is how long a job whose worker died or stood still while it ran waited for its next start; 0 when it did not.
func (v *view) recovery(before, next run) time.Duration {
	finished := func(at int64) bool { return before.finish != nil && before.finish.At <= at }
	fate := v.fate(before.start.Proc)
	switch {
	case next.start.suspect():
	case fate.end != 0 && fate.end <= next.start.At && !finished(fate.end):
		return time.Duration(next.start.At - fate.end)
	default:
		for _, p := range fate.pauses {
			from := max(p.from, before.start.At)
			if from <= p.until && from <= next.start.At && !finished(from) {
				return time.Duration(next.start.At - from)
			}
		}
	}
	return 0
}
