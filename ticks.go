package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	tickTimeout = 5 * time.Second        // of looking for the last tick, and of enqueueing one
	tickJitter  = 100 * time.Millisecond // by which the replicas that came too late last time come later at most
	maxTickWait = time.Minute            // after which the clock is looked at again, as it may have been set
	// maxLookAgain is after how long a schedule is looked at though none of its ticks is due.
	maxLookAgain = 24 * time.Hour
)

// ticks enqueues a pool's periodic jobs. For each queue one goroutine goes through the schedules as they become due, so that
// a server that hangs keeps no others waiting. They keep nothing that is needed: what the queue remembers and the clocks
// decide, so a replica can be killed anywhere.
type ticks struct {
	pool      *Pool
	ticker    Ticker
	schedules []*ticking
	asking    chan struct{} // capacity 1: held while schedules and payloads of the host's, which may be shared, are asked
}

// ticking is one schedule in one pool.
type ticking struct {
	Periodic
	queue      string // of its jobs
	unique     bool   // its jobs have a unique key
	maxPayload int
	begun      time.Time // when this pool began
	known      time.Time // no tick up to this time is to be enqueued any more, as far as this pool knows
	at         time.Time // when to look next
	first      bool      // this pool enqueued the last tick
	tries      int       // that have failed in a row
	down       flag
}

// run looks after all schedules until claims stop.
func (t *ticks) run() {
	queues := make(map[string][]*ticking)
	for _, s := range t.schedules {
		s.begun = time.Now()
		queues[s.queue] = append(queues[s.queue], s)
	}
	var all sync.WaitGroup
	for _, schedules := range queues {
		all.Go(func() { t.tendAll(schedules) })
	}
	all.Wait()
}

// tendAll looks after the schedules of one queue until claims stop.
func (t *ticks) tendAll(schedules []*ticking) {
	for t.pool.pauseClaims(wait(schedules)) {
		for _, s := range schedules {
			if now := time.Now(); s.isDue(now) && t.pool.claimCtx.Err() == nil {
				t.tend(s, now)
			}
		}
	}
}

// wait is how long nothing is due.
func wait(schedules []*ticking) time.Duration {
	wait := maxTickWait
	for _, s := range schedules {
		wait = min(wait, time.Until(s.at))
	}
	return max(wait, 0)
}

// ask calls what calls the host's code, one call at a time.
func (t *ticks) ask(call func()) {
	t.asking <- struct{}{}
	defer func() { <-t.asking }()
	call()
}

// tend does what is due of one schedule, and says when to look again. The calls outlive the beginning of Stop, so that a
// saved status is not left without its job.
func (t *ticks) tend(s *ticking, now time.Time) {
	err := t.enqueueDue(s, now)
	if err == nil {
		s.tries = 0
		if s.down.clear() {
			t.pool.log.Info("a periodic job is enqueued again", "name", s.Name)
		}
		return
	}
	s.tries++
	s.at = time.Now().Add(backoff(s.tries))
	if t.pool.hardCtx.Err() == nil && s.down.raise(err) {
		t.pool.log.Error("a periodic job could not be enqueued: it is tried again", "name", s.Name, "error", err)
	}
}

func (t *ticks) enqueueDue(s *ticking, now time.Time) (err error) {
	defer catch(&err)
	last, clock, err := t.lastTick(s)
	if err != nil {
		return err
	}
	// Both clocks have to agree that a tick has come: one that is fast would skip what others are about to enqueue.
	until := millis(now)
	if clock.Before(until) {
		until = clock
	}
	var due []time.Time
	t.ask(func() {
		last = t.skipMissed(s, last, until)
		due, err = s.due(last, until)
	})
	if err != nil {
		return err
	}
	for _, tick := range due {
		if err := t.enqueue(s, tick); err != nil {
			return fmt.Errorf("tick %s: %w", tickText(tick), err)
		}
		if s.known, last = tick, tick; t.pool.claimCtx.Err() != nil {
			return nil
		}
	}
	if len(due) == maxCatchUp { // there may be more, but others have waited meanwhile
		s.at = now
		return nil
	}
	t.ask(func() { err = s.lookAgain(now, until, last) })
	return err
}

// lastTick returns the last tick of a schedule, at least the one that is known here, and the queue's clock.
func (t *ticks) lastTick(s *ticking) (last, clock time.Time, err error) {
	begin := s.known
	if begin.IsZero() {
		begin = s.begins()
	}
	ctx, cancel := context.WithTimeout(t.pool.hardCtx, tickTimeout)
	defer cancel()
	last, clock, err = t.ticker.LastTick(ctx, s.queue, s.Name, begin)
	if err != nil {
		return last, clock, fmt.Errorf("look for the last tick: %w", err)
	}
	if last = millis(last); last.Before(s.known) { // the queue has lost its data, or this pool gave ticks up
		return s.known, millis(clock), nil
	}
	s.first = s.first && last.Equal(s.known)
	return last, millis(clock), nil
}

// begins is when a schedule begins that the queue doesn't know: now by the queue's clock, as that of this process may not have
// been set yet. Where the queue could not be asked as soon as the pool began, or has lost what it knew, it is when that was.
func (s *ticking) begins() time.Time {
	if s.tries == 0 && time.Since(s.begun) < tickTimeout {
		return time.UnixMilli(maxMillis) // which is later than the queue's now
	}
	return millis(s.begun)
}

// skipMissed returns the time from which on ticks are not too late for MissedSkip.
func (t *ticks) skipMissed(s *ticking, last, until time.Time) time.Time {
	oldest := until.Add(-missedAfter)
	if s.Missed != MissedSkip || !oldest.After(last) {
		return last
	}
	if tick, err := nextTick(s.Schedule, last); err == nil && !tick.IsZero() && !tick.After(oldest) {
		t.pool.log.Warn("ticks were missed and are skipped", "name", s.Name, "first", tickText(tick))
	}
	s.known = oldest
	return oldest
}

// enqueue enqueues the job of a tick. What can never become a job is given up, and so is one that will always be refused, or
// the ticks after it would wait for ever. What is over already is no error.
func (t *ticks) enqueue(s *ticking, tick time.Time) (err error) {
	var job *Job
	t.ask(func() { job, err = s.job(tick) })
	if IsPermanent(err) {
		t.pool.log.Error("no job can be made of a tick: it is given up", "name", s.Name, "tick", tickText(tick), "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.pool.hardCtx, tickTimeout)
	defer cancel()
	s.first, err = t.pool.client.enqueueTick(ctx, t.ticker, s.Name, tick, job)
	if isDuplicate(err) {
		t.pool.log.Debug("a tick's job is not enqueued: another one has its unique key", "name", s.Name, "tick", tickText(tick))
	}
	if isDuplicate(err) || errors.As(err, new(*FinishedError)) {
		return nil
	}
	if refusedForGood(err) {
		t.pool.log.Error("a tick's job was refused for good: it is given up", "name", s.Name, "tick", tickText(tick), "error", err)
		return nil
	}
	return err
}

// refusedForGood reports whether a job was not enqueued, for a reason that stays: the status store cannot keep its status, or
// has another job under its id, as while a deployment changes the jobs' queue or type.
func refusedForGood(err error) bool {
	return errors.As(err, new(*EnqueueError)) && (IsPermanent(err) || errors.As(err, new(*IDTakenError)))
}

// isDue reports whether it is time to look, by the time that has passed or by the clock, whichever says so: clocks are set.
func (s *ticking) isDue(now time.Time) bool {
	return !now.Before(s.at) || !now.Round(0).Before(s.at.Round(0))
}

// due returns the ticks after last and until a time that are to be enqueued by the schedule's policy, oldest first.
func (s *ticking) due(last, until time.Time) (ticks []time.Time, err error) {
	if s.Missed == MissedAll {
		for tick := last; len(ticks) < maxCatchUp; {
			tick, err = nextTick(s.Schedule, tick)
			if err != nil || tick.IsZero() || tick.After(until) {
				break
			}
			ticks = append(ticks, tick)
		}
		return ticks, err
	}
	tick, err := latestTick(s.Schedule, last, until)
	if err != nil || tick.IsZero() {
		return nil, err
	}
	return []time.Time{tick}, nil
}

// lookAgain sets when to look for the first tick after last and after the time until which it has been looked: as long from
// now as it is from that time. Whoever enqueued the last tick comes first again, so that not all replicas do the same work.
func (s *ticking) lookAgain(now, until, last time.Time) error {
	if last.Before(until) {
		last = until
	}
	next, err := nextTick(s.Schedule, last)
	if err != nil {
		return err
	}
	s.at = now.Add(maxLookAgain)
	if !next.IsZero() && next.Sub(until) < maxLookAgain {
		s.at = now.Add(next.Sub(until))
	}
	if now.Sub(until) > maxTickWait { // the queue's clock is far behind: it may be set right at any time
		s.at = now.Add(min(s.at.Sub(now), maxTickWait))
	}
	if !s.first {
		s.at = s.at.Add(rand.N(tickJitter))
	}
	return nil
}

// enqueueTick is enqueue for the job of a tick. It reports whether this call has enqueued it.
func (c *Client) enqueueTick(ctx context.Context, t Ticker, name string, tick time.Time, job *Job) (enqueued bool, err error) {
	err = c.send(ctx, "enqueue tick", []*Job{job}, func(ctx context.Context, jobs []*Job) error {
		push, repeated, failed, err := c.saveWaiting(ctx, jobs)
		if err != nil {
			return err
		}
		if len(push) > 0 {
			if enqueued, err = t.EnqueueTick(ctx, name, tick, job); err != nil {
				failed, err = refusals(err, push, failed)
			} else if !enqueued && len(repeated) == 0 {
				c.withdraw(ctx, job)
			}
		}
		if err != nil || len(failed) == 0 {
			return err
		}
		c.recordRefused(ctx, push, repeated, failed)
		return &EnqueueError{Failed: failed}
	})
	return enqueued, err
}

// withdraw ends the row of a job that was not enqueued as a later tick was, and that nobody had saved before: a sweep would
// run it otherwise. A row that has gone on stays as it is, and so does that of a job which the queue has.
func (c *Client) withdraw(ctx context.Context, job *Job) {
	if c.store == nil {
		return
	}
	if knower, ok := c.queue.(Knower); ok {
		places, err := knower.Know(ctx, job.Queue, job.ID)
		if err != nil || len(places) != 1 || places[0] != PlaceUnknown {
			return
		}
	}
	c.saveRefused(ctx, []*Job{job}, nil, map[string]error{job.ID: errPassed})
}

// errPassed says why a tick's job has a row and was not enqueued.
var errPassed = errors.New("this tick or a later one was enqueued before")
