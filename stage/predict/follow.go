package predict

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/real-staging-ai/go-worker"
)

const (
	maxAnnounced = 3                // notes of a create
	maxFailures  = 4                // questions in a row that may fail in a way that passes
	hiddenFor    = 30 * time.Second // an API may need so long to show what it has created
	throttledFor = time.Hour        // so long 429 counts no attempts
	defaultWait  = 10 * time.Second // after a 429 that doesn't say how long
)

// follow asks about a prediction until it is over.
func (r *run) follow(ctx context.Context, p Prediction) (Prediction, error) {
	cfg := r.model.cfg
	for n := 0; !p.Status.over(); n++ {
		if r.kept != r.rec.ID && n > 0 {
			if err := r.remember(ctx); err != nil {
				return p, err
			}
		}
		if r.rec.age() > cfg.Lifetime {
			return p, r.expire(ctx)
		}
		r.tell(p)
		if cfg.Webhook != nil && r.kept == r.rec.ID {
			return p, r.park(ctx)
		}
		if err := sleep(ctx, pause(n, cfg.PollMin, cfg.PollMax, jitter())); err != nil {
			return p, err
		}
		next, err := r.poll(ctx)
		if gone := new(FailedError); errors.As(err, &gone) {
			return p, r.fail(ctx, gone)
		}
		if err != nil {
			return p, err
		}
		p = next
	}
	return p, nil
}

// tell says what users may know. How far a model is nobody knows.
func (r *run) tell(p Prediction) {
	switch p.Status {
	case Starting:
		r.req.Progress(0.05, "the model is starting")
	case Processing:
		r.req.Progress(0.3, "the model is at work")
	default:
		r.req.Progress(0.05, "waiting for the model")
	}
}

// poll asks once how far the prediction is, and again when that fails in a way that passes. A prediction that the API
// doesn't know any more is a *FailedError.
func (r *run) poll(ctx context.Context) (Prediction, error) {
	cfg := r.model.cfg
	for n, failures := 0, 0; ; n++ {
		p, err := r.model.api.get(ctx, r.rec.ID)
		if err == nil && p.ID != r.rec.ID {
			err = fmt.Errorf("prediction API: get: the answer is about %s instead of %s", p.ID, r.rec.ID)
		}
		unknown := statusOf(err) == http.StatusNotFound || statusOf(err) == http.StatusGone
		switch {
		case err == nil:
			if r.over = p.Status.over(); !r.over { // else its output may be what is throttled
				r.rec.Throttled = 0
			}
			return p, nil
		case ctx.Err() != nil:
			return p, err
		case unknown && r.rec.age() >= hiddenFor:
			r.over = true
			return p, &FailedError{ID: r.rec.ID, Status: "is gone", Message: err.Error()}
		case unknown: // yet
		case passes(err) && failures < maxFailures:
			failures++
		default:
			return p, r.judge(ctx, err)
		}
		if err := sleep(ctx, pause(n, cfg.PollMin, cfg.PollMax, jitter())); err != nil {
			return p, err
		}
	}
}

// passes reports whether the same question may be asked again in a moment.
func passes(err error) bool {
	var answer *APIError
	if errors.As(err, &answer) {
		return answer.Status != http.StatusTooManyRequests && !answer.permanent() && answer.RetryAfter == 0
	}
	return !errors.Is(err, errTooLarge)
}

// judge turns an error of the API into what becomes of the job.
func (r *run) judge(ctx context.Context, err error) error {
	var answer *APIError
	switch {
	case ctx.Err() != nil || !errors.As(err, &answer):
		return err
	case answer.Status == http.StatusTooManyRequests:
		return r.throttled(ctx, answer)
	case answer.permanent():
		return worker.Permanent(err)
	case answer.RetryAfter > 0:
		return worker.RetryAfter(answer.RetryAfter, err)
	}
	return err
}

// throttled puts the job off as the API says. Nothing was tried, so no attempt is counted, but not for ever.
func (r *run) throttled(ctx context.Context, answer *APIError) error {
	wait := or(answer.RetryAfter, defaultWait)
	if !answer.elsewhere {
		r.model.cfg.Limiter.closeFor(wait)
	}
	wait += time.Duration(jitter() * float64(min(wait/5, 5*time.Second))) // not all at once
	now := time.Now()
	if r.rec.Throttled == 0 {
		r.rec.Throttled = now.UnixMilli()
	}
	if err := r.keep(ctx); err != nil {
		return fmt.Errorf("%w (%w)", answer, err)
	}
	if now.Sub(time.UnixMilli(r.rec.Throttled)) > throttledFor {
		return worker.RetryAfter(wait, answer)
	}
	r.req.Progress(0, "the prediction service is busy")
	return fmt.Errorf("%w: %w", answer, worker.Snooze(wait))
}

// wait puts a job off whose turn would come too late.
func (r *run) wait(err error) error {
	var busy *busyError
	if !errors.As(err, &busy) {
		return err
	}
	r.req.Progress(0, "waiting for a turn")
	return fmt.Errorf("%w: %w", err, worker.Snooze(busy.after+time.Duration(jitter()*float64(5*time.Second))))
}

// park puts the job off until it is woken. It wakes by itself, too, as the call may be lost or have come already.
func (r *run) park(ctx context.Context) error {
	wait := parkedFor(r.rec.Parked)
	r.rec.Parked++
	if err := r.keep(ctx); err != nil {
		return fmt.Errorf("prediction %s: %w", r.rec.ID, err)
	}
	return fmt.Errorf("prediction %s: %w", r.rec.ID, worker.Snooze(wait))
}

// parkedFor is how long a job is put off for the nth time, from 0.
func parkedFor(n int) time.Duration {
	return min(firstPark<<min(n, 10), maxPark)
}

const (
	firstPark = 15 * time.Second
	maxPark   = 5 * time.Minute
)

// expire ends a prediction that takes too long.
func (r *run) expire(ctx context.Context) error {
	late := fmt.Sprintf("it took longer than %v", r.model.cfg.Lifetime)
	canceled, err := r.cancel()
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", late, err)
	case !canceled: // the next attempt takes what it finds
		return fmt.Errorf("prediction %s: %s", r.rec.ID, late)
	}
	return r.fail(ctx, &FailedError{ID: r.rec.ID, Status: Canceled, Message: late})
}

// fail lets go of a prediction that brought nothing. The job's second one is its last.
func (r *run) fail(ctx context.Context, failed *FailedError) error {
	r.over = true
	r.rec.drop()
	r.rec.Failed++
	last := r.rec.Failed > 1 || r.model.cfg.Final(failed.Message)
	if last {
		r.rec.Verdict = failed
	}
	// A record that is not kept does no harm: the next attempt asks again, and comes here.
	if err := r.keep(ctx); err != nil && !last {
		return fmt.Errorf("%w (%w)", failed, err)
	}
	if last {
		return worker.Permanent(failed)
	}
	return failed
}

// leave decides about the prediction of an attempt whose context, or lease, has ended.
func (r *run) leave(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	lease := errors.Is(cause, worker.ErrLeaseLost) || errors.Is(err, worker.ErrLeaseLost)
	switch {
	case r.rec.ID == "" || r.over:
		return err
	case errors.Is(cause, worker.ErrShutdown) && r.job != nil: // the next attempt goes on with it
		if r.kept != r.rec.ID {
			return errors.Join(err, r.keep(ctx))
		}
		return err
	case lease && !r.model.cfg.CancelOnLeaseLost: // another worker follows it, or looks for it
		return err
	}
	if !lease && !r.model.cfg.CancelOnLeaseLost {
		// A worker that stood still may not know yet that the job is another's. When the queue doesn't answer, it is ours.
		if kept := r.keep(ctx); lost(kept) {
			return fmt.Errorf("prediction %s: %w", r.rec.ID, kept)
		}
	}
	canceled, failed := r.cancel()
	switch {
	case failed != nil:
		return fmt.Errorf("%w (%w)", err, failed)
	case !canceled || lease:
		return err
	case errors.Is(cause, context.DeadlineExceeded):
		return r.fail(ctx, &FailedError{ID: r.rec.ID, Status: Canceled, Message: "the job's time was over"})
	}
	return fmt.Errorf("%w: %w", r.fail(ctx, &FailedError{ID: r.rec.ID, Status: Canceled, Message: "the attempt was ended"}), err)
}

// cancel ends the prediction upstream, whether the attempt's time is over or not. False means that it is over in another
// way.
func (r *run) cancel() (bool, error) {
	ctx, stop := context.WithTimeout(r.rest, r.model.cfg.Grace)
	defer stop()
	p, err := r.model.api.cancel(ctx, r.rec.ID)
	if err != nil {
		return false, fmt.Errorf("prediction %s goes on: %w", r.rec.ID, err)
	}
	return p.Status != Succeeded && p.Status != Failed, nil
}
