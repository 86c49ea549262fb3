package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pollInterval = 2 * time.Second  // an idle queue is looked at this often, should every wake-up be lost
	openTimeout  = 4 * time.Second  // of opening the sessions
	queueTimeout = 5 * time.Second  // of one settlement
	defaultLease = 10 * time.Second // of a queue that doesn't tell its own

	releaseTimeout = time.Second // of closing sessions that hold nothing
)

// feed brings one queue's jobs into the pool. It lives as long as the pool serves the queue; its sessions come and go.
type feed struct {
	pool     *Pool
	queue    string
	kinds    *queueKinds
	unknown  *typeKinds              // of types without a handler
	handlers map[string]registration // by type of job
	share    *share
	minToken atomic.Int64 // the highest token met in a status
	claims   flag         // claiming fails
	waits    flag         // waiting fails
	settles  flag         // settling fails
	renewals flag         // renewing the lease fails
	lost     flag         // the lease was lost, and no new session is open yet
	unlocks  flag         // freeing unique keys fails

	ctx       context.Context // ends when nothing more is to be claimed from the queue
	stop      context.CancelFunc
	current   *session      // the latest; the pool's mutex guards it
	ended     chan struct{} // closed when run has returned
	removed   chan struct{} // closed when RemoveQueue has ended
	removeErr error
}

// session is a feed's consumer while it holds its lease, and the attempts that belong to it.
type session struct {
	feed         *feed
	consumer     Consumer
	checkpointer Checkpointer // nil if the consumer isn't one
	waker        Waker        // nil if the consumer isn't one
	unlocker     Unlocker     // nil if the consumer isn't one
	lease        time.Duration
	opened       time.Time
	settles      *lane[*attempt]
	unlocks      *lane[*attempt] // of unique keys, before handlers are called

	ctx        context.Context // of the handlers; its cause says why they are stopped
	cancel     context.CancelCauseFunc
	claims     context.Context // ends when nothing more is to be claimed
	stopClaims context.CancelFunc
	gone       atomic.Bool
	over       chan struct{} // closed by end

	mu    sync.Mutex
	held  map[int64]*attempt   // by token, from claim to outcome
	early map[int64]Revocation // by token, of what is not held: the claim may be about to return
}

// open opens a session.
func (f *feed) open(ctx context.Context) (*session, error) {
	consumer, err := f.consume(ctx)
	if err != nil {
		return nil, fmt.Errorf("consume queue %q: %w", f.queue, err)
	}
	s := &session{feed: f, consumer: consumer, lease: defaultLease, opened: time.Now(), over: make(chan struct{}),
		held: make(map[int64]*attempt), early: make(map[int64]Revocation)}
	s.checkpointer, _ = consumer.(Checkpointer)
	s.waker, _ = consumer.(Waker)
	s.unlocker, _ = consumer.(Unlocker)
	if l, ok := consumer.(Leaser); ok {
		s.lease = l.Lease()
	}
	s.settles = newLane(s.settle, 1, 0)
	s.unlocks = newLane(s.unlock, 1, 0)
	s.ctx, s.cancel = context.WithCancelCause(f.pool.jobsCtx)
	s.claims, s.stopClaims = context.WithCancel(f.ctx)
	if !f.pool.addSession(s) {
		releaseAll([]*session{s})
		return nil, ErrPoolStopped
	}
	return s, nil
}

func (f *feed) consume(ctx context.Context) (c Consumer, err error) {
	defer catch(&err)
	c, err = f.pool.client.queue.Consume(ctx, f.queue, ConsumeOptions{
		MaxCrashes: f.pool.cfg.MaxCrashes, Process: f.pool.origin,
		OnRenewal: f.renewed, OnRecovered: f.recovered,
	})
	if err == nil && isNil(c) {
		err = errors.New("the queue returned no consumer")
	}
	return c, err
}

// renewed hears of each renewal of the lease. The queue itself tells the log.
func (f *feed) renewed(err error) {
	if err != nil {
		f.renewals.raise(err)
	} else {
		f.renewals.clear()
	}
	f.pool.tel.renewed(context.Background(), f.queue, err)
}

// recovered hears of a dead worker's jobs.
func (f *feed) recovered(jobs int) {
	f.pool.tel.count(context.Background(), f.pool.tel.recovered, f.kinds, jobs)
}

// run serves session after session until nothing more is to be claimed.
func (f *feed) run(s *session) {
	defer close(f.ended)
	for try := 1; ; try++ {
		if s != nil {
			f.serve(s)
			if !s.isLost() {
				return
			}
			releaseAll([]*session{s})
			if time.Since(s.opened) > s.lease {
				try = 1
			} else if !f.pause(backoff(try)) { // sessions that don't last are no reason to hurry
				return
			}
		}
		var err error
		ctx, cancel := context.WithTimeout(f.ctx, openTimeout)
		s, err = f.open(ctx)
		cancel()
		if err != nil {
			f.trouble(&f.claims, "no session can be opened on the queue", err)
			if !f.pause(backoff(try)) {
				return
			}
			continue
		}
		for _, old := range []*flag{&f.lost, &f.renewals, &f.settles, &f.unlocks} { // of the session that is gone
			old.clear()
		}
		f.fine(&f.claims, "a session is open on the queue again")
	}
}

// serve claims and hands on until the session is lost or the pool stops claiming.
func (f *feed) serve(s *session) {
	claims, waits := 1, 1 // tries
	var woken func()
	for {
		n := f.pool.slots.acquire(s.claims, f.share, woken)
		woken = nil
		if n == 0 {
			return
		}
		got, err := f.claim(s, n)
		switch {
		case errors.Is(err, ErrLeaseLost):
			f.pool.slots.leave(f.share)
			if s.claims.Err() == nil { // else the claim has outlived the session, which the pool has closed
				s.lose()
			}
			return
		case err != nil:
			f.trouble(&f.claims, "nothing can be claimed from the queue", err)
			f.pool.slots.leave(f.share)
			if !f.pause(backoff(claims)) {
				return
			}
			claims++
			continue
		}
		f.fine(&f.claims, "the queue's jobs can be claimed again")
		claims = 1
		if got > 0 {
			continue
		}
		woken = s.passWake
		if waits, err = f.wait(s, waits); err != nil {
			return
		}
	}
}

// wait returns when there may be something to claim, and how often it has failed in a row, plus 1. Where waiting fails
// though claiming works, the queue is polled.
func (f *feed) wait(s *session, try int) (int, error) {
	_, err := s.callClaim(ClaimOptions{Wait: pollInterval})
	switch {
	case err == nil:
		f.fine(&f.waits, "the queue wakes workers again")
		return 1, nil
	case s.claims.Err() != nil:
		return try, s.claims.Err()
	case errors.Is(err, ErrLeaseLost):
		return try, nil // the next claim says so, too
	}
	f.trouble(&f.waits, "waiting for jobs fails: the queue is polled", err)
	if !f.pause(min(backoff(try), pollInterval)) {
		return try, f.ctx.Err()
	}
	return try + 1, nil
}

func (f *feed) claim(s *session, n int) (int, error) {
	began := time.Now()
	jobs, err := s.callClaim(ClaimOptions{Limit: n, MinToken: f.minToken.Load()})
	attempts := f.pool.attempts(s, jobs)
	took := time.Since(began)
	f.pool.tel.claimed(s.claims, f.kinds, len(attempts), took, err)
	if start := f.pool.slots.claimed(f.share, n, attempts, took, err != nil); len(start) > 0 {
		f.pool.hands.start(start...)
	}
	if slices.ContainsFunc(attempts, func(a *attempt) bool { return a.alone }) {
		f.pool.dismissAlone() // it may have been revoked before it was in line
	}
	if f.ctx.Err() != nil { // RemoveQueue has given back what was here before
		f.pool.giveBackReady(func(a *attempt) bool { return a.session == s })
	}
	f.pool.watchReady()
	return len(attempts), err
}

func (s *session) callClaim(opts ClaimOptions) (jobs []*Job, err error) {
	defer catch(&err)
	return s.consumer.Claim(s.claims, opts)
}

// passWake hands a wake-up on that the pool has no slot for.
func (s *session) passWake() {
	if s.waker == nil {
		return
	}
	_ = s.callWake() // when it fails, others look for themselves soon
}

func (s *session) callWake() (err error) {
	defer catch(&err)
	ctx, cancel := context.WithTimeout(s.claims, queueTimeout)
	defer cancel()
	return s.waker.Wake(ctx)
}

// watch stops attempts that the queue takes away, one or all, until the session's end or the pool's.
func (s *session) watch() {
	var revoked <-chan Revocation
	if w, ok := s.consumer.(CancelWatcher); ok {
		revoked = w.Revoked()
	}
	over := s.claims.Done()
	for {
		select {
		case <-s.consumer.Lost():
			s.lose()
			return
		case <-over:
			if s.isLost() {
				return
			}
			over = nil // the pool stops: handlers may be revoked until all is settled
		case r, open := <-revoked:
			if !open {
				revoked = nil
			}
			s.revoke(r)
		case <-s.over:
			return
		case <-s.feed.pool.hardCtx.Done():
			return
		}
	}
}

// lose gives up everything that the session holds.
func (s *session) lose() {
	f := s.feed
	s.mu.Lock()
	first := !s.isLost()
	if first {
		f.lost.raise(ErrLeaseLost) // before a new session can be opened, which ends it
		s.gone.Store(true)
	}
	s.mu.Unlock()
	s.cancel(ErrLeaseLost)
	s.stopClaims()
	if first {
		f.pool.log.Error("the lease was lost: its jobs are stopped", "queue", f.queue)
		f.pool.tel.count(f.pool.jobsCtx, f.pool.tel.leaseLost, f.kinds, 1)
	}
	f.pool.giveBackReady(func(a *attempt) bool { return a.session == s })
}

// end gives up what a session that was closed still holds.
func (s *session) end() {
	s.gone.Store(true)
	s.cancel(ErrShutdown)
	s.stopClaims()
	close(s.over)
}

// isLost reports whether what was claimed in the session is not the worker's any more.
func (s *session) isLost() bool { return s.gone.Load() }

// release closes a session that holds nothing.
func (s *session) release(ctx context.Context) { _ = s.callClose(ctx) } // lost or empty: nothing depends on it

func (s *session) callClose(ctx context.Context) (err error) {
	defer catch(&err)
	return s.consumer.Close(ctx)
}

func (s *session) revoke(r Revocation) {
	r.Cause = readable(r.Cause)
	s.mu.Lock()
	a := s.held[r.Token]
	if a == nil {
		s.early[r.Token] = r
	}
	s.mu.Unlock()
	if a != nil && a.job.ID == r.ID {
		a.revoke(r.Cause)
		if a.alone {
			s.feed.pool.dismissAlone()
		}
	}
}

// track makes claimed jobs known to revoke and to the janitor, until untrack.
func (s *session) track(attempts []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range attempts {
		s.held[a.job.Token] = a
		if r, ok := s.early[a.job.Token]; ok && r.ID == a.job.ID {
			a.revoke(r.Cause)
		}
	}
	clear(s.early) // what else is in it has ended
}

func (s *session) untrack(a *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[a.job.Token] == a {
		delete(s.held, a.job.Token)
	}
}

// overdue returns the attempts whose handlers have ignored the end of their context for the grace.
func (s *session) overdue(now time.Time, grace time.Duration) (late []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.held {
		if a.overdue(now, grace) {
			late = append(late, a)
		}
	}
	return late
}

func (s *session) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) == 0
}

func (s *session) checkpoint(ctx context.Context, job *Job, data []byte) error {
	switch {
	case s.isLost():
		return ErrLeaseLost
	case s.checkpointer == nil:
		return fmt.Errorf("the queue keeps no checkpoints: %w", errors.ErrUnsupported)
	}
	return s.checkpointer.Checkpoint(ctx, job, data)
}
