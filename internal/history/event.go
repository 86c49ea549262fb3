package history

import (
	"hash/crc32"

	"github.com/real-staging-ai/go-worker"
)

// Op is what an event says.
type Op string

// What producers write, when the call has returned.
const (
	OpEnqueue Op = "enqueue" // a job was enqueued, with Result, Sum, Queue and Due
	OpCancel  Op = "cancel"  // a job was canceled, with Result, State, the answer, and Since
	OpRequeue Op = "requeue" // a new round was opened, with Result and Token, if that is known
	OpEdit    Op = "edit"    // a job was edited, with Result and Sum, that of its new payload
	OpRunNow  Op = "run-now" // a job that waited for its time was made due, with Result
	OpDelete  Op = "delete"  // a job was deleted, by itself or in a purge, with Result and Since
)

// An OpDelete that was refused has ResultUnknown, as the job may have been claimed just then: with Token, if that claim ran
// already, and the job must not be stopped.

// What workers and handlers write.
const (
	OpStart   Op = "start"   // a handler begins, with Token, Attempt, Crashes and Sum
	OpFinish  Op = "finish"  // a handler returns, with Token, Outcome, and its error in Text
	OpLost    Op = "lost"    // a handler saw ErrLeaseLost, with Token
	OpAbandon Op = "abandon" // a handler that ignored the end of its context was given up, with Token
	OpSettle  Op = "settle"  // a verdict was executed, with Token and the action in Text. Optional
	OpFinal   Op = "final"   // a final state was stored (or announced), with State and Token; Crashes and Text, if known
)

// What befell a process or the servers. Proc is the process concerned, empty for all of them.
const (
	OpStop      Op = "stop"       // the process was told to stop in an orderly way
	OpEnd       Op = "end"        // the process died, or is over
	OpPause     Op = "pause"      // the process stands still, or is cut off, for longer than its lease, until Until or OpResume
	OpResume    Op = "resume"     // its pause is over
	OpOutage    Op = "outage"     // Redis or the store cannot be used until Until: times are counted anew from there
	OpClaimLost Op = "claim-lost" // the reply to a claim was lost, with Job and Token
	OpDataLost  Op = "data-lost"  // Redis lost what it had acknowledged: from here on what ran may run again
)

// What is done to a queue, and to the clock that its tokens come from.
const (
	OpPauseQueue  Op = "pause-queue"  // Queue was paused, with Result and Since
	OpResumeQueue Op = "resume-queue" // the pause of Queue was ended, with Result and Since
	OpClockMoved  Op = "clock-moved"  // Redis's clock is moved now: from here on tokens don't tell the time
)

// What viewers write. Proc is the viewer.
const (
	OpWatch Op = "watch" // follows Job from here on, and must see its end
	OpSeen  Op = "seen"  // was shown State and Version of Job
)

// OpEdited is what is known of the queue itself: it has executed an edit of Job, which has the payload of Sum from Token on.
// It may be an edit that changes nothing but the time. A history with edits in it has all of these, or none.
const OpEdited Op = "edited"

// OpMissing is what sweeps write: when they asked, the queue did not know Job, whose row says that it is unfinished, so
// they have enqueued it again. Token is that of the row's claim, 0 when it had none.
const OpMissing Op = "missing"

// Result is how a producer's call ended.
type Result string

// The results of a call.
const (
	ResultOK      Result = "ok"
	ResultFailed  Result = "failed"  // and changed nothing
	ResultUnknown Result = "unknown" // it may have been executed, now or later
)

// Outcome is how a run of a handler ended, as its pool judges it.
type Outcome string

// The outcomes of a run.
const (
	OutcomeSuccess  Outcome = "success"
	OutcomeRetry    Outcome = "retry"     // an error: runs again, or fails when it was the last attempt
	OutcomeSnooze   Outcome = "snooze"    // runs again, no attempt counted
	OutcomeGiveBack Outcome = "give-back" // stopped by a shutdown
	OutcomeFailure  Outcome = "failure"   // for good: a Permanent error
	OutcomeCancel   Outcome = "cancel"    // stopped by a cancel
	OutcomeLost     Outcome = "lost"      // stopped since the job is somebody else's
)

// ends reports whether nothing runs after the outcome, in its round.
func (o Outcome) ends() bool { return o == OutcomeSuccess || o == OutcomeFailure || o == OutcomeCancel }

// Event is one line of a history. Fields that an Op doesn't name are empty.
type Event struct {
	At      int64        `json:"at"` // ns, by the clock of whoever writes it
	Proc    string       `json:"proc,omitempty"`
	Op      Op           `json:"op"`
	Job     string       `json:"job,omitempty"`
	Token   int64        `json:"token,omitempty"`
	Attempt int          `json:"attempt,omitempty"`
	Crashes int          `json:"crashes,omitempty"`
	Result  Result       `json:"result,omitempty"`
	Outcome Outcome      `json:"outcome,omitempty"`
	State   worker.State `json:"state,omitempty"`
	Version int64        `json:"version,omitempty"`
	Sum     uint32       `json:"sum,omitempty"`   // of the payload's bytes
	Queue   string       `json:"queue,omitempty"` // empty for the default one
	Due     int64        `json:"due,omitempty"`   // ns, when a job was to start that was not to start at once
	Since   int64        `json:"since,omitempty"` // ns, when a call that took long began; 0: not known
	Until   int64        `json:"until,omitempty"` // ns, the end of what lasts; 0: not known, or never
	Text    string       `json:"text,omitempty"`
}

// Sum is an event's checksum of a payload.
func Sum(payload []byte) uint32 { return crc32.ChecksumIEEE(payload) }
