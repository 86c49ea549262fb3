package history

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// view is a run as the rules look at it.
type view struct {
	*Checker
	lossy   bool  // Redis lost data
	loss    int64 // when it first did
	fates   map[string]*fate
	deaths  []int64   // times of all ends and pauses, in order
	trouble []trouble // whatever makes times be counted anew, in order
	firsts  []int64   // times of all first starts, in order
	stories []*story
	order   map[string]string // how jobs that started out of order did, by id
	edits   bool              // it is known which ones were executed
	moved   int64             // when Redis's clock was moved first, for ever when it never was
	pauses  []Event           // confirmed ones, of queues
	resumes []Event           // the same, but for those that failed
}

// span is a time in ns, both ends included.
type span struct{ from, until int64 }

const forever = 1<<63 - 1

// trouble is a time in which a process, or with an empty proc any of them, could not do its work.
type trouble struct {
	span
	proc string
	op   Op
}

// fate is what befell a process.
type fate struct {
	stop, end int64 // 0: it didn't
	pauses    []span
}

func newView(c *Checker) *view {
	v := &view{Checker: c, fates: make(map[string]*fate), moved: forever}
	events := slices.Clone(c.Events)
	slices.SortStableFunc(events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	byID := make(map[string]*story)
	for _, e := range events {
		if e.Job == "" {
			v.befall(e)
			continue
		}
		storyOf(byID, e.Job).add(e)
		v.edits = v.edits || e.Op == OpEdited
	}
	v.readRedis(byID)
	for id, row := range c.Rows {
		s := storyOf(byID, id)
		s.row, s.hasRow = row, true
	}
	for _, s := range byID {
		slices.SortStableFunc(s.runs, func(a, b run) int { return cmp.Compare(a.start.Token, b.start.Token) })
		if len(s.runs) > 0 && s.runs[0].start.Crashes == 0 {
			v.firsts = append(v.firsts, s.runs[0].start.At)
		}
		slices.SortStableFunc(s.edited, func(a, b Event) int { return cmp.Compare(a.Token, b.Token) })
		slices.SortStableFunc(s.finals, func(a, b Event) int { return cmp.Compare(a.Token, b.Token) })
	}
	v.stories = slices.SortedFunc(maps.Values(byID), func(a, b *story) int { return cmp.Compare(a.id, b.id) })
	slices.Sort(v.firsts)
	slices.SortFunc(v.trouble, func(a, b trouble) int { return cmp.Compare(a.from, b.from) })
	if c.OneSlot {
		v.order = v.disorder()
	}
	return v
}

func storyOf(byID map[string]*story, id string) *story {
	s := byID[id]
	if s == nil {
		s = &story{id: id, viewers: make(map[string]*viewer)}
		byID[id] = s
	}
	return s
}

func (v *view) fate(proc string) *fate {
	f := v.fates[proc]
	if f == nil {
		f = &fate{}
		v.fates[proc] = f
	}
	return f
}

// befall takes in an event that is about no job.
func (v *view) befall(e Event) {
	f := v.fate(e.Proc)
	switch e.Op {
	case OpStop:
		f.stop = cmp.Or(f.stop, e.At)
	case OpEnd:
		if f.end != 0 { // the process's own word comes before the test's
			return
		}
		f.end = e.At
		v.deaths = append(v.deaths, e.At)
		v.disturb(e, e.At, e.At)
	case OpPause:
		f.pauses = append(f.pauses, span{e.At, cmp.Or(e.Until, forever)})
		v.deaths = append(v.deaths, e.At)
		v.disturb(e, e.At, e.Until)
	case OpResume:
		if n := len(f.pauses); n > 0 && f.pauses[n-1].until == forever {
			f.pauses[n-1].until = e.At
			v.disturb(e, f.pauses[n-1].from, e.At)
		}
	case OpOutage:
		v.disturb(e, e.At, e.Until)
	case OpPauseQueue:
		if e.Result == ResultOK {
			v.pauses = append(v.pauses, e)
		}
	case OpResumeQueue:
		if e.Result != ResultFailed {
			v.resumes = append(v.resumes, e)
		}
	case OpClockMoved:
		v.moved = min(v.moved, e.At)
	case OpDataLost:
		if !v.lossy { // events come in the order of their time
			v.lossy, v.loss = true, e.At
		}
	}
}

func (v *view) disturb(e Event, from, until int64) {
	v.trouble = append(v.trouble, trouble{span: span{from, max(from, until)}, proc: e.Proc, op: e.Op})
}

// readRedis tells each story where Redis has its job.
func (v *view) readRedis(byID map[string]*story) {
	void := maps.Clone(v.Redis.Void)
	for _, key := range slices.Sorted(maps.Keys(v.Redis.Keys)) {
		if key == "workers" || key == "wake" || key == "token" { // they name no jobs
			continue
		}
		for _, id := range v.Redis.Keys[key] {
			s := storyOf(byID, id)
			if !slices.Contains(s.keys, key) {
				s.keys = append(s.keys, key)
			}
			switch {
			case key == "pending" || key == "suspects":
				if void[id] > 0 {
					void[id]--
					continue
				}
				s.places = append(s.places, key)
			case key == "scheduled" || key == "dead" || strings.HasPrefix(key, "inflight:"):
				s.places = append(s.places, key)
			}
		}
	}
}

// died reports whether the run's process was dead by then.
func (v *view) died(r run, by int64) bool {
	end := v.fate(r.start.Proc).end
	return end != 0 && end <= by
}

// wasCut reports whether by then the run's process had stood still or had been cut off for longer than its lease, while it
// ran this or just before.
func (v *view) wasCut(r run, by int64) bool {
	return slices.ContainsFunc(v.fate(r.start.Proc).pauses, func(p span) bool {
		return p.from <= by && r.start.At <= later(p.until, v.unaware())
	})
}

// lostBy reports whether by then Redis had lost data.
func (v *view) lostBy(at int64) bool { return v.lossy && v.loss <= at }

// unaware is how long after a pause a worker may still start what is no longer its own.
func (v *view) unaware() time.Duration {
	if v.Timing.judged() {
		return v.notice()
	}
	return cmp.Or(v.Notice, 10*time.Second)
}

// notice is how long a worker may take to see that its lease is gone.
func (v *view) notice() time.Duration { return 3*v.Timing.beat() + v.Timing.Tolerance }

// later adds to a time that may be for ever.
func later(at int64, d time.Duration) int64 {
	if at > forever-int64(d) {
		return forever
	}
	return at + int64(d)
}

// deadline is until when something must have happened that takes so long at most. What disturbs it makes the time be
// counted anew, and then a dead worker may have to be missed first.
func (v *view) deadline(from int64, bound time.Duration) int64 {
	return v.deadlineOf("", from, bound)
}

// deadlineOf is the deadline of what a single process must do: trouble of others doesn't disturb it. The empty one stands
// for all.
func (v *view) deadlineOf(proc string, from int64, bound time.Duration) int64 {
	until := later(from, bound)
	for _, t := range v.trouble {
		if proc != "" && t.proc != "" && t.proc != proc {
			continue
		}
		if t.from <= until && t.until >= from {
			until = max(until, later(t.until, max(bound, v.Timing.recovery())))
		}
	}
	return until
}

// over reports whether the run had ended by then.
func (v *view) over(r run, by int64) bool {
	return r.finish != nil && r.finish.At <= by || v.died(r, by)
}
