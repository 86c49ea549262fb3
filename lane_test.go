package worker

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestLaneGathersWhileACallIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var batches [][]int
		l := newLane(func(batch []int) {
			batches = append(batches, slices.Clone(batch))
			<-gate
		}, 0)
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
		}, 1200)
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
