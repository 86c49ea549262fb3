package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// RetryPolicy says how often and how late a job that failed runs again. It is data, so that it can travel with the
// job. In a zero field the next level applies: enqueue, payload, handler, pool, DefaultRetry.
type RetryPolicy struct {
	// MaxAttempts is how many attempts there are in all, the first included. Zero beside a Window means any number, whatever
	// the levels below say.
	MaxAttempts int
	// Base is the upper bound of the first delay; it doubles with each attempt.
	Base time.Duration
	// Max is the upper bound of every delay, also of the first.
	Max time.Duration
	// Window is for how long after its enqueue, or after the time it was to run at, a job is tried again: no attempt but the
	// first starts later. Zero on all levels means no bound.
	Window time.Duration
}

// DefaultRetry is what applies where nothing else is said: 5 attempts, 2 s doubling to 10 min.
var DefaultRetry = RetryPolicy{MaxAttempts: 5, Base: 2 * time.Second, Max: 10 * time.Minute}

// Exponential is the policy of maxAttempts attempts with delays that double from base to max.
func Exponential(maxAttempts int, base, max time.Duration) RetryPolicy {
	return RetryPolicy{MaxAttempts: maxAttempts, Base: base, Max: max}
}

// Delay returns the pause after the given attempt, which counts from 1: full jitter, that is a share, from 0 to 1, of
// min(Max, Base·2^(attempt-1)). The caller rolls the dice.
//
// Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
func (p RetryPolicy) Delay(attempt int, share float64) time.Duration {
	bound := p.Base
	for i := 1; i < attempt && bound < p.Max; i++ {
		bound *= 2
		if bound <= 0 { // overflow
			bound = p.Max
		}
	}
	bound = min(bound, p.Max)
	if delay := share * float64(bound); delay < float64(bound) {
		return time.Duration(delay)
	}
	return bound // as a float it may be one too large
}

// leastShare is the share that the dice don't fall below: who has failed is not to be asked again in no time.
const leastShare = 0.1

// roll returns the share of a delay that an attempt waits.
func roll() float64 { return leastShare + rand.Float64()*(1-leastShare) }

// or fills the zero fields of p from q, the next level.
func (p RetryPolicy) or(q RetryPolicy) RetryPolicy {
	if p.MaxAttempts == 0 && p.Window == 0 {
		p.MaxAttempts = q.MaxAttempts
	}
	if p.Base == 0 {
		p.Base = q.Base
	}
	if p.Max == 0 {
		p.Max = q.Max
	}
	if p.Window == 0 {
		p.Window = q.Window
	}
	return p
}

// check reports the first field that is out of bounds.
func (p RetryPolicy) check() error {
	switch {
	case p.MaxAttempts < 0:
		return fmt.Errorf("retry MaxAttempts is %d: it must not be negative", p.MaxAttempts)
	case p.Base < 0:
		return negative("retry Base", p.Base)
	case p.Max < 0:
		return negative("retry Max", p.Max)
	case p.Window < 0:
		return negative("retry Window", p.Window)
	}
	return nil
}

// ErrRetryWindow is why a job failed that was to be tried again, and was claimed only after its policy's Window.
var ErrRetryWindow = errors.New("the time to try the job again is over")

// policyOf is the policy that applies to a job here. Of the levels below the job's own a process without its handler knows
// only one that the handler's may outrank: it takes no Window from there.
func (p *Pool) policyOf(job *Job, reg registration) RetryPolicy {
	if reg.handler != nil {
		return job.Retry.or(reg.defaults.Retry).or(p.cfg.Retry)
	}
	policy := job.Retry.or(p.cfg.Retry)
	policy.Window = job.Retry.Window
	return policy
}

// spent reports whether the attempt that failed was the last one, by the policy's number.
func (a *attempt) spent() bool {
	return a.policy.MaxAttempts > 0 && a.job.Attempt >= a.policy.MaxAttempts
}

// tooLate reports whether another attempt after delay would start outside the policy's window, or after the job's expiry.
func (a *attempt) tooLate(delay time.Duration) bool {
	if w := a.policy.Window; w > 0 && delay > w-max(time.Since(a.job.firstDue()), 0) {
		return true
	}
	return a.expires() && delay > time.Until(a.job.ExpiresAt)
}

// expires reports whether the job has an expiry that this process's clock can judge: not where the queue, by its own, has
// handed out as fit to run what is expired here.
func (a *attempt) expires() bool {
	return !a.job.ExpiresAt.IsZero() && !a.claimed.After(a.job.ExpiresAt)
}

// expired reports whether the job has expired since its claim.
func (a *attempt) expired() bool { return a.expires() && time.Now().After(a.job.ExpiresAt) }

// firstDue is when the job was to run first.
func (j *Job) firstDue() time.Time {
	if j.RunAt.After(j.EnqueuedAt) {
		return j.RunAt
	}
	return j.EnqueuedAt
}

// The verbs below are how a handler says more than "it failed". They are found through %w.

type verb int

const (
	verbPermanent verb = iota + 1
	verbRetryAfter
	verbSnooze
	verbCancel
)

// verbError is an error with an instruction to the pool.
type verbError struct {
	verb  verb
	delay time.Duration
	err   error
}

func (e *verbError) Error() string {
	switch {
	case e.err != nil:
		return e.err.Error()
	default:
		return fmt.Sprintf("snooze for %v", e.delay)
	}
}

func (e *verbError) Unwrap() error { return e.err }

// Permanent marks err as final: the job fails without another attempt. A nil error stays nil.
func Permanent(err error) error { return mark(verbPermanent, 0, err) }

// RetryAfter asks for the next attempt after d instead of the policy's delay; the attempt counts. A nil error stays
// nil; a negative d means at once.
func RetryAfter(d time.Duration, err error) error { return mark(verbRetryAfter, max(d, 0), err) }

// Snooze puts the job off by d, at least 100 ms, without counting an attempt: "not yet".
func Snooze(d time.Duration) error { return &verbError{verb: verbSnooze, delay: max(d, 0)} }

// Cancel ends the job as canceled, with err as the reason. A nil error stays nil.
func Cancel(err error) error { return mark(verbCancel, 0, err) }

func mark(v verb, d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &verbError{verb: v, delay: d, err: err}
}

// verbOf finds the outermost instruction in err.
func verbOf(err error) (verb, time.Duration) {
	var v *verbError
	if errors.As(err, &v) {
		return v.verb, v.delay
	}
	return 0, 0
}

// IsPermanent reports whether err says that trying again is useless: a StatusStore marks errors that concern the data
// with Permanent, a handler those that concern the job.
func IsPermanent(err error) bool {
	v, _ := verbOf(err)
	return v == verbPermanent
}

// backoff is the pause before the runtime's own nth try to reach a server: 100 ms doubling to 5 s, half of it jitter.
func backoff(try int) time.Duration {
	d := RetryPolicy{Base: 100 * time.Millisecond, Max: 5 * time.Second}.Delay(try, 1)
	return d/2 + rand.N(d/2)
}

// ErrAbandoned is what a handler's late calls on its job return after the pool gave up waiting for it.
var ErrAbandoned = errors.New("handler was abandoned")
