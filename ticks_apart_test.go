package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// hangsFor is a queue on a server of several, of which that of some queue doesn't answer.
type hangsFor struct {
	*workertest.MemoryQueue
	queue string
}

func (q *hangsFor) LastTick(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
	if queue == q.queue {
		<-ctx.Done()
		return time.Time{}, time.Time{}, ctx.Err()
	}
	return q.MemoryQueue.LastTick(ctx, queue, name, begin)
}

// A server of a cluster that hangs takes its time from each of its schedules, and from no others.
func TestSchedulesOfAQueueThatHangsKeepNoOthersWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		schedules := []worker.Periodic{minutely(worker.MissedSkip)}
		for i := range 20 {
			p := minutely(worker.MissedSkip)
			p.Name, p.Options = fmt.Sprintf("hanging%d", i), []worker.JobOption{worker.OnQueue("hanging")}
			schedules = append(schedules, p)
		}
		r := newRig(t, got.handle, func(c *worker.Config) { c.Queue = &hangsFor{c.Queue.(*workertest.MemoryQueue), "hanging"} }, periodic(schedules...)).start()
		defer r.stop()
		r.after(10*time.Minute + time.Second)
		assert.Equal(t, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, got.minutes(start))
		_, late := got.seen()
		for _, late := range late {
			assert.LessOrEqual(t, late, 100*time.Millisecond)
		}
	})
}

// alone is a schedule that notices when it is asked by two at a time.
type alone struct {
	worker.Schedule
	inside, met *atomic.Int32
}

func (s alone) Next(t time.Time) time.Time {
	s.busy()
	return s.Schedule.Next(t)
}

func (s alone) busy() {
	if s.inside.Add(1) > 1 {
		s.met.Add(1)
	}
	time.Sleep(time.Millisecond) // the bubble's clock
	s.inside.Add(-1)
}

// Schedules of several queues may share what they are made of.
func TestTheHostsCodeIsAskedByOneAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		shared := alone{worker.Every(time.Minute), new(atomic.Int32), new(atomic.Int32)}
		var schedules []worker.Periodic
		for _, queue := range []string{"default", "a", "b", "c"} {
			schedules = append(schedules, worker.Periodic{
				Name: queue, Schedule: shared, Options: []worker.JobOption{worker.OnQueue(queue)},
				PayloadAt: func(time.Time) (worker.Payload, error) { shared.busy(); return ping{}, nil },
			})
		}
		r := newRig(t, got.handle, periodic(schedules...)).start()
		defer r.stop()
		r.after(3*time.Minute + time.Second)
		assert.Equal(t, []float64{1, 2, 3}, got.minutes(start))
		assert.Zero(t, shared.met.Load())
		assert.Equal(t, 3, r.queue.Count("c", worker.PlaceWaiting))
	})
}

// ticksOnly is a queue that remembers ticks and has no other power.
type ticksOnly struct {
	worker.Queue
	worker.Ticker
}

func TestUniqueTicksNeedAQueueThatKeepsJobsUnique(t *testing.T) {
	p := minutely(worker.MissedSkip)
	cfg := worker.Config{Registry: worker.NewRegistry(), Periodic: []worker.Periodic{p}}
	cfg.Queue = ticksOnly{workertest.NewQueue(), workertest.NewQueue()}
	_, err := worker.NewPool(cfg)
	require.NoError(t, err)
	p.Options = []worker.JobOption{one()}
	cfg.Periodic = []worker.Periodic{p}
	_, err = worker.NewPool(cfg)
	require.ErrorContains(t, err, `Periodic 0, "ping": its job has a unique key: the queue, a worker_test.ticksOnly, cannot keep jobs unique`)
	cfg.Queue = workertest.NewQueue()
	_, err = worker.NewPool(cfg)
	require.NoError(t, err)
}

// A machine without a clock of its own starts in 1970, and is told the time later: a schedule that is new then has not missed
// all ticks since.
func TestANewScheduleBeginsByTheQueuesClock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		r := newRig(t, got.handle, periodic(minutely(worker.MissedAll)))
		r.queue.Clock = workertest.NewClock()
		r.queue.Clock.Advance(30 * 365 * 24 * time.Hour)
		r.start()
		defer r.stop()
		r.after(10*time.Minute + time.Second)
		assert.Empty(t, got.ids(), "the clocks don't agree that a tick has come")
		last, now, err := r.queue.LastTick(t.Context(), worker.DefaultQueue, "ping", time.Unix(1, 0))
		require.NoError(t, err)
		assert.Equal(t, now, last)
	})
}
