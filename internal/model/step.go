package model

import (
	"fmt"
	"strings"
)

// Op is what an actor does in a step. The names are those of the real seams.
type Op string

// The steps of producers and other clients. Those that write are one call of a script or of the store.
const (
	ProducerSave    Op = "producer.save"
	ProducerPush    Op = "producer.push"
	ProducerRead    Op = "producer.read"         // by a Push, of a job that the queue knows as dead
	ProducerRefused Op = "producer.save-refused" // or the end of a job that the queue knows as dead
	CancelRead      Op = "client.cancel.read"
	CancelMark      Op = "client.cancel.mark"
	CancelSave      Op = "client.cancel.save"
	CancelRemove    Op = "client.cancel.remove"
	RequeueRead     Op = "client.requeue.read"
	RequeueDraw     Op = "client.requeue.draw"
	RequeueSave     Op = "client.requeue.save"
	RequeueMove     Op = "client.requeue.move"
	SweepList       Op = "sweep.list"
	SweepAsk        Op = "sweep.ask"
	SweepRead       Op = "sweep.read"
	SweepPush       Op = "sweep.push"
	SweepReopen     Op = "sweep.reopen"
	SweepRecord     Op = "sweep.record"
)

// The steps of a worker.
const (
	WorkerOpen        Op = "worker.open"
	WorkerClaim       Op = "worker.claim"
	WorkerClaimed     Op = "worker.claim-reply" // of a claim with the fault Slow
	WorkerSaveRunning Op = "worker.save-running"
	WorkerHandler     Op = "worker.handler" // returns
	WorkerSaveOutcome Op = "worker.save-outcome"
	WorkerSettle      Op = "worker.settle"
	WorkerResume      Op = "worker.resume" // after the fault Pause
	Beat              Op = "beat"
	BeatReply         Op = "beat-reply" // of a beat with the fault Slow
	Takeover          Op = "takeover"   // of session Other: fence, move one job, remove when none is left
)

// What happens to all.
const (
	LeaseExpires  Op = "lease.expires"  // of session Other
	GracePasses   Op = "grace.passes"   // while a lease is seen expired
	WorkerDies    Op = "worker.dies"    // a fault
	WorkerStops   Op = "worker.stops"   // a fault: it closes its session
	WorkerPauses  Op = "worker.pauses"  // a fault: it does nothing until it resumes, its lease included
	ClientDies    Op = "client.dies"    // a fault
	ClientRepeats Op = "client.repeats" // a fault: what it did last was done, and its caller calls again
	QueueAway     Op = "queue.away"     // a fault: nobody could renew a lease
	QueueEmpty    Op = "queue.empty"    // a fault: it has lost all data
)

// Fault is what becomes of the call of a step.
type Fault string

// The faults of calls.
const (
	NoFault   Fault = ""
	LostReply Fault = "reply lost" // executed, and the caller doesn't know
	Slow      Fault = "slow"       // executed, and the reply comes at a later step
	NotSent   Fault = "not sent"   // not executed, and the caller doesn't know
	NoMemory  Fault = "no memory"  // refused
	Torn      Fault = "torn"       // the script failed between its writes
	Refused   Fault = "refused"    // by the store, for its data
)

// Step is one atomic step of a schedule.
type Step struct {
	Actor  string // "w1", "w2": workers; "c1"…: the world's clients in order; "queue"
	Op     Op
	Job    int    // from 1; 0: of no job
	Other  int    // the session that a step is about: 1, 2: that of w1, w2, while it has one; else nobody's; 0: none
	Result string // of a handler: "succeeds", "fails", "fails for good", "stops", "kills its worker"
	Fault  Fault
}

// String returns the step as Schedule's text form has it.
func (s Step) String() string {
	text := s.Actor + " " + string(s.Op)
	if s.Job > 0 {
		text += fmt.Sprintf(" job=%d", s.Job)
	}
	if s.Other > 0 {
		text += fmt.Sprintf(" session=%d", s.Other)
	}
	if s.Result != "" {
		text += fmt.Sprintf(" result=%q", s.Result)
	}
	if s.Fault != NoFault {
		text += fmt.Sprintf(" fault=%q", string(s.Fault))
	}
	return text
}

// sweeps reports whether the step is one of a sweep's, which looks again and again.
func (s Step) sweeps() bool { return strings.HasPrefix(string(s.Op), "sweep.") }

// faulty reports whether the step is one of those that are bounded in number and that nothing may depend on.
func (s Step) faulty() bool {
	switch s.Op {
	case WorkerDies, WorkerStops, WorkerPauses, ClientDies, ClientRepeats, QueueAway, QueueEmpty:
		return true
	}
	return s.Fault != NoFault
}
