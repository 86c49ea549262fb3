package worker

import (
	"math"
	"time"
)

// minCost is what a job counts for at least: it costs the pool more than the time of its handler, and to measure less
// would be to measure noise.
const minCost = time.Millisecond

// share is one queue's part of the slots: what it may use, and what it has used. The mutex of its slots guards it.
//
// What is shared is the time in which slots are held, not the number of jobs, so that a queue of long jobs doesn't take
// the pool from one of short jobs. What holds a slot, or is about to, counts as much as earlier jobs let expect, or what
// it has taken already if that is more.
type share struct {
	weight int
	limit  int // most jobs held at once; zero means no limit of its own

	paid     float64       // for jobs that ended: seconds of a slot, by weight
	expected time.Duration // how long a job of the queue holds its slot, by those that ended; 0: none has
	running  int           // jobs that hold a slot
	starts   time.Duration // the sum of when they got it, since the epoch; an overflow cancels out in differences of such sums

	active   bool          // it wants slots, or will as soon as its claim returns
	granted  int           // slots given and not yet taken
	claiming int           // slots that a claim under way may fill
	asked    time.Duration // when that began, since the epoch
	claim    time.Duration // moving average of a claim's round trip
	failed   bool          // the last claim did
	held     int           // jobs claimed and not finished
	unsaved  int           // jobs finished and not settled
	wake     chan struct{} // capacity 1: something was granted
	retired  bool          // it gets no more slots
	quiet    chan struct{} // of a retired one: closed when it has nothing left; nil afterwards
}

// lateness is how many times longer than others a claim may take, and minLate the least after which it may be late.
const (
	lateness = 4
	minLate  = 100 * time.Millisecond
)

// addShare lets a queue take part.
func (s *slots) addShare(weight, limit int) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := &share{weight: max(weight, 1), limit: limit, wake: make(chan struct{}, 1)}
	s.shares = append(s.shares, sh)
	return sh
}

// change gives a queue another weight and limit from now on.
func (s *slots) change(sh *share, weight, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, rank := s.time(), sh.weight
	before := s.pace(sh, now)
	sh.weight, sh.limit = max(weight, 1), limit
	sh.paid += before - s.pace(sh, now) // its place in the line stays
	if peers := s.peers(sh, now); s.strict && sh.weight != rank && !math.IsInf(peers, 0) {
		sh.paid += peers - before // paces of different ranks have nothing to do with each other
	}
	s.forgo(sh, now)
	s.assign()
}

// retire gives a queue no more slots. The channel it returns is closed when all that was claimed is settled.
func (s *slots) retire(sh *share) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := make(chan struct{})
	sh.retired, sh.quiet = true, quiet
	sh.leave()
	sh.tellQuiet()
	s.assign()
	return quiet
}

// remove forgets a retired queue. Jobs of it that still run keep their slots.
func (s *slots) remove(sh *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make([]*share, 0, len(s.shares))
	for _, other := range s.shares {
		if other != sh {
			kept = append(kept, other)
		}
	}
	s.shares = kept
	s.assign()
}

// tellQuiet closes the channel of a retired queue that has nothing left.
func (sh *share) tellQuiet() {
	if sh.quiet != nil && sh.claiming == 0 && sh.held == 0 && sh.unsaved == 0 {
		close(sh.quiet)
		sh.quiet = nil
	}
}

// join says that the queue wants slots.
func (s *slots) join(sh *share) {
	if !sh.active {
		sh.active = true
		if len(s.shares) > 1 {
			s.forgo(sh, s.time())
		}
	}
}

// leave says that it wants none now.
func (sh *share) leave() { sh.active, sh.granted = false, 0 }

// expects is how long a job of the queue is expected to hold its slot: one of a queue that nothing is known of, as long as
// others.
func (s *slots) expects(sh *share) time.Duration {
	if sh.expected > 0 {
		return sh.expected
	}
	return max(s.held, minCost)
}

// pace is what the queue has used, and will have with what it was given, in seconds of a slot by weight. The queue that
// is furthest behind is served next.
func (s *slots) pace(sh *share, now time.Duration) float64 {
	each := s.expects(sh).Seconds()
	spent := (time.Duration(sh.running)*now - sh.starts).Seconds() // by the jobs that run
	used := max(spent, float64(sh.running)*each) + float64(sh.granted+sh.claiming+sh.held-sh.running)*each
	return sh.paid + used/float64(sh.weight)
}

// forgo brings a queue to where the others are, so that it doesn't catch up for what it didn't want.
func (s *slots) forgo(sh *share, now time.Duration) {
	sh.paid += max(0, s.peers(sh, now)-s.pace(sh, now))
}

// peers is the pace of those that a queue shares slots with: of the one that is furthest behind of those that use slots or
// want some, and may have them. When there is none nobody is to catch up: of the one that is furthest ahead, of those that
// use some if any does. -Inf says that it has no peers.
func (s *slots) peers(sh *share, now time.Duration) float64 {
	behind, barred, all := math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, other := range s.shares {
		if other == sh || other.retired || s.strict && other.weight != sh.weight {
			continue
		}
		pace := s.pace(other, now)
		all = max(all, pace)
		switch uses := other.active || other.held > 0; {
		case uses && s.barred(other, now):
			barred = max(barred, pace)
		case uses:
			behind = min(behind, pace)
		}
	}
	switch {
	case !math.IsInf(behind, 1):
		return behind
	case !math.IsInf(barred, -1):
		return barred
	}
	return all
}

// full reports whether the queue may have no more slots: it is at its limit, tries with one whether it can be claimed from
// again, or has too many jobs that ended and cannot be settled.
func (s *slots) full(sh *share) bool {
	wanted := sh.granted + sh.claiming
	return sh.limit > 0 && sh.held+wanted >= sh.limit || sh.failed && wanted > 0 || sh.unsaved > max(2*maxBatch, 2*s.size)
}

// late reports whether a claim under way takes much longer than those before: its server may hang, and other queues are
// not to wait with it.
func (sh *share) late(now time.Duration) bool {
	return sh.claiming > 0 && now-sh.asked > sh.lateAfter()
}

func (sh *share) lateAfter() time.Duration { return max(minLate, lateness*sh.claim) }

// hangs reports whether a claim under way is so late that what it takes is no matter of how fast the server is.
func (sh *share) hangs(now time.Duration) bool { return sh.late(now) && now-sh.asked > pollInterval }

// barred reports whether the queue gets no slot now, though it may want some.
func (s *slots) barred(sh *share, now time.Duration) bool { return s.full(sh) || sh.late(now) }

// whenLate returns what tells when a claim of another queue will be late, nil if none is under way.
func (s *slots) whenLate(sh *share) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	soonest, now := time.Duration(0), s.time()
	for _, other := range s.shares {
		if other == sh || other.claiming == 0 || other.late(now) {
			continue
		}
		if left := other.asked + other.lateAfter() - now + 1; soonest == 0 || left < soonest {
			soonest = left
		}
	}
	if soonest == 0 {
		return nil
	}
	return time.After(soonest)
}

// next returns the queue that is to have the next slot, nil if none wants it.
func (s *slots) next(now time.Duration) *share {
	if len(s.shares) == 1 {
		if sh := s.shares[0]; sh.active && !s.full(sh) {
			return sh
		}
		return nil
	}
	var best *share
	var least float64
	for _, sh := range s.shares {
		if !sh.active || s.barred(sh, now) {
			continue
		}
		pace := s.pace(sh, now)
		if best == nil || s.before(sh, pace, best, least) {
			best, least = sh, pace
		}
	}
	if best != nil {
		s.keepUp(now, best.weight, least)
	}
	return best
}

// before reports whether a is to be served before b, which are at these paces.
func (s *slots) before(a *share, pace float64, b *share, other float64) bool {
	if s.strict && a.weight != b.weight {
		return a.weight > b.weight
	}
	return pace < other
}

// keepUp sees that queues at their limit don't fall behind by more than what brings them back to it: what they may not use
// they are not to make up for later. Nor is what a claim that hangs keeps from them; what one that is just late does, they have.
func (s *slots) keepUp(now time.Duration, weight int, pace float64) {
	for _, sh := range s.shares {
		if sh.active && (s.full(sh) || sh.hangs(now)) && (!s.strict || sh.weight == weight) {
			behind := float64(sh.limit) * s.expects(sh).Seconds() / float64(sh.weight)
			sh.paid += max(0, pace-behind-s.pace(sh, now))
		}
	}
}

// started and ended account for a job that gets a slot, and frees it.
func (sh *share) started(now time.Duration) {
	sh.running++
	sh.starts += now
}

func (s *slots) ended(sh *share, began, now time.Duration) {
	sh.running--
	sh.starts -= began
	took := max(now-began, minCost)
	sh.paid += took.Seconds() / float64(sh.weight)
	// One long job says little of the next, so it raises what is expected to twice as much at most. What was expected too
	// little is paid as the job goes; what is expected too much would keep the queue from its slots.
	sh.expected = s.expects(sh)
	average(&sh.expected, min(took, time.Duration(1/smoothing+1)*sh.expected))
}
