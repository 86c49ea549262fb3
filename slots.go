package worker

import (
	"context"
	"sync"
	"time"
)

const (
	maxAhead     = 256                    // most jobs claimed beyond the slots
	maxAheadWait = 100 * time.Millisecond // after this an unstarted job goes back to its queue
	smoothing    = 0.1                    // weight of a new measurement in the moving averages
)

// slots decides, without talking to anyone, how many jobs each queue may claim and which claimed job starts next. It
// shares Concurrency slots among the queues by weight (stride scheduling: each queue pays 1/weight per slot, the one
// that has paid least goes first), looks ahead by measured times, and stops all claims while there is a reason to.
//
// Source: C. Waldspurger, W. Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management", 1995.
type slots struct {
	size int

	mu       sync.Mutex
	shares   []*share
	running  int
	ready    []*attempt // claimed, not started, oldest first
	alone    []*attempt // jobs that may take their worker down: each runs with nothing beside it
	solitary bool       // one of them is running
	blocked  block
	unsaved  int           // finished, not settled
	pass     float64       // what the queue served last had paid: the line's virtual time
	claim    time.Duration // moving average of a claim's round trip
	occupied time.Duration // moving average of how long a job holds its slot
}

// block is a set of reasons to claim nothing.
type block uint8

const (
	blockStopping  block = 1 << iota
	blockStore           // the status store fails
	blockAbandoned       // as many handlers as there are slots ignore their context
)

// share is one queue's part of the slots.
type share struct {
	weight int
	limit  int // most jobs held at once; zero means no limit of its own

	paid     float64       // what it has paid so far
	active   bool          // it wants slots, or will as soon as its claim returns
	granted  int           // slots given and not yet taken
	claiming int           // slots that a claim under way may fill
	held     int           // jobs claimed and not finished
	wake     chan struct{} // capacity 1: something was granted
}

func newSlots(size int) *slots { return &slots{size: size} }

func (s *slots) addShare(weight, limit int) *share {
	sh := &share{weight: max(weight, 1), limit: limit, wake: make(chan struct{}, 1)}
	s.shares = append(s.shares, sh)
	return sh
}

// acquire waits until the queue may claim something and returns how many jobs; 0 when ctx has ended. It calls full
// before it waits, if that is set.
func (s *slots) acquire(ctx context.Context, sh *share, full func()) int {
	for ctx.Err() == nil {
		if n := s.take(sh); n > 0 {
			return n
		}
		if full != nil {
			full()
			full = nil
		}
		select {
		case <-sh.wake:
		case <-ctx.Done():
		}
	}
	s.leave(sh)
	return 0
}

func (s *slots) take(sh *share) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !sh.active {
		sh.active = true
		sh.paid = max(sh.paid, s.pass) // a queue that was idle doesn't catch up
	}
	s.assign()
	if s.halted() {
		return 0
	}
	n := min(sh.granted, maxBatch)
	sh.granted -= n
	sh.claiming += n
	return n
}

// leave says that the queue wants nothing now.
func (s *slots) leave(sh *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked(sh)
	s.assign()
}

func (s *slots) leaveLocked(sh *share) {
	sh.active = false
	sh.paid -= float64(sh.granted) / float64(sh.weight)
	sh.granted = 0
}

// claimed accounts for a claim of n slots, and returns those of the jobs it brought that start now, each in a slot of
// its own; the others wait for one. It is one step, as a slot must not look free between the claim and the start.
func (s *slots) claimed(sh *share, n int, jobs []*attempt, took time.Duration) (start []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.claiming -= n
	sh.held += len(jobs)
	sh.paid -= float64(n-len(jobs)) / float64(sh.weight)
	average(&s.claim, took)
	for _, a := range jobs {
		if a.alone {
			s.alone = append(s.alone, a)
		} else {
			s.ready = append(s.ready, a)
		}
	}
	start = s.startable()
	if len(jobs) == 0 {
		s.leaveLocked(sh)
	}
	s.assign()
	return start
}

// halted reports whether nothing may be claimed, however many slots are free.
func (s *slots) halted() bool { return s.blocked != 0 || len(s.alone) > 0 || s.solitary }

// assign hands free slots to the queues that want them, and wakes those that have some to take.
func (s *slots) assign() {
	if s.halted() {
		return
	}
	for _, sh := range s.shares {
		if sh.granted > 0 {
			sh.signal()
		}
	}
	for free := s.free(); free > 0; free-- {
		sh := s.poorest()
		if sh == nil {
			return
		}
		s.pass = max(s.pass, sh.paid)
		sh.granted++
		sh.paid += 1 / float64(sh.weight)
		sh.signal()
	}
}

func (sh *share) signal() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

func (s *slots) free() int {
	if s.unsaved > max(2*maxBatch, 2*s.size) {
		return 0
	}
	free := s.size + s.ahead() - s.running - len(s.ready)
	for _, sh := range s.shares {
		free -= sh.granted + sh.claiming
	}
	return free
}

// ahead is how many jobs will start within one round trip, by the averages.
func (s *slots) ahead() int {
	if s.size == 1 || s.occupied == 0 {
		return 0
	}
	return int(min(maxAhead, float64(s.size)*float64(s.claim)/float64(s.occupied)))
}

func (s *slots) poorest() *share {
	var best *share
	for _, sh := range s.shares {
		full := sh.limit > 0 && sh.held+sh.granted+sh.claiming >= sh.limit
		if sh.active && !full && (best == nil || sh.paid < best.paid) {
			best = sh
		}
	}
	return best
}

func (s *slots) startable() (start []*attempt) {
	for {
		a := s.pop()
		if a == nil {
			return start
		}
		start = append(start, a)
	}
}

// pop moves the next job that may start into a slot.
func (s *slots) pop() *attempt {
	switch {
	case s.solitary || s.running >= s.size || s.blocked&blockStopping != 0:
		return nil
	case len(s.ready) > 0:
		a := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		s.running++
		return a
	case len(s.alone) > 0 && s.running == 0:
		a := s.alone[0]
		s.alone = s.alone[1:]
		s.solitary = true
		s.running++
		return a
	}
	return nil
}

// finish frees the slot of a job that held it for took and returns the next job for it, nil when there is none. More
// may be startable after a job that ran alone: they are returned as well. took 0 is no measurement.
func (s *slots) finish(sh *share, took time.Duration) (next *attempt, more []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.unsaved++
	sh.held--
	if took > 0 {
		average(&s.occupied, took)
	}
	wasAlone := s.solitary
	if s.running == 0 {
		s.solitary = false
	}
	next = s.pop()
	if wasAlone {
		more = s.startable()
	}
	s.assign()
	return next, more
}

// inUse returns how many jobs hold a slot.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// settled says that the verdicts of n jobs are done with.
func (s *slots) settled(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved -= n
	s.assign()
}

// withdraw takes the unstarted jobs that match out of the line; each counts as finished, not yet settled.
func (s *slots) withdraw(match func(*attempt) bool) (gone []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sift := func(line []*attempt) []*attempt {
		kept := make([]*attempt, 0, len(line))
		for _, a := range line {
			if match(a) {
				gone = append(gone, a)
				a.session.feed.share.held--
				s.unsaved++
			} else {
				kept = append(kept, a)
			}
		}
		return kept
	}
	s.ready, s.alone = sift(s.ready), sift(s.alone)
	s.assign()
	return gone
}

// slowDown says that jobs claimed ahead did not find a slot in time: what the averages say is too fast.
func (s *slots) slowDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.occupied = max(s.occupied, time.Duration(s.size)*maxAheadWait)
}

// waiting reports whether claimed jobs wait for a slot.
func (s *slots) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

// block and unblock add and remove a reason to claim nothing.
func (s *slots) block(b block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked |= b
}

func (s *slots) unblock(b block) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked &^= b
	s.assign()
}

// blockedBy reports whether nothing is claimed for this reason.
func (s *slots) blockedBy(b block) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocked&b != 0
}

// average moves a moving average towards a new measurement.
func average(avg *time.Duration, d time.Duration) {
	if *avg == 0 {
		*avg = max(d, 1)
		return
	}
	*avg += time.Duration(smoothing * float64(d-*avg))
	*avg = max(*avg, 1)
}
