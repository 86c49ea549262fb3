package history

import (
	"slices"
	"strconv"

	"github.com/real-staging-ai/go-worker"
)

// story is what the history, Redis and the rows say of one job.
type story struct {
	id       string
	accepted bool     // an enqueue was OK
	possible bool     // or unknown, or it was requeued
	unclear  bool     // an enqueue was unknown: it may be executed late
	first    Event    // the first such enqueue
	sent     uint32   // the checksum of the payload that was first to be enqueued, whatever became of that
	cancels  []Event  // but for those that failed
	requeues []Event  // the same
	edits    []Event  // whatever became of them
	edited   []Event  // edits that were executed, by token
	deletes  []Event  // but for those that failed
	hastened []Event  // what was made due, and answered so
	runs     []run    // by token
	finals   []Event  // by token
	settles  []Event  // that were executed
	cut      []Event  // claims whose reply was lost
	missed   []Event  // what sweeps had to enqueue again
	dues     []Event  // enqueues that were to wait: a later one may have taken the job's place
	answered int64    // when an enqueue was OK first, 0: never
	places   []string // where Redis has the job, void entries subtracted
	keys     []string // and all keys that name it
	row      Row
	hasRow   bool
	viewers  map[string]*viewer
}

// run is one run of a handler.
type run struct {
	start     Event
	finish    *Event // nil while it runs, or when its process died
	lost      bool   // its handler saw ErrLeaseLost
	abandoned bool
}

// viewer is what one viewer saw of a job.
type viewer struct {
	seen []Event // in the order in which it saw them
}

func (s *story) add(e Event) {
	switch e.Op {
	case OpEnqueue:
		s.enqueued(e)
	case OpCancel:
		if e.Result != ResultFailed {
			s.cancels = append(s.cancels, e)
		}
	case OpRequeue:
		if e.Result != ResultFailed {
			s.requeues = append(s.requeues, e)
			s.possible = true
		}
	case OpEdit, OpEdited, OpRunNow, OpDelete:
		s.control(e)
	case OpStart:
		s.runs = append(s.runs, run{start: e})
	case OpFinish, OpLost, OpAbandon:
		s.mark(e)
	case OpFinal:
		if e.Token > 0 { // with 0 it says "not enqueued", and yields to anything
			s.finals = append(s.finals, e)
		}
	case OpSettle:
		s.settles = append(s.settles, e)
	case OpClaimLost:
		s.cut = append(s.cut, e)
	case OpMissing:
		s.missed = append(s.missed, e)
	case OpWatch:
		s.viewer(e.Proc)
	case OpSeen:
		w := s.viewer(e.Proc)
		w.seen = append(w.seen, e)
	}
}

func (s *story) enqueued(e Event) {
	if s.sent == 0 {
		s.sent = e.Sum
	}
	if e.Result == ResultFailed {
		return
	}
	if s.first.Op == "" {
		s.first = e
	}
	s.possible = true
	s.unclear = s.unclear || e.Result == ResultUnknown
	if e.Due != 0 {
		s.dues = append(s.dues, e)
	}
	if e.Result == ResultOK && !s.accepted {
		s.accepted, s.answered = true, e.At
	}
}

// control notes what was done to the job while it waited, or was dead.
func (s *story) control(e Event) {
	switch {
	case e.Op == OpEdit:
		s.edits = append(s.edits, e)
	case e.Op == OpEdited:
		s.edited = append(s.edited, e)
	case e.Result == ResultFailed:
	case e.Op == OpDelete:
		s.deletes = append(s.deletes, e)
	case e.Result == ResultOK:
		s.hastened = append(s.hastened, e)
	}
}

// mark notes what became of a run.
func (s *story) mark(e Event) {
	for i := range s.runs {
		r := &s.runs[i]
		if r.start.Token != e.Token || r.start.Proc != e.Proc {
			continue
		}
		switch e.Op {
		case OpFinish:
			r.finish = &e
			r.lost = r.lost || e.Outcome == OutcomeLost
		case OpLost:
			r.lost = true
		case OpAbandon:
			r.abandoned = true
		}
	}
}

func (s *story) viewer(name string) *viewer {
	w := s.viewers[name]
	if w == nil {
		w = &viewer{}
		s.viewers[name] = w
	}
	return w
}

// settledBy reports whether by then a claim was settled, as one is that goes back after its reply was lost, or a later one.
func (s *story) settledBy(token, by int64) bool {
	return slices.ContainsFunc(s.settles, func(e Event) bool { return e.Token >= token && e.At <= by })
}

// reopened reports whether a new round was opened between two tokens of a job: of a claim or a final state, and of a claim
// or a final state that is later.
func (s *story) reopened(before, after int64) bool {
	return slices.ContainsFunc(s.requeues, func(e Event) bool {
		return e.Token == 0 || before < e.Token && e.Token < after
	})
}

// last returns the final state that the job has in the end, nil when it has none: none at all, or a later round.
func (s *story) last() *Event {
	if len(s.finals) == 0 {
		return nil
	}
	last := &s.finals[len(s.finals)-1]
	for _, e := range s.requeues {
		if e.Result == ResultOK && (e.Token > last.Token || e.Token == 0 && len(s.finals) == 1) {
			return nil
		}
	}
	return last
}

// canceledAtOnce reports whether a client was told that the job is canceled.
func (s *story) canceledAtOnce() bool {
	return slices.ContainsFunc(s.cancels, func(e Event) bool { return e.State == worker.StateCanceled })
}

// runOf returns the run under a token.
func (s *story) runOf(token int64) *run {
	for i := range s.runs {
		if s.runs[i].start.Token == token {
			return &s.runs[i]
		}
	}
	return nil
}

// lastRun returns the last run of the job, nil if it never ran.
func (s *story) lastRun() *run {
	if len(s.runs) == 0 {
		return nil
	}
	return &s.runs[len(s.runs)-1]
}

func (r run) ended(o Outcome) bool { return r.finish != nil && r.finish.Outcome == o }

// ending names a final state for people, with its token.
func ending(state worker.State, token int64) string {
	return string(state) + " under token " + strconv.FormatInt(token, 10)
}
