package worker

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// crewOf returns hands whose attempts do what do says, in a bubble.
func crewOf(do func(a *attempt)) *hands {
	h := &hands{}
	h.init(func() {
		me := h.newHand()
		defer me.leave()
		for a := me.take(); a != nil; a = me.take() {
			do(a)
		}
	})
	return h
}

func newAttempts(n int) []*attempt {
	all := make([]*attempt, n)
	for i := range all {
		all[i] = &attempt{}
	}
	return all
}

func TestEachAttemptThatBlocksHasAHandOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 300
		var started atomic.Int64
		end := make(chan struct{})
		h := crewOf(func(*attempt) { started.Add(1); <-end })
		h.start(newAttempts(n)...)
		synctest.Wait()
		require.EqualValues(t, n, started.Load())
		require.Equal(t, n, h.busy)
		close(end)
		h.waitIdle()
		h.close()
		h.waitGone()
	})
}

// What computes without ever waiting gets a hand each as well: as many start as there are, though none lets go.
func TestAttemptsThatComputeStartToo(t *testing.T) {
	n := int64(4 * runtime.GOMAXPROCS(0))
	var started atomic.Int64
	h := crewOf(func(*attempt) {
		started.Add(1)
		for started.Load() < n { // each needs all the others
		}
	})
	h.start(newAttempts(int(n))...)
	h.waitIdle()
	h.close()
	h.waitGone()
}

func TestRestingHandsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []*attempt // one hand at a time
		h := crewOf(func(a *attempt) { order = append(order, a) })
		attempts := newAttempts(100)
		for _, a := range attempts {
			h.start(a)
			synctest.Wait()
		}
		require.Equal(t, 1, h.alive)
		require.Len(t, h.idle, 1)
		require.Equal(t, attempts, order)
		h.close()
		h.waitGone()
	})
}

func TestClosedHandsDoWhatIsDueAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int64
		begin := make(chan struct{})
		h := crewOf(func(*attempt) { <-begin; done.Add(1) })
		h.start(newAttempts(3)...)
		synctest.Wait()
		h.close()
		h.start(newAttempts(2)...)
		close(begin)
		h.waitGone()
		require.EqualValues(t, 5, done.Load())
		require.Zero(t, h.busy)
	})
}

// What a hand that goes on in its slot would take next has not been due for as long as what waits for a hand.
func TestWhatIsDueForLongestIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hands{}
		h.init(func() {}) // no hand comes but this one
		me, attempts := h.newHand(), newAttempts(4)
		h.start(attempts[:2]...)
		require.Same(t, attempts[0], me.take())
		require.Same(t, attempts[1], me.trade(attempts[2]))
		require.Same(t, attempts[2], me.trade(attempts[3]))
		require.Equal(t, 2, h.busy)
		require.Same(t, attempts[3], me.take(), "its slot is free")
		require.Same(t, attempts[0], me.trade(attempts[0]), "nothing else is due")
	})
}
