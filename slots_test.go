package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// line makes n attempts of one queue.
func line(sh *share, n int) []*attempt {
	s := &session{feed: &feed{share: sh}}
	attempts := make([]*attempt, n)
	for i := range attempts {
		attempts[i] = &attempt{session: s, job: &Job{}}
	}
	return attempts
}

func TestLookAheadFollowsMeasuredTimes(t *testing.T) {
	tests := []struct {
		name             string
		size             int
		claim, ran, held time.Duration
		want             int
	}{
		{"nothing measured", 10, ms, 0, 0, 0},
		{"long jobs", 10, ms, time.Second, time.Second, 0},
		{"as long as a round trip", 10, ms, ms, ms, 10},
		{"which wait for a CPU", 10, ms, ms, 20 * ms, 10},
		{"for so long that more would be given back", 10, ms, ms, 100 * ms, 5},
		{"short jobs", 10, ms, time.Microsecond, time.Microsecond, maxAhead},
		{"one slot", 1, ms, time.Microsecond, time.Microsecond, 0},
	}
	for _, tt := range tests {
		s := newSlots(tt.size, false)
		sh := s.addShare(1, 0)
		s.join(sh)
		sh.claim, s.ran, s.held = tt.claim, tt.ran, tt.held
		assert.Equal(t, tt.want, s.ahead(), tt.name)
	}
}

func TestSlotsBeyondConcurrencyWaitInLine(t *testing.T) {
	s := newSlots(2, false)
	sh := s.addShare(1, 0)
	sh.claim, s.ran, s.held = ms, ms, ms
	n := s.take(sh)
	assert.Equal(t, 4, n, "two slots and two ahead")
	start := s.claimed(sh, n, line(sh, n), time.Millisecond, false)
	assert.Len(t, start, 2)
	assert.True(t, s.waiting())
	next, more := s.finish(start[0])
	assert.NotNil(t, next)
	assert.Empty(t, more)
	assert.Len(t, s.withdraw(func(*attempt) bool { return true }), 1)
	assert.False(t, s.waiting())
}

func TestNothingStartsBesideAJobThatRunsAlone(t *testing.T) {
	s := newSlots(4, false)
	sh, other := s.addShare(1, 0), s.addShare(1, 0)
	n := s.take(sh)
	jobs := line(sh, 2)
	jobs[1].alone = true
	assert.Equal(t, jobs[:1], s.claimed(sh, n, jobs, 1, false), "it waits until the others are done")
	assert.Zero(t, s.take(sh), "and nothing is claimed meanwhile")
	next, _ := s.finish(jobs[0])
	assert.Same(t, jobs[1], next)
	assert.Empty(t, s.claimed(other, 0, line(other, 2), 1, false), "a claim that was under way waits")
	next, more := s.finish(jobs[1])
	assert.NotNil(t, next)
	assert.Len(t, more, 1, "then all go on")
	assert.Positive(t, s.take(sh))
}

// A queue whose jobs cannot be settled gets no more of them, and the others its slots, which it doesn't make up for later.
func TestUnsettledOutcomesStopClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in no time
		s := newSlots(10, false)
		sh, other := s.addShare(1, 0), s.addShare(1, 0)
		sh.unsaved = 2*maxBatch + 1
		assert.Zero(t, s.take(sh))
		assert.Equal(t, 10, s.take(other))
		jobs := line(other, 10)
		assert.Len(t, s.claimed(other, 10, jobs, 1, false), 10)
		assert.Zero(t, s.take(other))
		other.paid += 1000
		for _, a := range jobs[:4] {
			s.finish(a)
			assert.Equal(t, 1, s.take(other))
			s.claimed(other, 1, line(other, 1), 1, false)
		}
		s.settled(sh, 1)
		for _, a := range jobs[4:] {
			s.finish(a)
		}
		assert.Equal(t, 3, s.take(sh))
		assert.Equal(t, 3, s.take(other))
	})
}

func TestBlockedSlotsAreGivenWhenTheReasonEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(3, false)
		sh := s.addShare(1, 0)
		s.block(blockStore)
		s.block(blockAbandoned)
		got := make(chan int, 1)
		go func() { got <- s.acquire(t.Context(), sh, nil) }()
		synctest.Wait()
		s.unblock(blockStore)
		synctest.Wait()
		assert.Empty(t, got)
		s.unblock(blockAbandoned)
		assert.Equal(t, 3, <-got)
	})
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1, false)
		sh := s.addShare(1, 0)
		s.block(blockStopping)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan int)
		go func() { done <- s.acquire(ctx, sh, nil) }()
		synctest.Wait()
		cancel()
		assert.Zero(t, <-done)
	})
}

func TestNothingIsClaimedAheadUntilAJobEnds(t *testing.T) {
	s := newSlots(2, false)
	sh := s.addShare(1, 0)
	sh.claim, s.ran, s.held = time.Second, ms, ms
	start := s.claimed(sh, 0, line(sh, s.take(sh)), time.Second, false)
	s.slowDown()
	assert.Zero(t, s.ahead())
	average(&sh.claim, time.Minute)
	assert.Zero(t, s.ahead())
	start[0].taken = s.epoch
	s.now = func() time.Time { return s.epoch.Add(ms) } // however long this test has taken
	s.finish(start[0])
	assert.Positive(t, s.ahead(), "by the averages again")
}

func TestWhatAJobWaitsInItsSlotIsMeasuredApart(t *testing.T) {
	s := newSlots(2, false)
	at := s.epoch
	s.now = func() time.Time { return at }
	sh := s.addShare(1, 0)
	start := s.claimed(sh, 0, line(sh, s.take(sh)), ms, false)
	at = at.Add(time.Second) // for a CPU
	start[0].taken = at
	at = at.Add(ms)
	s.finish(start[0])
	assert.Equal(t, ms, s.ran)
	assert.Equal(t, time.Second+ms, s.held)
	assert.InDelta(t, 1.001, sh.paid, 1e-9, "the slot is paid for as long as it was held")
	s.finish(start[1])
	assert.Equal(t, ms, s.ran, "a job that was refused never began")
	assert.Equal(t, time.Second+ms, s.held)
}

// Jobs that have more slots than there are CPUs hold them for much longer than they run.
func TestWhatIsClaimedAheadStartsInTimeThoughCPUsAreFew(t *testing.T) {
	for _, lasts := range []time.Duration{ms / 5, ms, 5 * ms, 20 * ms} {
		p := newPlay(100, false, lasting(1, lasts))
		p.cpus, p.roundTrip = 1, 4*ms
		p.pass(20 * time.Second)
		p.waited = 0
		p.pass(20 * time.Second)
		assert.Positive(t, p.waited, "%v: something is claimed ahead", lasts)
		assert.Less(t, p.waited, maxAheadWait, lasts)
	}
}
