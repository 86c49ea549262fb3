package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Queue carries jobs from producers to workers. One value serves any number of producers and consumers at once. Its calls,
// those of the optional powers included, answer a queue's name that CheckQueueName refuses with an error about the name.
//
// Implementations of one's own are checked with workertest.TestQueue, whose rows are the full contract.
type Queue interface {
	// Enqueue makes each job available to consumers of its Queue, once by id: a job that waits or runs already is
	// left as it is, without an error. Jobs that cannot be enqueued are listed in an *EnqueueError, the others are
	// accepted: a dead one with a *FinishedError, one that the server clearly refused with an error that wraps
	// ErrRefused. Any other error means that the outcome is unknown and that calling again is safe. Payload bytes,
	// Headers, Retry and all other exported fields above Attempt reach the consumer unchanged, Delay apart. The jobs
	// are the caller's again when it returns.
	Enqueue(ctx context.Context, jobs ...*Job) error
	// Consume opens one worker's session on a queue and returns when the worker is registered. ctx bounds the call,
	// not the session.
	Consume(ctx context.Context, queue string, opts ConsumeOptions) (Consumer, error)
}

// ConsumeOptions are what a pool tells a queue about the worker that it opens a session for.
type ConsumeOptions struct {
	// MaxCrashes is how many workers a job may take down: one with as many crashes is handed out with Reject set to
	// ErrCrashLoop. Zero means 3; less is an error.
	MaxCrashes int
	// Process is what an Inspector is to tell of the worker's process. Zero: nothing.
	Process Process
	// OnRenewal, if set, is called after each renewal of the lease that was tried, with its error. It returns soon.
	OnRenewal func(err error)
	// OnRecovered, if set, is called when the session has given back jobs of a dead worker, with their number. It
	// returns soon.
	OnRecovered func(jobs int)
}

// Consumer is one worker's session on one queue: it owns the worker's lease, renews it, and takes over what dead
// workers held. One goroutine calls Claim; Settle and the optional powers may be called beside it.
type Consumer interface {
	// Claim hands out up to opts.Limit jobs, each held by this worker until it is settled, and sets their fields from
	// Attempt on. It waits up to opts.Wait for the first one; an empty answer without an error is ordinary. It may
	// return jobs and an error: the jobs are claimed. After ctx ends it returns soon, with what was claimed.
	//
	// Jobs that took workers down are handed out one at a time: while a session holds one that may run, with two
	// crashes or its last one to spend, it is given no other. One with its last crash to spend (MaxCrashes - 1) ends
	// the claim, so that the pool can run it alone.
	Claim(ctx context.Context, opts ClaimOptions) ([]*Job, error)
	// Settle ends claims. It is idempotent: repeating it after an error is safe, and a verdict for a job that this
	// worker no longer holds under the verdict's token is ignored and counted. It wraps ErrLeaseLost when the
	// session is over; any other error means that the outcome is unknown.
	Settle(ctx context.Context, verdicts ...Verdict) error
	// Lost is closed when the lease is gone: whatever was claimed belongs to others now, and the session is over.
	Lost() <-chan struct{}
	// Close ends the session, gives back what is unsettled to the head of the queue, without an attempt or a crash
	// counted, and releases all resources also when it returns an error. Closing twice is closing once.
	Close(ctx context.Context) error
}

// ClaimOptions say how much a claim may take and how long it may wait.
type ClaimOptions struct {
	// Limit is the largest number of jobs to claim. Zero claims nothing: the call returns when there may be
	// something to claim, or after Wait.
	Limit int
	// Wait is how long to wait for the first job. Zero means not at all.
	Wait time.Duration
	// MinToken is a token that the claim's tokens must exceed, whatever the queue's own counter says: the highest
	// that the pool has met in a status.
	MinToken int64
}

// Action is what a verdict does with a claimed job.
type Action int

const (
	// ActionComplete forgets a job that succeeded.
	ActionComplete Action = iota + 1
	// ActionRetry makes the job run again after the verdict's Delay, with one attempt counted.
	ActionRetry
	// ActionSnooze makes the job run again after the Delay; no attempt is counted.
	ActionSnooze
	// ActionRelease gives the job back to the head of its queue, or with a Delay like ActionSnooze; no attempt is
	// counted.
	ActionRelease
	// ActionBury ends a job that failed for good and keeps its body among the dead.
	ActionBury
	// ActionCancel ends a job that was canceled and keeps its body among the dead.
	ActionCancel
)

// String returns the action's name as logs and metrics show it.
func (a Action) String() string {
	switch a {
	case ActionComplete:
		return "complete"
	case ActionRetry:
		return "retry"
	case ActionSnooze:
		return "snooze"
	case ActionRelease:
		return "release"
	case ActionBury:
		return "bury"
	case ActionCancel:
		return "cancel"
	}
	return fmt.Sprintf("action(%d)", int(a))
}

// Verdict ends one claim.
type Verdict struct {
	// Job is the job as it was claimed; its ID and Token identify the claim.
	Job *Job
	// Action says what becomes of the job.
	Action Action
	// Delay, by the queue's clock, is for ActionRetry, ActionSnooze and ActionRelease. Zero means at once, and so does
	// any delay of a job that was canceled meanwhile: it is claimed again to be ended.
	Delay time.Duration
	// Cause is why a job was buried, canceled or retried; queues may keep its text. Nil when there is none.
	Cause error
	// Trace is the W3C traceparent of the attempt that ended, for ActionRetry, ActionSnooze and ActionRelease: the next
	// claim finds it in Job.PreviousTrace. Empty when there is none.
	Trace string
}

// Errors that queues return and pools act on. Ask with errors.Is.
var (
	// ErrLeaseLost says that a worker no longer holds what it claimed: its lease ran out and others took over. It is
	// also the cause of the context of a handler that is stopped for it.
	ErrLeaseLost = errors.New("lease lost")
	// ErrRefused says that the queue's server did not execute a call: nothing was written.
	ErrRefused = errors.New("refused by the queue")
	// ErrJobActive is Requeue's answer for a job that waits or runs.
	ErrJobActive = errors.New("job is active")
	// ErrJobNotFound says that neither queue nor status store knows the job.
	ErrJobNotFound = errors.New("job not found")
	// ErrCanceled is why a canceled job must not run, and the cause of the context of a handler that is stopped for it.
	ErrCanceled = errors.New("job canceled")
	// ErrExpired is why a job whose ExpiresAt has passed must not run.
	ErrExpired = errors.New("job expired")
	// ErrCrashLoop is why a job that took down MaxCrashes workers must not run again.
	ErrCrashLoop = errors.New("worker lost: the job took down as many workers as it may")
)

// DecodeError says that a job or its payload could not be decoded.
type DecodeError struct {
	ID   string // the job's id, as far as it is known
	Body []byte // what could not be decoded
	Err  error
}

func (e *DecodeError) Error() string { return fmt.Sprintf("decode job %q: %v", e.ID, e.Err) }
func (e *DecodeError) Unwrap() error { return e.Err }

// FinishedError says that a job was not enqueued since its id has ended before. Client.Requeue reopens it.
type FinishedError struct {
	ID    string
	State State // the final state, empty if it isn't known
}

func (e *FinishedError) Error() string {
	if e.State == "" {
		return fmt.Sprintf("job %q has finished", e.ID)
	}
	return fmt.Sprintf("job %q has finished: %s", e.ID, e.State)
}

// IDTakenError says that a job was not enqueued since the status store knows its id as that of a job of another type or on
// another queue, and tells so: one whose rows can be read does. Trying again helps once that row is gone.
type IDTakenError struct {
	ID    string
	Type  string // that of the other job
	Queue string // where the other job is, or was
}

func (e *IDTakenError) Error() string {
	return fmt.Sprintf("the id belongs to a job of type %q on queue %q", e.Type, e.Queue)
}

// EnqueueError lists the jobs of a call that were not enqueued; the others were.
type EnqueueError struct {
	Failed map[string]error // by job id, never empty
}

func (e *EnqueueError) Error() string {
	for id, err := range e.Failed {
		if len(e.Failed) == 1 {
			return fmt.Sprintf("enqueue job %q: %v", id, err)
		}
		return fmt.Sprintf("enqueue: %d jobs failed, among them %q: %v", len(e.Failed), id, err)
	}
	return "enqueue failed"
}

// Unwrap returns the errors of all jobs, so that errors.Is and errors.As find them.
func (e *EnqueueError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, err := range e.Failed {
		errs = append(errs, err)
	}
	return errs
}

// The optional powers of queues and consumers follow. Pool and Client look for each of them once.

// Place is where a queue keeps a job.
type Place int

const (
	PlaceUnknown Place = iota // the queue doesn't know the id
	PlaceWaiting              // waits to be claimed, now or at a later time
	PlaceHeld                 // claimed by a worker
	PlaceDead                 // ended, its body kept
	// PlaceScheduled is where a job waits that is not due yet. Only an Inspector tells it from PlaceWaiting.
	PlaceScheduled
)

// Checkpointer is a Consumer that keeps checkpoints.
type Checkpointer interface {
	// Checkpoint durably replaces the job's checkpoint, and answers ErrLeaseLost when the job is no longer held
	// under its token. Any other error than one that wraps ErrRefused means that the outcome is unknown;
	// but what a later call for the claim has stored, it must not replace.
	Checkpoint(ctx context.Context, job *Job, data []byte) error
}

// Canceler is a Queue whose jobs can be canceled. A cancel is a mark, then the caller's Save, then the removal; a
// marked job that is claimed meanwhile comes with Reject set to ErrCanceled, so a caller may die after any step.
type Canceler interface {
	// MarkCanceled marks a job that waits or is held, draws a fencing token for the cancel, and tells where the job
	// is. A scheduled job becomes due. For other places it only draws the token.
	MarkCanceled(ctx context.Context, queue, id string) (CancelMark, error)
	// RemoveCanceled moves a marked job that still waits among the dead, and drops the mark of one that is neither
	// waiting nor held. It tells where it found the job.
	RemoveCanceled(ctx context.Context, queue, id string) (Place, error)
}

// CancelMark is what MarkCanceled found and did.
type CancelMark struct {
	Place Place // where the job is
	Token int64 // the cancel's fencing token
	Job   *Job  // the job; nil when the queue doesn't know it or its body cannot be decoded
	State State // how a dead one ended, empty when that isn't known
}

// CancelWatcher is a Consumer that hears, while it holds them, of jobs that are to stop.
type CancelWatcher interface {
	// Revoked delivers the held jobs that were canceled (Cause ErrCanceled) or that the queue has lost (ErrLeaseLost). A
	// cancel is delivered within a second after MarkCanceled has returned, while the worker reaches the queue. The channel
	// is never closed; what isn't received promptly may be delivered again later, but not never.
	Revoked() <-chan Revocation
}

// Revocation tells a pool to stop one job.
type Revocation struct {
	ID    string
	Token int64
	Cause error
}

// Requeuer is a Queue that can reopen dead jobs.
type Requeuer interface {
	// DrawToken draws the fencing token of a new round. It answers ErrJobActive unless the id is dead or unknown.
	// For a dead job it returns the job; for one that is unknown, or whose body cannot be decoded, nil.
	DrawToken(ctx context.Context, queue, id string) (*Job, int64, error)
	// Reopen moves a dead job back to its queue with the new body that job encodes to, or pushes an unknown one,
	// with attempts and crashes 0 and the checkpoint kept. A job that waits or is held stays as it is: ErrJobActive.
	// What cannot be encoded is refused, with ErrRefused.
	Reopen(ctx context.Context, job *Job) error
}

// Pauser is a Queue whose queues can be paused.
type Pauser interface {
	// Pause keeps all workers of a queue from claiming, until Resume, also when the server or the workers are started
	// anew. Jobs can be enqueued and canceled meanwhile, and those that were claimed go on. Pausing twice is pausing once.
	Pause(ctx context.Context, queue string) error
	// Resume ends a pause: jobs are claimed again within a second, also by claims that wait already. A queue that isn't
	// paused stays as it is.
	Resume(ctx context.Context, queue string) error
}

// Knower is a Queue that tells where jobs are.
type Knower interface {
	// Know returns where the queue keeps each job, in the order of the ids, of which a call may have any number.
	Know(ctx context.Context, queue string, ids ...string) ([]Place, error)
}

// Ticker is a Queue that remembers the last tick of each schedule: what periodic jobs need. The memory is the queue's that
// the jobs are on; names are apart from ids. An empty name is an error, of EnqueueTick with ErrRefused. Times have whole
// milliseconds.
type Ticker interface {
	// LastTick returns the last tick of a schedule and what the queue's clock says. If it knows none it remembers begin, or
	// its clock's time if that is earlier, and returns that.
	LastTick(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error)
	// EnqueueTick enqueues the job of a tick and remembers the tick, in one step, unless this tick or a later one is
	// remembered already: then it reports false and does nothing. An id that waits, is held or is dead stays as it is, a
	// job whose unique key another one has is turned away, and the tick is remembered. Errors are those of Enqueue; a tick
	// that is more than a minute ahead of the queue's clock is refused, with ErrRefused. Repeating an unknown outcome is safe.
	EnqueueTick(ctx context.Context, name string, tick time.Time, job *Job) (bool, error)
}

// Waker is a Consumer that can hand a wake-up on: the pool calls it when it was woken and has no slot for a job.
type Waker interface {
	// Wake wakes one waiting worker if there is something to claim.
	Wake(ctx context.Context) error
}

// Leaser is a Consumer that tells how long its lease is: the delay of jobs given back while their handler still runs.
type Leaser interface{ Lease() time.Duration }

// Sampler is a Queue that tells how much is in it.
type Sampler interface {
	// Stats counts a queue's jobs. It costs the same however many there are.
	Stats(ctx context.Context, queue string) (QueueStats, error)
}

// QueueStats are the counts of one queue.
type QueueStats struct {
	Queue     string
	Waiting   int64 // due, and not claimed
	Scheduled int64 // due later: delayed, retried, snoozed
	Running   int64 // claimed
	Dead      int64 // failed or canceled, and kept
	Workers   int   // sessions that are open
	Paused    bool  // nothing is claimed until it is resumed
	// OldestAge is for how long the job that is next in line could have run, by the queue's clock, or at most that long, where
	// its worker died. Zero when none waits, or when it isn't known.
	OldestAge time.Duration
}

// Pinger is a Queue, StatusStore or Notifier that can tell whether its server answers. Pool.Health asks it.
type Pinger interface {
	Ping(ctx context.Context) error
}
