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
		name            string
		size            int
		claim, occupied time.Duration
		want            int
	}{
		{"nothing measured", 10, time.Millisecond, 0, 0},
		{"long jobs", 10, time.Millisecond, time.Second, 0},
		{"as long as a round trip", 10, time.Millisecond, time.Millisecond, 10},
		{"short jobs", 10, time.Millisecond, time.Microsecond, maxAhead},
		{"one slot", 1, time.Millisecond, time.Microsecond, 0},
	}
	for _, tt := range tests {
		s := newSlots(tt.size, false)
		sh := s.addShare(1, 0)
		s.join(sh)
		sh.claim, s.occupied = tt.claim, tt.occupied
		assert.Equal(t, tt.want, s.ahead(), tt.name)
	}
}

func TestSlotsBeyondConcurrencyWaitInLine(t *testing.T) {
	s := newSlots(2, false)
	sh := s.addShare(1, 0)
	sh.claim, s.occupied = time.Millisecond, time.Millisecond
	n := s.take(sh)
	assert.Equal(t, 4, n, "two slots and two ahead")
	start := s.claimed(sh, n, line(sh, n), time.Millisecond, false)
	assert.Len(t, start, 2)
	assert.True(t, s.waiting())
	next, more := s.finish(start[0], false)
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
	next, _ := s.finish(jobs[0], false)
	assert.Same(t, jobs[1], next)
	assert.Empty(t, s.claimed(other, 0, line(other, 2), 1, false), "a claim that was under way waits")
	next, more := s.finish(jobs[1], false)
	assert.NotNil(t, next)
	assert.Len(t, more, 1, "then all go on")
	assert.Positive(t, s.take(sh))
}

func TestUnsettledOutcomesStopClaims(t *testing.T) {
	s := newSlots(10, false)
	sh := s.addShare(1, 0)
	s.unsaved = 2*maxBatch + 1
	assert.Zero(t, s.take(sh))
	s.settled(sh, 1)
	assert.Equal(t, 10, s.take(sh))
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
	sh.claim, s.occupied = time.Second, time.Millisecond
	start := s.claimed(sh, 0, line(sh, s.take(sh)), time.Second, false)
	s.slowDown()
	assert.Zero(t, s.ahead())
	average(&sh.claim, time.Minute)
	assert.Zero(t, s.ahead())
	start[0].entered = start[0].entered.Add(-time.Second)
	s.finish(start[0], false)
	assert.Positive(t, s.ahead(), "by the averages again")
}
