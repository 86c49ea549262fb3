package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Stop ends the pool: it stops claiming, lets jobs finish until ctx or DrainTimeout ends, cancels the rest with
// ErrShutdown, gives their handlers CancelGrace to return, and gives back what is unsettled, with no attempt counted.
// It returns by ctx's deadline, if there is one, and in any case soon after DrainTimeout and CancelGrace, also when a
// handler ignores its context: such a one is counted in the error, which wraps ErrAbandoned. Stop before Start leaves
// a pool that can't be started; a second Stop waits for the first and returns what it returned.
func (p *Pool) Stop(ctx context.Context) error {
	p.mu.Lock()
	before := p.state
	p.state = poolStopping
	if before != poolStopping {
		p.stopBegan = time.Now()
	}
	p.mu.Unlock()
	switch before {
	case poolNew:
		p.pings.end(ctx)
		close(p.done)
		return nil
	case poolStarting:
		p.abortStart() // and Stop ends when Start does
		p.pings.end(ctx)
	case poolRunning:
		p.stopErr = p.stop(ctx)
		close(p.done)
		return p.stopErr
	}
	select {
	case <-p.done:
		return p.stopErr
	case <-ctx.Done():
		return fmt.Errorf("stop pool: it has not ended yet: %w", ctx.Err())
	}
}

// deadlines are when the parts of a stop end.
type deadlines struct{ drain, abandon, end time.Time }

// plan leaves time before ctx's deadline to cancel handlers and to give back what they held.
func (p *Pool) plan(ctx context.Context, now time.Time) deadlines {
	d := deadlines{drain: now.Add(p.cfg.DrainTimeout), end: now.Add(p.cfg.DrainTimeout + p.cfg.CancelGrace)}
	if limit, ok := ctx.Deadline(); ok && limit.Before(d.end) {
		d.end = limit
		reserve := min(p.cfg.CancelGrace, max(limit.Sub(now)/4, 0))
		if latest := limit.Add(-reserve); latest.Before(d.drain) {
			d.drain = latest
		}
	}
	d.abandon = d.drain.Add(d.end.Sub(d.drain) * 3 / 4)
	return d
}

// hurry is the plan when ctx is over before the drain: canceled, or expired at the call. Then it is one second.
func (p *Pool) hurry(ctx context.Context, now time.Time) deadlines {
	end := now.Add(p.cfg.CancelGrace)
	if limit, ok := ctx.Deadline(); ok && limit.Before(end) {
		end = now.Add(max(limit.Sub(now), min(p.cfg.CancelGrace, time.Second)))
	}
	return deadlines{abandon: now.Add(end.Sub(now) * 3 / 4), end: end}
}

func (p *Pool) stop(ctx context.Context) error {
	plan := p.plan(ctx, time.Now())
	p.slots.block(blockStopping)
	p.stopClaims()
	p.hands.close()
	drain, cancel := context.WithDeadline(ctx, plan.drain)
	defer cancel()
	await(drain, p.feeding.Wait)
	p.giveBackReady(func(*attempt) bool { return true })
	if !await(drain, p.hands.waitIdle) && ctx.Err() != nil {
		plan = p.hurry(ctx, time.Now())
	}
	p.stopJobs(ErrShutdown)
	late := p.abandonAfter(plan.abandon)
	return p.closeAll(plan.end, late)
}

// abandonAfter waits for canceled handlers and gives up those that don't return.
func (p *Pool) abandonAfter(deadline time.Time) (late int) {
	ctx, cancel := context.WithDeadline(p.hardCtx, deadline)
	defer cancel()
	if await(ctx, p.hands.waitIdle) {
		return 0
	}
	for _, a := range p.overdue(time.Now(), 0) {
		if p.abandon(a) {
			late++
		}
	}
	return late
}

// addSession keeps a session for Stop and the janitor, and watches it; false when nothing more is to be claimed by it.
func (p *Pool) addSession(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == poolStopping || s.feed.ctx.Err() != nil {
		return false
	}
	p.sessions = append(p.sessions, s)
	s.feed.current = s
	p.watchers.Go(s.watch)
	return true
}

// allSessions returns the open sessions, and lost ones whose handlers still run.
func (p *Pool) allSessions() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = slices.DeleteFunc(p.sessions, func(s *session) bool { return s.isLost() && s.empty() })
	return slices.Clone(p.sessions)
}

func (p *Pool) overdue(now time.Time, grace time.Duration) (late []*attempt) {
	for _, s := range p.allSessions() {
		late = append(late, s.overdue(now, grace)...)
	}
	return late
}

// closeAll saves and settles what is on its way, closes the sessions and ends the goroutines.
func (p *Pool) closeAll(deadline time.Time, late int) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(p.hardCtx), deadline)
	defer cancel()
	p.flush(ctx, time.Until(deadline)/2)
	problems := closeSessions(ctx, slices.DeleteFunc(p.allSessions(), (*session).isLost)...)
	p.stopHard()
	await(ctx, p.feeding.Wait)
	await(ctx, p.watchers.Wait)
	await(ctx, p.hands.waitGone)
	await(ctx, p.saves.wait)
	await(ctx, p.notes.lane.wait)
	p.notes.end()
	await(ctx, p.gauges.end)
	p.pings.end(ctx)
	if late > 0 {
		problems = append(problems, fmt.Errorf("%d handlers still run: %w", late, ErrAbandoned))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("stop pool: %w", err)
	}
	return nil
}

// flush waits until all outcomes are saved and settled, but leaves time to close the sessions, which gives back the
// jobs whose outcome a failing store did not take.
func (p *Pool) flush(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	await(ctx, p.hands.waitIdle)
	await(ctx, p.saves.wait)
	for _, s := range p.allSessions() {
		await(ctx, s.settles.wait)
	}
}

// closeSessions closes sessions, and returns by the end of ctx also when one does not.
func closeSessions(ctx context.Context, open ...*session) (problems []error) {
	results := make(chan error, len(open))
	for _, s := range open {
		go func() {
			err := s.callClose(ctx)
			if err != nil {
				err = fmt.Errorf("close session on %q: %w", s.feed.queue, err)
			}
			results <- err
		}()
	}
	for range open {
		select {
		case err := <-results:
			problems = append(problems, err)
		case <-ctx.Done():
			return append(problems, fmt.Errorf("close sessions: %w", ctx.Err()))
		}
	}
	return problems
}

// janitor abandons handlers that ignore the end of their context.
func (p *Pool) janitor() {
	ticker := time.NewTicker(max(p.cfg.CancelGrace/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-p.jobsCtx.Done(): // Stop sees to the rest
			return
		case now := <-ticker.C:
			for _, a := range p.overdue(now, p.cfg.CancelGrace) {
				p.abandon(a)
			}
		}
	}
}

// abandon gives up a handler that doesn't return: its job is judged by why it was to stop, and its slot goes on.
func (p *Pool) abandon(a *attempt) bool {
	if !a.owner.CompareAndSwap(ownedByHandler, abandoned) {
		return false // it has just returned
	}
	p.log.Error("a handler ignores the end of its context and is abandoned",
		append(a.logAttrs(), "cause", context.Cause(a.ctx))...)
	p.tel.count(p.jobsCtx, p.tel.abandoned, a.session.feed.kinds, 1)
	p.mu.Lock()
	p.abandoned++
	if p.abandoned >= p.cfg.Concurrency {
		p.slots.block(blockAbandoned)
		p.stuck.raise(ErrAbandoned)
	}
	p.mu.Unlock()
	p.conclude(a, fmt.Errorf("%w: %w", context.Cause(a.ctx), ErrAbandoned), true)
	if next := p.next(a); next != nil {
		p.hands.start(next)
	}
	p.hands.abandon()
	return true
}

// zombieEnded counts an abandoned handler out that has returned after all.
func (p *Pool) zombieEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.abandoned--
	if p.abandoned < p.cfg.Concurrency {
		p.slots.unblock(blockAbandoned)
		p.stuck.clear()
	}
}

// await runs wait and reports whether it returned before ctx ended.
func await(ctx context.Context, wait func()) bool {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// seldom allows each thing once a minute.
type seldom struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (s *seldom) allow(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last[what]) < time.Minute {
		return false
	}
	if s.last == nil || len(s.last) >= 1000 { // what comes from outside may not grow it for ever
		s.last = make(map[string]time.Time)
	}
	s.last[what] = time.Now()
	return true
}
