package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pollInterval = 2 * time.Second  // an idle queue is looked at this often, should every wake-up be lost
	startTimeout = 5 * time.Second  // of opening all sessions
	queueTimeout = 5 * time.Second  // of one settlement
	defaultLease = 10 * time.Second // of a queue that doesn't tell its own
)

// feed brings one queue's jobs into the pool. It lives as long as the pool; its sessions come and go.
type feed struct {
	pool     *Pool
	queue    string
	spanName string
	share    *share
	session  atomic.Pointer[session]
	minToken atomic.Int64 // the highest token met in a status
	claims   flag         // claiming fails
	settles  flag         // settling fails
}

// session is a feed's consumer while it holds its lease, and the attempts that belong to it.
type session struct {
	feed         *feed
	consumer     Consumer
	checkpointer Checkpointer // nil if the consumer isn't one
	lease        time.Duration
	settles      *lane[*attempt]

	ctx        context.Context // of the handlers; its cause says why they are stopped
	cancel     context.CancelCauseFunc
	claims     context.Context // ends when nothing more is to be claimed
	stopClaims context.CancelFunc
	gone       atomic.Bool

	mu      sync.Mutex
	running map[string]*attempt
}

// open opens a session.
func (f *feed) open(ctx context.Context) (*session, error) {
	consumer, err := f.pool.consume(ctx, f.queue)
	if err != nil {
		return nil, fmt.Errorf("consume queue %q: %w", f.queue, err)
	}
	s := &session{feed: f, consumer: consumer, lease: defaultLease, running: make(map[string]*attempt)}
	s.checkpointer, _ = consumer.(Checkpointer)
	if l, ok := consumer.(Leaser); ok {
		s.lease = l.Lease()
	}
	s.settles = newLane(s.settle, 0)
	s.ctx, s.cancel = context.WithCancelCause(f.pool.jobsCtx)
	s.claims, s.stopClaims = context.WithCancel(f.pool.claimCtx)
	f.session.Store(s)
	if f.pool.claimCtx.Err() != nil { // Stop may have closed the sessions before there was this one
		s.release()
		return nil, ErrPoolStopped
	}
	f.pool.watchers.Go(s.watch)
	return s, nil
}

// run serves session after session until the pool stops claiming.
func (f *feed) run(s *session) {
	for try := 1; ; try++ {
		if s != nil {
			f.serve(s)
			if !s.isLost() {
				return
			}
			f.pool.log.Error("the lease was lost: its jobs are stopped, a new session begins", "queue", f.queue)
			s.release()
			try = 1
		}
		var err error
		ctx, cancel := context.WithTimeout(f.pool.claimCtx, startTimeout)
		s, err = f.open(ctx)
		cancel()
		if err != nil {
			f.trouble(&f.claims, "no session can be opened on the queue", err)
			if !f.pool.pauseClaims(backoff(try)) {
				return
			}
		}
	}
}

// serve claims and hands on until the session is lost or the pool stops claiming.
func (f *feed) serve(s *session) {
	for try := 1; ; {
		n := f.pool.slots.acquire(s.claims, f.share)
		if n == 0 {
			return
		}
		got, err := f.claim(s, n)
		switch {
		case errors.Is(err, ErrLeaseLost):
			s.lose()
			return
		case err != nil:
			f.trouble(&f.claims, "nothing can be claimed from the queue", err)
			f.pool.slots.leave(f.share)
			if !f.pool.pauseClaims(backoff(try)) {
				return
			}
			try++
			continue
		}
		f.fine(&f.claims, "the queue's jobs can be claimed again")
		try = 1
		if got == 0 {
			_, _ = s.consumer.Claim(s.claims, ClaimOptions{Wait: pollInterval}) // the next claim tells of trouble
		}
	}
}

func (f *feed) claim(s *session, n int) (int, error) {
	began := time.Now()
	jobs, err := s.consumer.Claim(s.claims, ClaimOptions{Limit: n, MinToken: f.minToken.Load()})
	for _, a := range f.pool.slots.claimed(f.share, n, f.pool.attempts(s, jobs), time.Since(began)) {
		f.pool.spawn(a)
	}
	f.pool.watchReady()
	return len(jobs), err
}

// trouble tells of a failure that goes on once, when it begins, and fine when it is over.
func (f *feed) trouble(since *flag, message string, err error) {
	if f.pool.claimCtx.Err() == nil && since.raise() {
		f.pool.log.Error(message, "queue", f.queue, "error", err)
	}
}

func (f *feed) fine(since *flag, message string) {
	if since.clear() {
		f.pool.log.Info(message, "queue", f.queue)
	}
}

// watch stops attempts that the queue takes away, one or all, until the session is released.
func (s *session) watch() {
	var revoked <-chan Revocation
	if w, ok := s.consumer.(CancelWatcher); ok {
		revoked = w.Revoked()
	}
	for {
		select {
		case <-s.consumer.Lost():
			s.lose()
			return
		case r := <-revoked:
			s.revoke(r)
		case <-s.feed.pool.hardCtx.Done():
			return
		case <-s.ctx.Done():
			if s.isLost() {
				return
			}
			select { // stopping: handlers may still be revoked until all is settled
			case r := <-revoked:
				s.revoke(r)
			case <-s.consumer.Lost():
				s.lose()
				return
			case <-s.feed.pool.hardCtx.Done():
				return
			}
		}
	}
}

// lose gives up everything that the session holds.
func (s *session) lose() {
	s.gone.Store(true)
	s.cancel(ErrLeaseLost)
	s.stopClaims()
	s.feed.pool.giveBackReady(func(a *attempt) bool { return a.session == s })
}

func (s *session) isLost() bool { return s.gone.Load() }

// release closes a lost session's consumer, which holds nothing any more.
func (s *session) release() {
	ctx, cancel := context.WithTimeout(s.feed.pool.hardCtx, queueTimeout)
	defer cancel()
	_ = s.consumer.Close(ctx) // it is lost: what Close could say is known
}

func (s *session) revoke(r Revocation) {
	s.mu.Lock()
	a := s.running[r.ID]
	s.mu.Unlock()
	if a != nil && a.job.Token == r.Token {
		a.cancel(r.Cause)
	}
}

// track makes an attempt whose handler runs known to revoke and to the janitor.
func (s *session) track(a *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[a.job.ID] = a
}

func (s *session) untrack(a *attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[a.job.ID] == a {
		delete(s.running, a.job.ID)
	}
}

// overdue returns the attempts whose handlers have ignored the end of their context for the grace.
func (s *session) overdue(now time.Time, grace time.Duration) (late []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.running {
		switch {
		case a.ctx.Err() == nil:
		case a.canceled.IsZero():
			a.canceled = now
			if grace <= 0 {
				late = append(late, a)
			}
		case now.Sub(a.canceled) >= grace:
			late = append(late, a)
		}
	}
	return late
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

// sawToken raises what the next claim's tokens must exceed.
func (s *session) sawToken(token int64) {
	for {
		seen := s.feed.minToken.Load()
		if token <= seen || s.feed.minToken.CompareAndSwap(seen, token) {
			return
		}
	}
}

// settle ends the claims of a batch, and tries again until it is done, the lease is lost or the pool's time is up.
func (s *session) settle(batch []*attempt) {
	p := s.feed.pool
	defer p.slots.settled(len(batch))
	verdicts := make([]Verdict, len(batch))
	for i, a := range batch {
		verdicts[i] = a.outcome.verdict
	}
	for try := 1; !s.isLost(); try++ {
		err := s.callSettle(verdicts)
		switch {
		case err == nil:
			s.feed.fine(&s.feed.settles, "the queue settles again")
			p.announceSettled(batch)
			return
		case errors.Is(err, ErrLeaseLost):
			s.lose()
			return
		}
		s.feed.trouble(&s.feed.settles, "jobs that ended cannot be settled in the queue: they are tried again", err)
		if !p.pause(backoff(try)) {
			return
		}
	}
}

func (s *session) callSettle(verdicts []Verdict) error {
	ctx, cancel := context.WithTimeout(s.feed.pool.hardCtx, queueTimeout)
	defer cancel()
	return s.consumer.Settle(ctx, verdicts...)
}
