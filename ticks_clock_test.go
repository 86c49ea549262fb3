package worker_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// slowClock is a queue whose clock is behind, or ahead.
type slowClock struct {
	*workertest.MemoryQueue
	behind atomic.Int64 // a time.Duration
}

func newSlowClock(behind time.Duration) *slowClock {
	q := &slowClock{MemoryQueue: workertest.NewQueue()}
	q.behind.Store(int64(behind))
	return q
}

func (q *slowClock) LastTick(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
	last, now, err = q.MemoryQueue.LastTick(ctx, queue, name, begin)
	return last, now.Add(-time.Duration(q.behind.Load())), err
}

// A tick comes when both clocks have reached it, so replicas with a fast clock skip nothing that others would enqueue.
func TestTicksWaitForBothClocks(t *testing.T) {
	for _, c := range []struct{ behind, late time.Duration }{
		{10 * time.Minute, 10 * time.Minute}, {30 * time.Second, 30 * time.Second}, {-10 * time.Minute, 0}, {time.Millisecond, 0},
	} {
		t.Run(c.behind.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got ran
				r := newRig(t, got.handle, func(cfg *worker.Config) {
					cfg.Queue = newSlowClock(c.behind)
					cfg.Periodic = []worker.Periodic{minutely(worker.MissedSkip)}
				}).start()
				defer r.stop()
				r.after(30 * time.Minute)
				ticks, late := got.seen()
				require.Greater(t, len(late), 15)
				for i, late := range late {
					assert.GreaterOrEqual(t, late, c.late)
					assert.Less(t, late, c.late+150*time.Millisecond)
					if i > 0 {
						assert.Equal(t, time.Minute, ticks[i].Sub(ticks[i-1]))
					}
				}
			})
		})
	}
}

// A queue whose clock was an hour behind for a while keeps no tick waiting for an hour.
func TestTicksAfterTheQueuesClockIsSetRight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		q := newSlowClock(0)
		r := newRig(t, got.handle, periodic(minutely(worker.MissedAll)), func(c *worker.Config) { c.Queue = q }).start()
		defer r.stop()
		r.after(2*time.Minute + 30*time.Second)
		q.behind.Store(int64(time.Hour))
		r.after(2 * time.Minute)
		q.behind.Store(0)
		r.after(2 * time.Minute)
		minutes := got.minutes(start)
		slices.Sort(minutes)
		assert.Equal(t, []float64{1, 2, 3, 4, 5, 6}, minutes)
	})
}
