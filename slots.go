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
// shares Concurrency slots among the queues by weight (stride scheduling: each queue pays for its slots by 1/weight, the
// one that has paid least goes first), looks ahead by measured times, and stops all claims while there is a reason to.
//
// Source: C. Waldspurger, W. Weihl, "Stride Scheduling: Deterministic Proportional-Share Resource Management", 1995.
type slots struct {
	size   int
	strict bool // a queue is served while none of greater weight wants slots
	now    func() time.Time
	epoch  time.Time

	mu       sync.Mutex
	shares   []*share
	running  int
	ready    []*attempt // claimed, not started, oldest first
	alone    []*attempt // jobs that may take their worker down: each runs with nothing beside it
	solitary bool       // one of them is running
	blocked  block
	slow     bool // jobs claimed ahead found no slot in time, and no job has ended since

	// Moving averages of how long a job holds its slot, and of that without what it first waits for a CPU. The look-ahead
	// follows the second: by the first each claim would bring fewer jobs just when there is the most to do.
	held, ran time.Duration
}

// block is a set of reasons to claim nothing.
type block uint8

const (
	blockStopping  block = 1 << iota
	blockStore           // the status store fails
	blockAbandoned       // as many handlers as there are slots ignore their context
)

func newSlots(size int, strict bool) *slots {
	return &slots{size: size, strict: strict, now: time.Now, epoch: time.Now()}
}

// time is the time since the epoch.
func (s *slots) time() time.Duration { return s.now().Sub(s.epoch) }

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
		case <-s.whenLate(sh):
		case <-ctx.Done():
		}
	}
	s.leave(sh)
	return 0
}

func (s *slots) take(sh *share) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.retired {
		return 0
	}
	s.join(sh)
	s.assign()
	if s.halted() {
		return 0
	}
	n := min(sh.granted, maxBatch)
	sh.granted -= n
	sh.claiming += n
	sh.asked = s.time()
	return n
}

// leave says that the queue wants nothing now.
func (s *slots) leave(sh *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.leave()
	s.assign()
}

// claimed accounts for a claim of n slots, and returns those of the jobs it brought that start now, each in a slot of
// its own; the others wait for one. It is one step, as a slot must not look free between the claim and the start. A claim
// that failed says nothing about how long claims take.
func (s *slots) claimed(sh *share, n int, jobs []*attempt, took time.Duration, failed bool) (start []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.claiming -= n
	sh.held += len(jobs)
	if sh.failed = failed; !failed {
		average(&sh.claim, took)
	}
	for _, a := range jobs {
		if a.alone {
			s.alone = append(s.alone, a)
		} else {
			s.ready = append(s.ready, a)
		}
	}
	if !sh.retired { // else they are given back
		start = s.startable(s.now())
	}
	if len(jobs) == 0 {
		sh.leave()
	}
	sh.tellQuiet()
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
	var now time.Duration
	if len(s.shares) > 1 {
		now = s.time()
	}
	for _, sh := range s.shares {
		if sh.late(now) {
			sh.granted = 0 // others can use it
		}
		if sh.granted > 0 {
			sh.signal()
		}
	}
	for free := s.free(now); free > 0; free-- {
		sh := s.next(now)
		if sh == nil {
			return
		}
		sh.granted++
		sh.signal()
	}
}

func (sh *share) signal() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

// free returns how many slots may be given out. What a late claim was to fill may: if it brings jobs after all, they wait.
func (s *slots) free(now time.Duration) int {
	free := s.size + s.ahead() - s.running - len(s.ready)
	for _, sh := range s.shares {
		free -= sh.granted
		if !sh.late(now) {
			free -= sh.claiming
		}
	}
	return free
}

// ahead is how many jobs could start within one round trip, by the averages: that of the queue which answers soonest, so
// that nothing claimed from it waits for long; and no more than do start in half the time after which they are given back.
func (s *slots) ahead() int {
	if s.size == 1 || s.ran == 0 || s.slow {
		return 0
	}
	claim := time.Duration(0)
	for _, sh := range s.shares {
		if sh.active && sh.claim > 0 && (claim == 0 || sh.claim < claim) {
			claim = sh.claim
		}
	}
	size := float64(s.size)
	return int(min(maxAhead, size*float64(claim)/float64(s.ran), size*float64(maxAheadWait/2)/float64(s.held)))
}

func (s *slots) startable(now time.Time) (start []*attempt) {
	for {
		a := s.pop(now)
		if a == nil {
			return start
		}
		start = append(start, a)
	}
}

// pop moves the next job that may start into a slot.
func (s *slots) pop(now time.Time) (a *attempt) {
	switch {
	case s.solitary || s.running >= s.size || s.blocked&blockStopping != 0:
		return nil
	case len(s.ready) > 0:
		a = s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
	case len(s.alone) > 0 && s.running == 0:
		a = s.alone[0]
		s.alone = s.alone[1:]
		s.solitary = true
	default:
		return nil
	}
	s.running++
	a.seated = now.Sub(s.epoch)
	a.share().started(a.seated)
	return a
}

// finish frees the slot of a job and returns the next job for it, nil when there is none. More may be startable after a
// job that ran alone: they are returned as well. A job that never began says nothing about how long jobs take.
func (s *slots) finish(a *attempt) (next *attempt, more []*attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, sh := s.now(), a.share()
	s.ended(sh, a.seated, now.Sub(s.epoch))
	s.running--
	s.letGo(sh)
	if ran := now.Sub(a.taken); !a.taken.IsZero() && ran > 0 {
		average(&s.ran, ran)
		average(&s.held, now.Sub(s.epoch)-a.seated)
		s.slow = false
	}
	wasAlone := s.solitary
	if s.running == 0 {
		s.solitary = false
	}
	next = s.pop(now)
	if wasAlone {
		more = s.startable(now)
	}
	s.assign()
	return next, more
}

// letGo says that a claimed job is finished and not yet settled.
func (s *slots) letGo(sh *share) {
	sh.held--
	sh.unsaved++
	sh.tellQuiet() // it may have been dropped before
}

// inUse returns how many jobs hold a slot.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// settled says that the verdicts of n jobs of a queue are done with.
func (s *slots) settled(sh *share, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.unsaved -= n
	sh.tellQuiet()
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
				s.letGo(a.share())
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

// slowDown says that jobs claimed ahead did not find a slot in time: what the averages say is too fast. Nothing more is
// claimed ahead until a job ends, however far the server is.
func (s *slots) slowDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = true
	s.ran = max(s.ran, time.Duration(s.size)*maxAheadWait)
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

// waits reports whether a queue wants slots and can't have any, so that nothing is claimed from it.
func (s *slots) waits(sh *share) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sh.active && sh.claiming == 0 && (sh.granted == 0 || s.halted())
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
