package worker

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	minProgressPause = 100 * time.Millisecond
	progressShare    = 400 // of a long run, progress is saved every 1/400
)

// attempt is one claim of one job inside the pool, from Claim to Settle.
type attempt struct {
	pool    *Pool
	session *session
	job     *Job
	reg     registration
	policy  RetryPolicy
	alone   bool // may take its worker down: nothing runs beside it
	claimed time.Time

	seated  time.Duration // when it got its slot, by the slots' clock
	taken   time.Time     // when a hand began to run it; zero until then
	started time.Time     // when its handler was called, or its Save(running) was queued
	begun   chan bool     // the answer to Save(running): run it or not
	owner   atomic.Int32
	outcome outcome
	parent  jobContext

	mu       sync.Mutex
	ctx      context.Context // ends when the handler is to stop; nil until it is opened
	spanCtx  context.Context // the handler's: ctx with the span of the run
	span     trace.Span
	cancel   context.CancelCauseFunc
	revoked  error     // why it is to stop, said before there was a context
	canceled time.Time // when the janitor first saw ctx ended
	over     bool      // the handler's time is up: what it still says is refused
	fraction float64
	message  string
	sequence int
	queued   bool // a progress item is in the save lane, or a timer will put one there
	onItsWay bool // a progress item is in the save lane
	ended    bool // its outcome is to be saved
	unsent   bool // there is progress that no item has taken yet
	lastSave time.Time
	timer    *time.Timer
}

// Who decides what becomes of an attempt: its handler by returning, or the janitor when it doesn't.
const (
	ownedByHandler int32 = iota
	returned
	abandoned
)

// jobContext puts a job into a context; the attempt holds it.
type jobContext struct {
	context.Context
	job *Job
}

func (c *jobContext) Value(key any) any {
	if key == (jobKey{}) {
		return c.job
	}
	return c.Context.Value(key)
}

// open makes the handler's context and span, and hangs the attempt below the job.
func (a *attempt) open(timeout time.Duration) {
	a.parent = jobContext{a.session.ctx, a.job}
	ctx, cancel := context.WithCancelCause(&a.parent)
	timed, stop := context.WithDeadline(ctx, a.started.Add(timeout))
	_ = stop // cancel ends the timer, too, and costs less than both
	spanCtx, span := a.pool.tel.startProcess(timed, a)
	a.mu.Lock()
	a.ctx, a.cancel = timed, cancel
	a.spanCtx, a.span = spanCtx, span
	if a.revoked != nil {
		cancel(a.revoked)
	}
	a.mu.Unlock()
	a.job.mu.Lock()
	a.job.live = a
	a.job.mu.Unlock()
}

// share is the part of the slots that the attempt's queue has.
func (a *attempt) share() *share { return a.session.feed.share }

// revoke stops the handler, or keeps it from starting.
func (a *attempt) revoke(cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked == nil {
		a.revoked = cause
	}
	if a.cancel != nil {
		a.cancel(cause)
	}
}

// revokedBy returns why the attempt must not start, nil when it may.
func (a *attempt) revokedBy() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked != nil {
		return a.revoked
	}
	return context.Cause(a.session.ctx)
}

// overdue reports whether the handler's context ended at least grace ago, as far as the janitor has seen.
func (a *attempt) overdue(now time.Time, grace time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || a.ctx == nil || a.ctx.Err() == nil {
		return false
	}
	if a.canceled.IsZero() {
		a.canceled = now
	}
	return now.Sub(a.canceled) >= grace
}

// close ends the handler's time: its context, and its right to write.
func (a *attempt) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.cancel != nil {
		a.cancel(nil)
	}
}

func (a *attempt) writable() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.over
}

func (a *attempt) checkpoint(ctx context.Context, data []byte) error {
	return a.session.checkpoint(ctx, a.job, data)
}

// progress keeps the newest value and sees that it is saved: now, or when the pause since the last one is over.
func (a *attempt) progress(fraction float64, message string) {
	if a.pool.tells() && a.keepProgress(fraction, message) {
		a.sendProgress()
	}
}

func (a *attempt) keepProgress(fraction float64, message string) (send bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || math.IsNaN(fraction) {
		return false
	}
	a.fraction = min(max(fraction, 0), 1)
	a.message = cleanText(message)
	a.unsent = true
	return a.planProgressLocked()
}

// planProgressLocked reports whether progress is to be sent now; if it is too early, a timer will send it. There is
// never more than one item of an attempt on its way.
func (a *attempt) planProgressLocked() (send bool) {
	if a.queued || !a.unsent || a.over {
		return false
	}
	a.queued = true
	now := time.Now()
	pause := max(minProgressPause, now.Sub(a.started)/progressShare)
	if wait := pause - now.Sub(a.lastSave); wait > 0 {
		a.timer = time.AfterFunc(wait, a.sendProgress)
		return false
	}
	return true
}

// sendProgress saves the newest progress; without a store it is announced at once.
func (a *attempt) sendProgress() {
	if st, ok := a.sendProgressLocking(); ok {
		a.pool.notes.announce(st) // may call the host's code: without the lock
	}
}

// sendProgressLocking sends it to the store, or returns what is to be announced where there is none.
func (a *attempt) sendProgressLocking() (Status, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pool.store != nil {
		a.onItsWay = !a.over
		if a.onItsWay {
			a.pool.saves.add(saveItem{a, saveProgress})
		}
		return Status{}, false
	}
	a.queued = false
	return a.takeProgressLocked()
}

// takeProgress makes the status of the newest progress; false when there is nothing left to say.
func (a *attempt) takeProgress() (Status, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.takeProgressLocked()
}

func (a *attempt) takeProgressLocked() (Status, bool) {
	a.unsent = false
	if a.over || a.sequence >= maxSequence {
		return Status{}, false
	}
	a.sequence++
	a.lastSave = time.Now()
	return a.statusLocked(StateRunning, phaseRunning), true
}

// progressSaved says that the attempt's item has left the lane, and sends what waited for that: the outcome, or what was
// reported meanwhile.
func (a *attempt) progressSaved() {
	a.mu.Lock()
	a.queued, a.onItsWay = false, false
	ended := a.ended
	send := a.planProgressLocked()
	a.mu.Unlock()
	switch {
	case ended:
		a.pool.saves.add(saveItem{a, saveOutcome})
	case send:
		a.sendProgress()
	}
}

// saveOutcome sends the outcome to the store, behind progress that is on its way there: an attempt has one item in the
// lane at most, as the lane doesn't keep their order.
func (a *attempt) saveOutcome() {
	a.mu.Lock()
	a.ended = true
	behind := a.onItsWay
	a.mu.Unlock()
	if !behind {
		a.pool.saves.add(saveItem{a, saveOutcome})
	}
}

func (a *attempt) status(state State, phase int) Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.statusLocked(state, phase)
}

func (a *attempt) statusLocked(state State, phase int) Status {
	sequence := 0
	if phase == phaseRunning {
		sequence = a.sequence
	}
	j := a.job
	return Status{
		JobID: j.ID, Type: j.Type, Queue: j.Queue, Topic: j.Topic, State: state,
		Version: version(j.Token, phase, sequence),
		Attempt: j.Attempt, MaxAttempts: a.policy.MaxAttempts, Crashes: j.Crashes,
		Progress: a.fraction, Message: a.message, At: time.Now(), Job: j,
	}
}
