package workertest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// session is one worker's session on a lane of a MemoryQueue, whose mutex guards it.
type session struct {
	queue      *MemoryQueue
	lane       *lane
	name       string
	process    worker.Process
	maxCrashes int

	onRenewal   func(error)
	onRecovered func(int)
	renewal     *time.Timer // where onRenewal is set: when the lease is renewed next

	held    map[string]*entry
	suspect *entry // the one of held that may take this worker down and is to run
	over    bool
	lost    chan struct{}
	expires time.Time // after crash: when the lease runs out
	spare   func()    // after crash: keeps the lease from running out
	watch   *watch    // nil: nobody watches

	revoked chan worker.Revocation
	unsent  []worker.Revocation
	resend  *time.Timer
}

var (
	_ worker.Consumer      = (*session)(nil)
	_ worker.Checkpointer  = (*session)(nil)
	_ worker.CancelWatcher = (*session)(nil)
	_ worker.Leaser        = (*session)(nil)
	_ worker.Unlocker      = (*session)(nil)
)

// Claim implements worker.Consumer.
func (s *session) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	if err := s.queue.begin(ctx, "Claim"); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(opts.Wait)
	for {
		moved := s.queue.Clock.nextMove()
		jobs, idle := s.try(opts, deadline)
		if idle.pause <= 0 {
			return jobs, s.openErr("claim")
		}
		timer := time.NewTimer(idle.pause)
		select {
		case <-idle.changed:
		case <-moved:
		case <-timer.C:
		case <-s.lost:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// idling says what a claim that found nothing waits for, and how long at most. Without a pause it doesn't wait.
type idling struct {
	changed <-chan struct{}
	pause   time.Duration
}

// try claims what it can.
func (s *session) try(opts worker.ClaimOptions, deadline time.Time) ([]*worker.Job, idling) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.over {
		return nil, idling{}
	}
	now := s.queue.now()
	if s.lane.paused {
		return nil, idling{changed: s.lane.changed, pause: time.Until(deadline)}
	}
	s.lane.promote(now)
	var jobs []*worker.Job
	for len(jobs) < opts.Limit {
		e := s.nextLocked(now, len(jobs) == 0)
		if e == nil {
			break
		}
		jobs = append(jobs, s.holdLocked(e, opts.MinToken, now))
	}
	if len(jobs) > 0 || opts.Limit <= 0 && s.nextLocked(now, true) != nil {
		return jobs, idling{}
	}
	pause := time.Until(deadline)
	if s.queue.Clock == nil {
		pause = s.lane.nextDue(now, pause)
	}
	return nil, idling{changed: s.lane.changed, pause: pause}
}

// openErr says that the session is over, if it is.
func (s *session) openErr(doing string) error {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.over {
		return fmt.Errorf("%s: %w", doing, worker.ErrLeaseLost)
	}
	return nil
}

// nextLocked finds the entry to hand out next, nil if there is none for this session: of the suspects that are to run
// it holds one at a time, and beside one that may crash only once more it gets nothing.
func (s *session) nextLocked(now time.Time, first bool) *entry {
	if s.suspect != nil && s.lastChanceLocked(s.suspect) {
		return nil
	}
	for el := s.lane.suspects.Front(); el != nil; el = el.Next() {
		e := el.Value.(*entry)
		switch {
		case s.rejectLocked(e, now) != nil:
			return e
		case s.suspect != nil:
			continue
		case s.lastChanceLocked(e) && !first:
			return nil
		}
		return e
	}
	if el := s.lane.pending.Front(); el != nil {
		return el.Value.(*entry)
	}
	return nil
}

// lastChanceLocked tells whether e may take down only one worker more, after it took down some.
func (s *session) lastChanceLocked(e *entry) bool {
	return e.crashes > 0 && e.crashes == s.maxCrashes-1
}

// rejectLocked tells why e must not run.
func (s *session) rejectLocked(e *entry, now time.Time) error {
	switch {
	case e.broken != nil:
		return e.broken
	case e.canceled:
		return worker.ErrCanceled
	case e.crashes >= s.maxCrashes:
		return worker.ErrCrashLoop
	case !e.expires.IsZero() && now.After(e.expires):
		return worker.ErrExpired
	}
	return nil
}

// holdLocked claims e and returns it as a job.
func (s *session) holdLocked(e *entry, minToken int64, now time.Time) *worker.Job {
	reject := s.rejectLocked(e, now)
	if e.list == &s.lane.suspects && reject == nil {
		s.suspect = e
	}
	s.lane.unlink(e)
	e.place, e.holder, e.token = worker.PlaceHeld, s, s.queue.drawLocked(minToken)
	s.held[e.id] = e

	job := e.job()
	if job == nil {
		job = &worker.Job{ID: e.id, Queue: s.lane.name, Payload: slices.Clone(e.body)}
	}
	job.Attempt, job.Crashes, job.Token = e.attempts+1, e.crashes, e.token
	job.RunnableAt, job.PreviousTrace = e.runnable, e.trace
	job.CheckpointData = slices.Clone(e.checkpoint)
	job.Reject = reject
	s.watch.claimed(job)
	return job
}

// Settle implements worker.Consumer.
func (s *session) Settle(ctx context.Context, verdicts ...worker.Verdict) error {
	if err := s.queue.begin(ctx, "Settle"); err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.Job == nil || v.Action < worker.ActionComplete || v.Action > worker.ActionCancel {
			return fmt.Errorf("settle: %w", errUnknownAction)
		}
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.over {
		return fmt.Errorf("settle: %w", worker.ErrLeaseLost)
	}
	var released []*entry
	for _, v := range verdicts {
		e := s.heldLocked(v.Job)
		switch {
		case e == nil:
			s.queue.ignored++
		case v.Action == worker.ActionRelease && (v.Delay <= 0 || e.canceled):
			s.dropLocked(e)
			if v.Trace != "" { // an attempt was broken off
				e.runnable, e.trace = s.queue.now(), v.Trace
			}
			released = append(released, e)
		default:
			s.dropLocked(e)
			s.applyLocked(e, v)
			s.lane.count(v.Action)
		}
		if e != nil {
			s.watch.settled(v)
		}
	}
	s.lane.giveBack(released)
	return nil
}

// applyLocked does what a verdict says, for a job that doesn't go to the head of its queue.
func (s *session) applyLocked(e *entry, v worker.Verdict) {
	switch v.Action {
	case worker.ActionComplete:
		delete(s.lane.entries, e.id)
		s.lane.ended(v.Job.Unique, e.id)
	case worker.ActionRetry:
		e.attempts++
		s.putOffLocked(e, v)
	case worker.ActionSnooze, worker.ActionRelease:
		s.putOffLocked(e, v)
	case worker.ActionBury:
		s.lane.bury(e, worker.StateFailed)
		s.lane.ended(v.Job.Unique, e.id)
	case worker.ActionCancel:
		s.lane.bury(e, worker.StateCanceled)
		s.lane.ended(v.Job.Unique, e.id)
	}
	if v.Cause != nil && e.place == worker.PlaceDead {
		e.cause = v.Cause.Error()
	}
}

// putOffLocked makes e wait for as long as a verdict says. A release without a trace leaves that of the attempt before.
func (s *session) putOffLocked(e *entry, v worker.Verdict) {
	due := s.queue.now()
	if !e.canceled {
		due = due.Add(max(v.Delay, 0))
	}
	e.runnable = due
	if v.Trace != "" || v.Action != worker.ActionRelease {
		e.trace = v.Trace
	}
	s.lane.wait(e, due)
}

// heldLocked returns the entry of a claim that is this session's, else nil.
func (s *session) heldLocked(job *worker.Job) *entry {
	if e := s.held[job.ID]; e != nil && e.token == job.Token {
		return e
	}
	return nil
}

// dropLocked ends the session's hold on e.
func (s *session) dropLocked(e *entry) {
	delete(s.held, e.id)
	e.holder = nil
	if s.suspect == e {
		s.suspect = nil
	}
}

// Checkpoint implements worker.Checkpointer.
func (s *session) Checkpoint(ctx context.Context, job *worker.Job, data []byte) error {
	if err := s.queue.begin(ctx, "Checkpoint"); err != nil {
		return err
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	e := s.heldLocked(job)
	if e == nil {
		return fmt.Errorf("checkpoint: %w", worker.ErrLeaseLost)
	}
	e.checkpoint = slices.Clone(data)
	s.watch.checkpointed(job, e.checkpoint)
	return nil
}

// Lost implements worker.Consumer.
func (s *session) Lost() <-chan struct{} { return s.lost }

// Lease implements worker.Leaser.
func (s *session) Lease() time.Duration { return s.queue.lease() }

// Revoked implements worker.CancelWatcher.
func (s *session) Revoked() <-chan worker.Revocation { return s.revoked }

// resendInterval is how long what found no room waits: all is to be heard of within a second.
const resendInterval = 100 * time.Millisecond

// revokeLocked delivers r, now or when there is room.
func (s *session) revokeLocked(r worker.Revocation) {
	s.unsent = append(s.unsent, r)
	s.sendLocked()
}

func (s *session) sendLocked() {
	for len(s.unsent) > 0 {
		select {
		case s.revoked <- s.unsent[0]:
			s.unsent = s.unsent[1:]
			continue
		default:
		}
		if !s.over && s.resend == nil {
			s.resend = time.AfterFunc(resendInterval, func() {
				s.queue.mu.Lock()
				defer s.queue.mu.Unlock()
				s.resend = nil
				s.sendLocked()
			})
		}
		return
	}
}
