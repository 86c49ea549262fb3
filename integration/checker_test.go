package integration

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/real-staging-ai/go-worker"
)

// expectation is what is known of an accepted job: its payload, and how it must end.
type expectation struct {
	sum  uint32
	ends worker.State // succeeded, or failed for a job that takes its workers down
	may  bool         // Redis may have lost it before it ran
}

// checker judges a run: the jobs that were accepted, all that the processes did, and what is left in Redis.
type checker struct {
	accepted map[string]expectation
	events   []event
	left     map[string][]string // job ids by the key, such as "pending", that still names them

	// stored says that final states come from a status store, which has each accepted one exactly once. Without it
	// pools announce them, and a process that dies between settling and announcing says nothing.
	stored bool
	// lossy says that Redis lost acknowledged writes, so that a job may be claimed again for no other reason.
	lossy bool
}

// run is one run of a handler.
type run struct {
	start  event
	finish *event // nil while it runs, or when its process died
}

// jobStory is what the history says of one job.
type jobStory struct {
	id     string
	want   expectation
	known  bool    // it was accepted
	runs   []run   // in the order of their starts
	finals []event // in order
}

// fates say when processes ended or stood still, by process.
type fates struct {
	end, pause map[string]int64
	times      []int64 // of both, in order
}

// rule is one promise about every job.
type rule struct {
	promise string
	broken  func(c *checker, f *fates, s *jobStory) string // how it is broken, empty when it is kept
}

var rules = []rule{
	{"only what was accepted is run", (*checker).strange},
	{"none is lost: the last run of a job finishes", (*checker).lost},
	{"a job has one final state", (*checker).unsettled},
	{"a job that ended never starts again", (*checker).startedAfterEnd},
	{"a job runs again only after its worker died, was cut off or gave it back", (*checker).ranAgain},
	{"at most one process runs a job", (*checker).overlapped},
	{"later claims have larger tokens", (*checker).tokenWentBack},
	{"no worker that lives is robbed, no crash counted without one", (*checker).crashWithoutDeath},
	{"crashes and shutdowns are no attempts", (*checker).attemptBurnt},
	{"payload bytes arrive as they were sent", (*checker).payloadChanged},
}

// violations returns what is wrong, worded for people; nothing is when all promises were kept.
func (c *checker) violations() (found []string) {
	f := c.fates()
	for _, s := range c.stories() {
		for _, r := range rules {
			if how := r.broken(c, f, s); how != "" {
				found = append(found, fmt.Sprintf("job %s: %s (%s)", s.id, how, r.promise))
			}
		}
	}
	return append(found, c.leftovers()...)
}

// forgive says that Redis may have lost an accepted job.
func (c *checker) forgive(id string) {
	want := c.accepted[id]
	want.may = true
	c.accepted[id] = want
}

func (c *checker) fates() *fates {
	f := &fates{end: make(map[string]int64), pause: make(map[string]int64)}
	for _, e := range c.events {
		switch e.Op {
		case opEnd:
			if f.end[e.Proc] == 0 { // the process's own word comes before the test's
				f.end[e.Proc] = e.At
				f.times = append(f.times, e.At)
			}
		case opPause:
			f.pause[e.Proc] = e.At
			f.times = append(f.times, e.At)
		}
	}
	return f
}

// stories sorts the events by job.
func (c *checker) stories() []*jobStory {
	byID := make(map[string]*jobStory, len(c.accepted))
	story := func(id string) *jobStory {
		s := byID[id]
		if s == nil {
			want, known := c.accepted[id]
			s = &jobStory{id: id, want: want, known: known}
			byID[id] = s
		}
		return s
	}
	for id := range c.accepted {
		story(id)
	}
	for _, e := range c.events {
		switch e.Op {
		case opStart:
			s := story(e.Job)
			s.runs = append(s.runs, run{start: e})
		case opFinish:
			story(e.Job).finish(e)
		case opFinal:
			s := story(e.Job)
			s.finals = append(s.finals, e)
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b *jobStory) int { return cmp.Compare(a.id, b.id) })
}

func (s *jobStory) finish(e event) {
	for i := range s.runs {
		if s.runs[i].start.Token == e.Token && s.runs[i].start.Proc == e.Proc {
			s.runs[i].finish = &e
		}
	}
}

func (c *checker) strange(_ *fates, s *jobStory) string {
	if !s.known {
		return "nobody enqueued it"
	}
	return ""
}

func (c *checker) lost(_ *fates, s *jobStory) string {
	switch {
	case !s.known || s.want.ends != worker.StateSucceeded:
	case len(s.runs) == 0 && s.want.may:
	case len(s.runs) == 0:
		return "it never ran"
	case c.lossy:
		if !slices.ContainsFunc(s.runs, run.succeeded) {
			return "no run succeeded"
		}
	case !s.runs[len(s.runs)-1].succeeded():
		return "its last run did not succeed"
	}
	return ""
}

func (r run) succeeded() bool { return r.finish != nil && r.finish.Text == "" }

func (c *checker) unsettled(f *fates, s *jobStory) string {
	for _, e := range s.finals {
		if worker.State(e.Text) != s.want.ends {
			return fmt.Sprintf("it ended as %s, not as %s", e.Text, s.want.ends)
		}
	}
	silent := !c.stored && len(f.end) > 0 // its worker may have died before it could say so
	switch n := len(s.finals); {
	case n > 1 && !c.lossy:
		return fmt.Sprintf("it was settled %d times", n)
	case n == 0 && s.known && !silent && !s.want.may:
		return "it was never settled"
	}
	return ""
}

func (c *checker) startedAfterEnd(_ *fates, s *jobStory) string {
	for _, e := range s.finals {
		for _, r := range s.runs {
			if r.start.Token > e.Token && !c.lossy {
				return fmt.Sprintf("%s started it after it had %s", r.start.Proc, e.Text)
			}
		}
	}
	return ""
}

func (c *checker) ranAgain(f *fates, s *jobStory) string {
	for i := 1; i < len(s.runs); i++ {
		before, again := s.runs[i-1], s.runs[i].start
		end := f.end[before.start.Proc]
		died := end != 0 && end <= again.At
		cutOff := f.pause[before.start.Proc] != 0
		gaveBack := before.finish != nil && before.finish.Text == worker.ErrShutdown.Error()
		if !died && !cutOff && !gaveBack && !c.lossy {
			return fmt.Sprintf("%s ran it again after %s, for no reason", again.Proc, before.start.Proc)
		}
	}
	return ""
}

func (c *checker) overlapped(f *fates, s *jobStory) string {
	for i := 1; i < len(s.runs); i++ {
		before, again := s.runs[i-1], s.runs[i].start
		end := f.end[before.start.Proc]
		over := before.finish != nil && before.finish.At <= again.At || end != 0 && end <= again.At
		if !over && f.pause[before.start.Proc] == 0 && !c.lossy {
			return fmt.Sprintf("%s started it while %s ran it", again.Proc, before.start.Proc)
		}
	}
	return ""
}

func (c *checker) tokenWentBack(_ *fates, s *jobStory) string {
	for i := 1; i < len(s.runs); i++ {
		if before, now := s.runs[i-1].start.Token, s.runs[i].start.Token; now <= before {
			return fmt.Sprintf("token %d came after %d", now, before)
		}
	}
	return ""
}

func (c *checker) crashWithoutDeath(f *fates, s *jobStory) string {
	for _, r := range s.runs {
		deaths := 0
		for _, at := range f.times {
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

func (c *checker) attemptBurnt(_ *fates, s *jobStory) string {
	for _, r := range s.runs {
		if r.start.Attempt != 1 {
			return fmt.Sprintf("attempt %d began, though no handler failed", r.start.Attempt)
		}
	}
	return ""
}

func (c *checker) payloadChanged(_ *fates, s *jobStory) string {
	for _, r := range s.runs {
		if s.known && r.start.Sum != s.want.sum {
			return "its payload changed on the way"
		}
	}
	return ""
}

// leftovers looks at what is left in Redis: failed jobs with their bodies, and nothing else.
func (c *checker) leftovers() (found []string) {
	want := make(map[string]bool)
	for id, e := range c.accepted {
		if e.ends != worker.StateSucceeded {
			want[id] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.left)) {
		keeps := key == "dead" || key == "jobs" || key == "history"
		for _, id := range c.left[key] {
			if !keeps || !want[id] {
				found = append(found, fmt.Sprintf("job %s: is left in %s", id, key))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		for _, key := range []string{"dead", "jobs"} {
			if !slices.Contains(c.left[key], id) {
				found = append(found, fmt.Sprintf("job %s: it failed, but is not in %s", id, key))
			}
		}
	}
	return found
}
