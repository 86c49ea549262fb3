package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// SetQueue makes the pool serve a queue from now on, or gives one that it serves another weight and limit; zero fields of
// cfg mean what they mean in Config.Queues. Before Start it only changes what Start will open. Of a running pool it returns
// when a session is open on the new queue, or with an error, within 4 seconds, when none can be; then the pool goes on as
// before. After Stop has begun it answers ErrPoolStopped. It may be called at any time; of several calls one waits for the
// other. While the queue is being removed its new session claims beside handlers that still run, which its Concurrency
// does not count.
func (p *Pool) SetQueue(ctx context.Context, name string, cfg QueueConfig) error {
	err := checkQueue(name, cfg)
	if err == nil {
		err = p.setQueue(ctx, name, cfg)
	}
	if err != nil {
		return fmt.Errorf("set queue %q: %w", name, err)
	}
	return nil
}

// RemoveQueue makes the pool stop serving a queue: it claims nothing more from it, gives back what has not started, lets
// jobs that run finish until ctx or DrainTimeout ends, cancels the rest with ErrShutdown, gives their handlers CancelGrace
// to return, and closes the session. No attempt is counted for what is given back: the queue's jobs go on elsewhere. It
// keeps ctx's deadline as Stop does. An error tells of handlers that ignore their context (it wraps ErrAbandoned), and of
// a session that could not be closed in order; the queue is removed all the same.
//
// A queue that the pool doesn't serve is no error. One that is being removed is waited for. Before Start it only changes
// what Start will open, and after Stop has begun it answers ErrPoolStopped. The pool goes on when it has no queue left. A
// handler that removes the queue of its own job waits for itself, until it is canceled.
func (p *Pool) RemoveQueue(ctx context.Context, name string) error {
	if err := p.removeQueue(ctx, name); err != nil {
		return fmt.Errorf("remove queue %q: %w", name, err)
	}
	return nil
}

// newFeed makes the feed of a queue that is to be served.
func (p *Pool) newFeed(name string, q QueueConfig) *feed {
	f := &feed{pool: p, queue: name, share: p.slots.addShare(q.Weight, q.Concurrency), handlers: maps.Clone(p.handlers),
		kinds: newQueueKinds(name), unknown: newTypeKinds(name, unknownType),
		ended: make(chan struct{}), removed: make(chan struct{})}
	for jobType, reg := range f.handlers {
		reg.kinds = newTypeKinds(name, jobType)
		f.handlers[jobType] = reg
	}
	return f
}

// arm makes the context of the feed's claims.
func (f *feed) arm() { f.ctx, f.stop = context.WithCancel(f.pool.claimCtx) }

// pause waits, and reports false when nothing more is to be claimed.
func (f *feed) pause(d time.Duration) bool {
	sleep(d, nil, f.ctx.Done())
	return f.ctx.Err() == nil
}

// served returns the feeds of the queues that the pool serves.
func (p *Pool) served() []*feed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.feeds)
}

func findFeed(feeds []*feed, queue string) *feed {
	i := slices.IndexFunc(feeds, func(f *feed) bool { return f.queue == queue })
	if i < 0 {
		return nil
	}
	return feeds[i]
}

// turn waits for the caller's turn to change which queues are served.
func (p *Pool) turn(ctx context.Context) (done func(), err error) {
	done = func() { <-p.turns }
	select {
	case p.turns <- struct{}{}:
		return done, nil
	default:
	}
	select {
	case p.turns <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// alter calls change with p.mu held, when the pool isn't just starting; running says whether it has started.
func (p *Pool) alter(ctx context.Context, change func(running bool)) error {
	for {
		p.mu.Lock()
		state, started := p.state, p.started
		if state == poolNew || state == poolRunning {
			change(state == poolRunning)
		}
		p.mu.Unlock()
		if state == poolStopping {
			return ErrPoolStopped
		}
		if state != poolStarting {
			return nil
		}
		select {
		case <-started:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Pool) setQueue(ctx context.Context, name string, cfg QueueConfig) error {
	done, err := p.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	var added *feed
	err = p.alter(ctx, func(running bool) {
		if f := findFeed(p.feeds, name); f != nil {
			p.slots.change(f.share, cfg.Weight, cfg.Concurrency)
			return
		}
		f := p.newFeed(name, cfg)
		if !running {
			p.feeds = append(p.feeds, f)
			return
		}
		f.arm()
		p.feeding.Add(1) // Stop waits until it is open, or isn't
		added = f
	})
	if err != nil || added == nil {
		return err
	}
	defer p.feeding.Done()
	return p.serve(ctx, added)
}

// serve opens a session for a new queue of a running pool, and begins to claim.
func (p *Pool) serve(ctx context.Context, f *feed) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)() // Stop does not wait for it
	s, err := f.open(ctx)
	if err == nil && p.admit(f, s) {
		p.log.Info("a queue was added to the pool", "queue", f.queue)
		return nil
	}
	if err == nil || p.claimCtx.Err() != nil {
		err = ErrPoolStopped
	}
	f.stop()
	if s != nil {
		s.end()
		releaseAll([]*session{s})
	}
	p.slots.remove(f.share)
	return err
}

// admit starts to serve a queue, unless Stop came first.
func (p *Pool) admit(f *feed, s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != poolRunning {
		return false
	}
	p.feeds = append(p.feeds, f)
	p.feeding.Go(func() { f.run(s) })
	return true
}

func (p *Pool) removeQueue(ctx context.Context, name string) error {
	f, mine, err := p.detach(ctx, name)
	switch {
	case err != nil || f == nil:
		return err
	case !mine:
		select {
		case <-f.removed:
			return f.removeErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.removeErr = p.drain(ctx, f)
	p.mu.Lock()
	p.leaving = slices.DeleteFunc(p.leaving, func(other *feed) bool { return other == f })
	p.mu.Unlock()
	close(f.removed)
	return f.removeErr
}

// detach takes a queue from those that are served. It returns the feed that is to be drained, or that somebody else
// drains already (not mine), nil if there is none.
func (p *Pool) detach(ctx context.Context, name string) (f *feed, mine bool, err error) {
	done, err := p.turn(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	err = p.alter(ctx, func(running bool) {
		served := findFeed(p.feeds, name)
		if served == nil {
			f = findFeed(p.leaving, name)
			return
		}
		p.feeds = slices.DeleteFunc(slices.Clone(p.feeds), func(other *feed) bool { return other == served })
		if !running {
			p.slots.remove(served.share)
			return
		}
		p.leaving = append(p.leaving, served)
		f, mine = served, true
	})
	return f, mine, err
}

// drain ends a queue's part in a running pool, in the order in which stop ends a pool.
func (p *Pool) drain(ctx context.Context, f *feed) error {
	plan := p.plan(ctx, time.Now())
	f.stop()
	quiet := p.slots.retire(f.share)
	p.giveBackReady(func(a *attempt) bool { return a.session.feed == f })
	over := p.until(ctx, plan.drain, quiet)
	late := 0
	if !over {
		if ctx.Err() != nil {
			plan = p.hurry(ctx, time.Now())
		}
		late = p.stopHandlers(f, plan.abandon, quiet)
		// What is saved and settled in half of what is left is not given back.
		over = p.until(context.Background(), plan.end.Add(-time.Until(plan.end)/2), quiet)
	}
	if soon := time.Now().Add(queueTimeout); over && soon.Before(plan.end) {
		plan.end = soon // nothing is left to wait for
	}
	problems := p.closeQueue(f, plan.end)
	p.slots.remove(f.share)
	switch {
	case !over && p.hardCtx.Err() != nil:
		return ErrPoolStopped // which does what was to be done here
	case late > 0:
		problems = append(problems, fmt.Errorf("%d handlers still run: %w", late, ErrAbandoned))
	case !over:
		problems = append(problems, errors.New("jobs were given back whose end could not be recorded in time"))
	}
	p.log.Info("a queue was removed from the pool", "queue", f.queue)
	return errors.Join(problems...)
}

// stopHandlers cancels the handlers of a queue, and returns how many it had to abandon at the deadline.
func (p *Pool) stopHandlers(f *feed, deadline time.Time, quiet <-chan struct{}) (late int) {
	var sessions []*session
	for _, s := range p.allSessions() {
		if s.feed == f {
			sessions = append(sessions, s)
			s.cancel(ErrShutdown)
		}
	}
	if p.until(context.Background(), deadline, quiet) {
		return 0
	}
	for _, s := range sessions {
		for _, a := range s.overdue(time.Now(), 0) {
			if p.abandon(a) {
				late++
			}
		}
	}
	return late
}

// closeQueue closes the session of a feed that has ended, or that does not end in half of the time until the deadline.
func (p *Pool) closeQueue(f *feed, deadline time.Time) []error {
	p.until(context.Background(), deadline.Add(-time.Until(deadline)/2), f.ended)
	p.mu.Lock()
	s := f.current
	p.mu.Unlock()
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	problems := closeSessions(ctx, s)
	s.end()
	return problems
}

// until waits for done, and reports whether it came before the deadline, the end of ctx, and that of the pool's time.
func (p *Pool) until(ctx context.Context, deadline time.Time, done <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	case <-p.hardCtx.Done():
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}
