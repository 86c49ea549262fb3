package workertest

import (
	"slices"
	"sync"
	"time"
)

// Clock is a time that stands still until a test moves it, for tests that cannot run in a testing/synctest bubble. Set it
// as MemoryQueue.Clock; OnMove makes other clocks follow. What a pool measures by itself goes by package time all the
// same: a handler's timeout, a retry policy's Window, the times in statuses. A zero Clock shows the zero time.
type Clock struct {
	moving sync.Mutex // one move at a time

	mu     sync.Mutex
	now    time.Time
	moved  chan struct{} // closed at the next move; nil while nobody waits for that
	timers []*clockTimer
	follow []func(now time.Time, by time.Duration)
}

type clockTimer struct {
	due  time.Time
	call func()
}

// NewClock returns a clock that shows the present time.
func NewClock() *Clock {
	return &Clock{now: time.Now().Round(0)}
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock. It panics if d is negative: no queue is made for a time that goes back.
func (c *Clock) Advance(d time.Duration) {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.moveTo(c.Now().Add(d))
}

// Set moves the clock to t. It panics if t is before Now.
func (c *Clock) Set(t time.Time) {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.moveTo(t.Round(0))
}

// OnMove calls f now and after each move, with the new time and by how much it moved, so that another clock can follow.
// f must not move this one. That of miniredis has two hands:
//
//	clock.OnMove(func(now time.Time, by time.Duration) {
//		server.SetTime(now)    // what scripts read
//		server.FastForward(by) // what keys expire by
//	})
func (c *Clock) OnMove(f func(now time.Time, by time.Duration)) {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.mu.Lock()
	c.follow = append(c.follow, f)
	now := c.now
	c.mu.Unlock()
	f(now, 0)
}

// moveTo stops at each timer on the way. It needs moving held.
func (c *Clock) moveTo(t time.Time) {
	start := c.Now()
	if t.Before(start) {
		panic("workertest: a clock moves forward only")
	}
	for {
		timer := c.nextTimer(t)
		if timer == nil {
			break
		}
		timer.call()
	}
	c.mu.Lock()
	c.now = t
	if c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
	follow := slices.Clone(c.follow)
	c.mu.Unlock()
	for _, f := range follow {
		f(t, t.Sub(start))
	}
}

// nextTimer takes out the timer that is due first, not after t, and moves the clock there. Nil if there is none.
func (c *Clock) nextTimer(t time.Time) *clockTimer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 {
		return nil
	}
	first := slices.MinFunc(c.timers, func(a, b *clockTimer) int { return a.due.Compare(b.due) })
	if first.due.After(t) {
		return nil
	}
	c.removeLocked(first)
	c.now = first.due
	return first
}

func (c *Clock) removeLocked(timer *clockTimer) {
	c.timers = slices.DeleteFunc(c.timers, func(other *clockTimer) bool { return other == timer })
}

// afterFunc makes the move that passes d from now call f. stop keeps it from that, if it is not too late.
func (c *Clock) afterFunc(d time.Duration, f func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := &clockTimer{due: c.now.Add(d), call: f}
	c.timers = append(c.timers, timer)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.removeLocked(timer)
	}
}

// nextMove returns what the next move closes; for no clock nothing does.
func (c *Clock) nextMove() <-chan struct{} {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved
}
