package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// hanging is a pool of 4 slots with two queues that have jobs, of which the first is being claimed from.
func hanging() (s *slots, now *time.Time, hangs, well *share, asked int) {
	s = newSlots(4, false)
	at := s.epoch
	s.now = func() time.Time { return at }
	hangs, well = s.addShare(1, 0), s.addShare(1, 0)
	return s, &at, hangs, well, s.take(hangs)
}

func TestWhatALateClaimWasToFillGoesToOthers(t *testing.T) {
	s, now, hangs, well, asked := hanging()
	assert.Equal(t, 4, asked)
	assert.Zero(t, s.take(well), "it may come back any time")
	*now = now.Add(minLate + 1)
	got := s.take(well)
	assert.Equal(t, 4, got)
	assert.Len(t, s.claimed(well, got, line(well, got), ms, false), 4)
	assert.Empty(t, s.claimed(hangs, asked, line(hangs, asked), time.Second, false), "they wait, or are given back")
	assert.True(t, s.waiting())
}

func TestWhoWaitsForASlotHearsOfALateClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(4, false)
		hangs, well := s.addShare(1, 0), s.addShare(1, 0)
		assert.Equal(t, 4, s.take(hangs))
		began := time.Now()
		assert.Equal(t, 4, s.acquire(t.Context(), well, nil))
		assert.InDelta(t, minLate, time.Since(began), float64(ms))
	})
}

func TestALateClaimIsMeasuredByThoseBefore(t *testing.T) {
	s, now, hangs, well, asked := hanging()
	s.claimed(hangs, asked, nil, time.Second, false)
	*now = now.Add(time.Second)
	assert.Equal(t, 4, s.take(hangs))
	*now = now.Add(lateness * time.Second)
	assert.Zero(t, s.take(well), "its server is only far")
	*now = now.Add(1)
	assert.Equal(t, 4, s.take(well))
}

func TestWhileAClaimIsLateItsQueueGetsNothing(t *testing.T) {
	s, now, hangs, well, _ := hanging()
	*now = now.Add(ms)
	s.claimed(well, 0, nil, ms, false)
	s.mu.Lock()
	hangs.granted, hangs.claiming = 2, 2
	s.mu.Unlock()
	assert.Zero(t, s.take(well))
	*now = now.Add(minLate + 1)
	assert.Equal(t, 4, s.take(well))
	assert.Zero(t, hangs.granted)
}

func TestAQueueWhoseClaimFailedTriesWithOneSlot(t *testing.T) {
	s, _, hangs, well, asked := hanging()
	s.claimed(hangs, asked, nil, 3*time.Second, true)
	assert.Zero(t, hangs.claim, "what failed says nothing about how long claims take")
	assert.Equal(t, 1, s.take(hangs))
	assert.Equal(t, 3, s.take(well))
	s.claimed(well, 3, nil, ms, false)
	s.claimed(hangs, 1, line(hangs, 1), ms, false)
	assert.Equal(t, 3, s.take(hangs), "it works again")
}

func TestLookAheadFollowsTheQueueThatAnswersSoonest(t *testing.T) {
	s, _, far, near, _ := hanging()
	s.join(near)
	far.claim, near.claim, s.ran, s.held = time.Second, ms, ms, ms
	assert.Equal(t, 4, s.ahead())
	near.leave()
	assert.Equal(t, 200, s.ahead(), "what starts in half of the time after which it would be given back")
}
