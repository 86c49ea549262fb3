package worker

import "sync"

// hands are the goroutines that run attempts. An attempt that has got its slot is due until a hand takes it, the first
// one first. Hands wake each other: of those that rest the last one to do so is woken when something is due, or a new
// one started, and when it has come and still something is due it wakes the next. So jobs that block have a hand each at
// once, and of jobs that take no time a few hands do many, with warm stacks: a goroutine for each would cost a
// fifth of all a short job costs. This is how Go's scheduler wakes its threads.
//
// Source: D. Vyukov, "Scalable Go Scheduler Design Doc", 2012, on spinning threads.
type hands struct {
	run func() // what a hand does: it takes attempts until there are no more

	mu     sync.Mutex
	less   sync.Cond // signaled when busy or alive becomes zero
	due    []*attempt
	idle   []chan struct{} // of the hands that rest; capacity 1
	waking bool            // one was woken or started, and has not come yet
	busy   int             // slots that are owned: attempts that are due or in a hand
	alive  int             // hands, but for those that an abandoned handler keeps
	closed bool
}

func (h *hands) init(run func()) {
	h.run = run
	h.less.L = &h.mu
}

// start hands out attempts, each of which has a slot of its own.
func (h *hands) start(attempts ...*attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy += len(attempts)
	h.due = append(h.due, attempts...)
	h.wakeLocked()
}

func (h *hands) wakeLocked() {
	if h.waking || len(h.due) == 0 {
		return
	}
	h.waking = true
	if n := len(h.idle); n > 0 {
		h.idle[n-1] <- struct{}{}
		h.idle = h.idle[:n-1]
		return
	}
	h.alive++
	go h.run()
}

// hand is one of them, as it knows itself.
type hand struct {
	hands *hands
	rest  chan struct{} // wakes it; made when it first rests
	busy  bool          // it owns a slot
	woken bool          // it was woken or started, and has not come yet
}

func (h *hands) newHand() *hand { return &hand{hands: h, woken: true} }

// take frees the hand's slot, if it has one, and returns the next attempt that is due; nil when the hands are closed.
// It waits for it.
func (d *hand) take() *attempt {
	h := d.hands
	h.mu.Lock()
	defer h.mu.Unlock()
	d.freeLocked()
	for {
		if d.woken {
			d.woken, h.waking = false, false
		}
		if len(h.due) > 0 {
			a := h.popLocked()
			d.busy = true
			h.wakeLocked()
			return a
		}
		if h.closed {
			return nil
		}
		if d.rest == nil {
			d.rest = make(chan struct{}, 1)
		}
		h.idle = append(h.idle, d.rest)
		h.mu.Unlock()
		<-d.rest
		h.mu.Lock()
		d.woken = true
	}
}

// trade lets an attempt that has got the hand's slot wait for its turn: it returns the one that has been due for longest.
func (d *hand) trade(next *attempt) *attempt {
	h := d.hands
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.due) == 0 {
		return next
	}
	h.due = append(h.due, next)
	return h.popLocked()
}

func (h *hands) popLocked() *attempt {
	a := h.due[0]
	h.due[0] = nil
	h.due = h.due[1:]
	return a
}

func (d *hand) freeLocked() {
	if d.busy {
		d.busy = false
		d.hands.countLocked(-1, 0)
	}
}

// leave ends a hand.
func (d *hand) leave() {
	d.hands.mu.Lock()
	defer d.hands.mu.Unlock()
	d.freeLocked()
	d.hands.countLocked(0, -1)
}

// abandon counts a hand and its slot out: its handler doesn't return.
func (h *hands) abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.countLocked(-1, -1)
}

func (h *hands) countLocked(busy, alive int) {
	h.busy += busy
	h.alive += alive
	if h.busy == 0 || h.alive == 0 {
		h.less.Broadcast()
	}
}

// close ends the hands that rest, and the others when they would.
func (h *hands) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, rest := range h.idle {
		rest <- struct{}{}
	}
	h.idle = nil
}

// waitIdle returns when no slot is owned.
func (h *hands) waitIdle() { h.wait(func() bool { return h.busy == 0 }) }

// waitGone returns when no hand is left.
func (h *hands) waitGone() { h.wait(func() bool { return h.alive == 0 }) }

func (h *hands) wait(over func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !over() {
		h.less.Wait()
	}
}
