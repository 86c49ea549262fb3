package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Checker judges one run. The zero value of every field but Events has a meaning; a run that is over and whose faults are
// all in the history needs no more than Events, Redis and, with a status store, Rows.
type Checker struct {
	Events []Event // in any order
	Redis  Redis   // what is left in the end

	// Rows are the final rows of the status table, by job id. Nil means that there is no store.
	Rows map[string]Row
	// Ends says in which state a job must end, where the test knows. Any other end must be what its history explains.
	Ends map[string]worker.State
	// MaxCrashes is the pools' crash cap. Zero means 3.
	MaxCrashes int

	// OneSlot says that a single worker with a single slot served each queue at any time, and that the times of enqueues are in
	// their order: jobs start in order.
	OneSlot bool
	// Announced says that final states are what pools announced after they had settled, as there is no store. One that dies
	// in between says nothing. Otherwise there is exactly one OpFinal for each final state that was ever stored.
	Announced bool
	// Notice is how long a worker that stood still or was cut off may take, once that is over, to see that its lease is gone,
	// where times are not judged: what it starts later was not taken from it for that. Zero means 10 seconds.
	Notice time.Duration
	// Unfinished says that the run was cut short: jobs may still wait or run, and nothing is stuck.
	Unfinished bool
	// Swept says that sweeps went on until the end: a job whose enqueue has an unknown result is then in the queue if its
	// row waits.
	Swept bool
	// Timing, when its Lease is set, has the rules about time judged: in fake time. On a shared machine its clock would
	// fail tests, and times are Figures only.
	Timing Timing
}

// Timing are the bounds that the rules about time go by.
type Timing struct {
	Lease time.Duration // 0: times are not judged
	Grace time.Duration // 0: half a lease
	Beat  time.Duration // 0: a fifth of a lease
	// Tolerance is added to what the protocol promises, for round trips.
	Tolerance time.Duration
	// Slack is added to how soon a dead worker's jobs must start again, where those who are to take over may be in trouble
	// themselves.
	Slack time.Duration
	// Busy says that all slots may be taken: as claims go in the queue's order, a job whose worker died is then late once
	// one was started that came behind it.
	Busy bool
}

// Redis is what all queues hold together, read when nothing runs any more.
type Redis struct {
	// Keys are job ids by key, named behind the queue's prefix: the members of "pending", "suspects", "scheduled" and "dead",
	// the fields of "jobs", "history", "checkpoints", "cancels", "void" and of each "inflight:<worker>", and the value of
	// each "unique:<key>". An id stands there as often as the key has it. Keys that hold no job ids are passed over.
	Keys map[string][]string
	// Void says, by id, how many of its entries in suspects and pending no longer count, as the void hash has it.
	Void map[string]int
}

// Row is a row of the status table.
type Row struct {
	State worker.State
	Token int64
	Sum   uint32 // of the payload that it has; 0: not known
}

// Violation is one broken promise.
type Violation struct {
	Rule    int // the invariant's number; 0: rows against the queue, cancels, pauses
	Job     string
	How     string // what happened
	Promise string // what should have

	kind kind
}

// String words the violation for people.
func (v Violation) String() string {
	return fmt.Sprintf("job %s: %s (%d: %s)", v.Job, v.How, v.Rule, v.Promise)
}

// Verdict is what a Checker finds.
type Verdict struct {
	Violations []Violation // by job; none when all promises were kept
	Figures    Figures
}

// Check judges the run. It may be called again, also with other fields set.
func (c *Checker) Check() Verdict {
	v := newView(c)
	verdict := Verdict{}
	for _, s := range v.stories {
		for _, r := range rules {
			if how := r.broken(v, s); how != "" {
				verdict.Violations = append(verdict.Violations,
					Violation{Rule: r.number, Job: s.id, How: how, Promise: r.promise, kind: r.kind})
			}
		}
	}
	verdict.Figures = v.figures(verdict.Violations)
	return verdict
}

func (c *Checker) maxCrashes() int { return cmp.Or(c.MaxCrashes, 3) }

func (t Timing) judged() bool         { return t.Lease > 0 }
func (t Timing) grace() time.Duration { return cmp.Or(t.Grace, t.Lease/2) }
func (t Timing) beat() time.Duration  { return cmp.Or(t.Beat, t.Lease/5) }

// recovery is how soon a dead worker's job starts again where a slot is free.
func (t Timing) recovery() time.Duration { return t.Lease + t.grace() + 2*t.beat() + t.Tolerance }

// kind says in which figure a violation counts.
type kind int

const (
	other kind = iota
	lost
	doubled
	stuck
	disagrees
)

// rule is one promise about every job.
type rule struct {
	number  int // the invariant's
	promise string
	kind    kind
	broken  func(v *view, s *story) string // how it is broken, empty when it is kept
}

var rules = slices.Concat(accounting, sweeping, settling, starting, controlling, pausing, recovering, viewing)
