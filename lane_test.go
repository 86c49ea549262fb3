package worker

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/stretchr/testify/assert"
)

func TestLaneGathersWhileACallIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var batches [][]int
		l := newLane(func(batch []int) {
			batches = append(batches, slices.Clone(batch))
			<-gate
		}, 1, 0)
		l.add(1)
		synctest.Wait()
		l.add(2, 3)
		l.add(4)
		assert.Equal(t, []int{3}, l.take(func(n int) bool { return n == 3 }))
		close(gate)
		l.wait()
		assert.Equal(t, [][]int{{1}, {2, 4}}, batches)
		l.add(5)
		l.wait()
		assert.Len(t, batches, 3, "it starts again")
	})
}

func TestLaneCutsBatchesAndDropsTheOldestOverItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes, got []int
		gate := make(chan struct{})
		l := newLane(func(batch []int) {
			<-gate
			sizes = append(sizes, len(batch))
			got = append(got, batch...)
		}, 1, 1200)
		assert.Empty(t, l.add(-1))
		synctest.Wait()
		dropped := 0
		for i := range 1300 {
			dropped += len(l.add(i))
		}
		close(gate)
		l.wait()
		assert.Equal(t, 151, dropped)
		assert.Equal(t, []int{1, 500, 500, 149}, sizes)
		assert.Equal(t, 151, got[1], "the oldest made room")
		assert.Equal(t, 1299, got[len(got)-1])
	})
}

func TestAWideLaneBeginsAnotherCallWhenManyItemsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var mu sync.Mutex
		var sizes []int
		l := newLane(func(batch []int) {
			mu.Lock()
			sizes = append(sizes, len(batch))
			mu.Unlock()
			<-gate
		}, 2, 0)
		add := func(n int) []int {
			for range n {
				l.add(0)
			}
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(sizes)
		}
		assert.Equal(t, []int{1}, add(1))
		assert.Equal(t, []int{1}, add(worthACall-1), "few wait for the call to return")
		assert.Equal(t, []int{1, worthACall}, add(1))
		assert.Len(t, add(3*worthACall), 2, "never more than its width")
		gate <- struct{}{}
		assert.Equal(t, []int{1, worthACall, 3 * worthACall}, add(0))
		add(3)
		gate <- struct{}{}
		assert.Len(t, add(0), 3, "few are left to the other call")
		close(gate)
		l.wait()
		assert.Equal(t, []int{1, worthACall, 3 * worthACall, 3}, sizes)
	})
}

// A lane that was full once keeps nothing of what went through it.
func TestLaneKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		l := newLane(func([]*[1024]byte) { <-gate }, 1, 0)
		var kept []weak.Pointer[[1024]byte]
		for range 1400 {
			item := new([1024]byte)
			kept = append(kept, weak.Make(item))
			l.add(item)
			synctest.Wait()
		}
		close(gate)
		l.wait()
		runtime.GC()
		for i := range kept {
			assert.Nil(t, kept[i].Value(), i)
		}
		runtime.KeepAlive(l)
	})
}
