package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	unknownTypeDelay = 15 * time.Second // an unknown job type is put back for this long
	unknownTypeLimit = 24 * time.Hour   // after its enqueue, or when it was due, such a job fails
	minSnooze        = 100 * time.Millisecond
)

// Errors of jobs that never ran, or ended oddly.
var (
	// ErrUnknownType is why a job failed whose type no worker knew for 24 hours.
	ErrUnknownType = errors.New("no worker knows this job type")
	// ErrShutdown is the cause of the context of a handler that is stopped since its pool stops.
	ErrShutdown = errors.New("worker is shutting down")
	// ErrGoexit is the error of a handler that ended its goroutine with runtime.Goexit.
	ErrGoexit = errors.New("handler called runtime.Goexit")
)

// outcome is what the judge makes of an attempt.
type outcome struct {
	stripped bool    // the store refused its texts
	name     string  // for metrics and logs
	status   Status  // empty State: there is nothing to save
	verdict  Verdict // Action 0: there is nothing to settle
	err      error
	took     time.Duration // by the handler; zero when none ran
}

// conclude keeps an outcome in the attempt, which saves an allocation.
func (a *attempt) conclude(o outcome) *outcome {
	a.outcome = o
	return &a.outcome
}

// answer is what a handler returned, read once while a panic in the host's error is still a panic of the handler.
type answer struct {
	text  string
	class string // for telemetry
	verb  verb
	delay time.Duration
	err   error
}

func (e *answer) Error() string { return e.text }
func (e *answer) Unwrap() error { return e.err }

func read(err error) error {
	if err == nil {
		return nil
	}
	v, delay := verbOf(err)
	return &answer{text: err.Error(), class: classOfAnswer(err, v), verb: v, delay: delay, err: err}
}

// process is one job's life in its slot: refuse, begin, perform, judge, record. It reports whether the slot is still
// its own: not when the handler was abandoned.
func (p *Pool) process(a *attempt) bool {
	if o := p.refuse(a); o != nil {
		p.record(a, o)
		return true
	}
	if !p.begin(a) {
		return true
	}
	err := context.Cause(a.ctx)
	ran := err == nil // else it was stopped, canceled or lost meanwhile
	if ran {
		err = p.perform(a)
	}
	if !a.owner.CompareAndSwap(ownedByHandler, returned) {
		p.zombieEnded()
		return false
	}
	p.conclude(a, err, ran)
	return true
}

// conclude judges an attempt that ended: its handler by itself or by being abandoned, or before that was called.
func (p *Pool) conclude(a *attempt, err error, ran bool) {
	o := p.judge(a, err)
	if ran {
		o.took = max(time.Since(a.started), 1)
	}
	switch o.verdict.Action {
	case ActionRetry, ActionSnooze, ActionRelease:
		o.verdict.Trace = traceparent(a.span)
	}
	p.tel.finishProcess(a.span, o)
	p.record(a, o)
}

// refuse judges a job that must not run, or not here. Nil means: run it.
func (p *Pool) refuse(a *attempt) *outcome {
	job := a.job
	cause := a.revokedBy()
	switch {
	case errors.Is(cause, ErrLeaseLost):
		return a.conclude(outcome{name: "lost", err: ErrLeaseLost})
	case errors.Is(cause, ErrCanceled):
		return p.final(a, StateCanceled, ActionCancel, ErrCanceled)
	case cause != nil:
		return p.putBack(a, 0)
	case job.Reject == nil && a.expired():
		return p.final(a, StateFailed, ActionBury, ErrExpired)
	case job.Reject == nil && job.Attempt > 1 && a.policy.Window > 0 && a.tooLate(0):
		return p.final(a, StateFailed, ActionBury, ErrRetryWindow)
	case job.Reject == nil && a.reg.handler != nil:
		return nil
	case job.Reject == nil:
		return p.unknown(a)
	case errors.Is(job.Reject, ErrCanceled):
		return p.final(a, StateCanceled, ActionCancel, job.Reject)
	}
	return p.final(a, StateFailed, ActionBury, job.Reject)
}

// unknown puts a job back that another worker may know, for a day, or for as long as the job itself says.
func (p *Pool) unknown(a *attempt) *outcome {
	if time.Since(a.job.firstDue()) > max(unknownTypeLimit, a.policy.Window) {
		return p.final(a, StateFailed, ActionBury, fmt.Errorf("%w: %q", ErrUnknownType, a.job.Type))
	}
	if p.client.seldom.allow("unknown type " + a.job.Type) {
		p.log.Warn("no handler for this job type: its jobs are put back", "type", a.job.Type, "queue", a.job.Queue)
	}
	return a.conclude(outcome{name: "unknown_type",
		verdict: Verdict{Job: a.job, Action: ActionSnooze, Delay: unknownTypeDelay, Cause: ErrUnknownType}})
}

// putBack gives an unstarted job back; nothing is saved, as nothing was.
func (p *Pool) putBack(a *attempt, delay time.Duration) *outcome {
	return a.conclude(outcome{name: "released", verdict: Verdict{Job: a.job, Action: ActionRelease, Delay: delay}})
}

// begin saves that the job runs, and opens its context. False means that the job is not to run and is taken care of.
func (p *Pool) begin(a *attempt) bool {
	a.taken = time.Now()
	a.started = a.taken
	if p.store != nil {
		a.begun = make(chan bool, 1)
		p.saves.add(saveItem{a, saveRunning})
		if !<-a.begun {
			return false
		}
	} else if p.tells() {
		p.notes.announce(a.status(StateRunning, phaseRunning))
	}
	if !a.unlock() {
		return false
	}
	if a.begun != nil { // it has waited
		a.started = time.Now()
		if a.expired() {
			p.record(a, p.final(a, StateFailed, ActionBury, ErrExpired))
			return false
		}
	}
	a.open(p.timeout(a))
	p.tel.waited(a.spanCtx, a)
	p.logStart(a)
	return true
}

// perform runs the handler and returns its error, also when it panics. When it ends its goroutine, the slot goes on
// in another one.
func (p *Pool) perform(a *attempt) (err error) {
	ended := false
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		} else if !ended {
			p.goexited(a)
		}
	}()
	err = read(a.reg.handler(a.spanCtx, a.job))
	ended = true
	return err
}

// goexited does for a handler's dying goroutine what process and work would have done next.
func (p *Pool) goexited(a *attempt) {
	if !a.owner.CompareAndSwap(ownedByHandler, returned) {
		p.zombieEnded()
		return
	}
	p.conclude(a, ErrGoexit, true)
	if next := p.next(a); next != nil {
		p.hands.start(next)
	}
}

// judge decides what becomes of an attempt whose handler returned err.
func (p *Pool) judge(a *attempt, err error) *outcome {
	defer a.close()
	cause := context.Cause(a.ctx)
	switch {
	case errors.Is(cause, ErrLeaseLost):
		return a.conclude(outcome{name: "lost", err: ErrLeaseLost})
	case err == nil:
		return p.succeed(a)
	case errors.Is(cause, ErrCanceled):
		return p.final(a, StateCanceled, ActionCancel, ErrCanceled)
	case errors.Is(cause, ErrShutdown):
		return p.interrupted(a)
	case errors.Is(cause, context.DeadlineExceeded):
		timedOut(err)
	}
	return p.fail(a, err)
}

func (p *Pool) succeed(a *attempt) *outcome {
	st := a.status(StateSucceeded, phaseFinal)
	st.Progress, st.Result = 1, a.job.Result()
	return a.conclude(outcome{name: string(StateSucceeded), status: st, verdict: Verdict{Job: a.job, Action: ActionComplete}})
}

func (p *Pool) interrupted(a *attempt) *outcome {
	st := a.status(StateQueued, phasePutBack)
	st.Progress, st.Message = 0, ""
	return a.conclude(outcome{name: "released", status: st, err: ErrShutdown,
		verdict: Verdict{Job: a.job, Action: ActionRelease, Delay: a.lingering(0), Cause: ErrShutdown}})
}

func (p *Pool) final(a *attempt, state State, action Action, cause error) *outcome {
	if a.job.Topic == "" { // its header could not be read
		a.job.Topic = topicPrefix + a.job.ID
	}
	st := a.status(state, phaseFinal)
	st.Error = cleanText(cause.Error())
	return a.conclude(outcome{name: string(state), status: st, err: cause,
		verdict: Verdict{Job: a.job, Action: action, Cause: cause}})
}

// fail follows the handler's verb, or the retry policy.
func (p *Pool) fail(a *attempt, err error) *outcome {
	verb, delay := verbOf(err)
	if said, ok := err.(*answer); ok { //nolint:errorlint // it is made here, and never wrapped
		verb, delay = said.verb, said.delay
	}
	switch verb {
	case verbPermanent:
		return p.final(a, StateFailed, ActionBury, err)
	case verbCancel:
		return p.final(a, StateCanceled, ActionCancel, err)
	case verbSnooze:
		st := a.status(StateScheduled, phasePutBack)
		delay = a.lingering(max(delay, minSnooze))
		st.RunAt = st.At.Add(delay)
		return a.conclude(outcome{name: "snoozed", status: st,
			verdict: Verdict{Job: a.job, Action: ActionSnooze, Delay: delay}})
	case verbRetryAfter:
	default:
		delay = a.policy.Delay(a.job.Attempt, roll())
	}
	delay = a.lingering(delay)
	if a.spent() || a.tooLate(delay) {
		return p.final(a, StateFailed, ActionBury, err)
	}
	st := a.status(StateRetrying, phasePutBack)
	st.RunAt, st.Error = st.At.Add(delay), cleanText(err.Error())
	return a.conclude(outcome{name: string(StateRetrying), status: st, err: err,
		verdict: Verdict{Job: a.job, Action: ActionRetry, Delay: delay, Cause: err}})
}

// lingering makes a job whose handler still runs wait for at least one lease.
func (a *attempt) lingering(delay time.Duration) time.Duration {
	if a.owner.Load() == abandoned {
		return max(delay, a.session.lease)
	}
	return delay
}

// record sends the outcome on its way: to the store if there is one, else straight to the queue.
func (p *Pool) record(a *attempt, o *outcome) {
	a.session.untrack(a)
	p.tel.ended(a.logCtx(), a, o)
	p.logOutcome(a, o)
	switch {
	case o.verdict.Action == 0 || a.session.isLost():
		p.drop(a)
	case p.store == nil || o.status.State == "":
		a.session.settles.add(a)
	default:
		a.saveOutcome()
	}
}

// drop forgets an attempt that is somebody else's now.
func (p *Pool) drop(a *attempt) { p.slots.settled(a.share(), 1) }
