package worker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func TestQueuesBeforeStartAndAfterStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler)
		ctx := t.Context()
		r.setQueue("extra", worker.QueueConfig{Concurrency: 1})
		r.removeQueue(worker.DefaultQueue)
		r.removeQueue("unheard-of")
		r.load("extra", 5, 1000)
		r.load(worker.DefaultQueue, 5, 1000)
		r.start()
		r.after(4500 * time.Millisecond)
		assert.Equal(t, map[string]int{"extra": 4}, y.take())
		r.removeQueue("extra")
		assert.Equal(t, 1, y.most["extra"])
		r.setQueue("extra", worker.QueueConfig{}) // a pool without queues takes new ones
		assert.Len(t, r.queue.Consumers("extra"), 1)
		r.stop()
		assert.ErrorIs(t, r.pool.SetQueue(ctx, "late", worker.QueueConfig{}), worker.ErrPoolStopped)
		assert.ErrorIs(t, r.pool.SetQueue(ctx, "extra", worker.QueueConfig{}), worker.ErrPoolStopped)
		assert.ErrorIs(t, r.pool.RemoveQueue(ctx, "extra"), worker.ErrPoolStopped)
	})
}

func TestSetQueueRefusesWhatAConfigWould(t *testing.T) {
	r := newRig(t, noop)
	assert.ErrorContains(t, r.pool.SetQueue(t.Context(), "a b", worker.QueueConfig{}), "queue")
	assert.ErrorContains(t, r.pool.SetQueue(t.Context(), "a", worker.QueueConfig{Weight: -1}), "negative")
	assert.ErrorContains(t, r.pool.SetQueue(t.Context(), "a", worker.QueueConfig{Concurrency: -1}), "negative")
}

func TestSetQueueThatCannotOpenASessionChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		var down atomic.Bool
		r := newRig(t, y.handler, serving(2, map[string]worker.QueueConfig{"a": {}}))
		r.queue.Fault = func(ctx context.Context, call string) error {
			if call == "Consume" && down.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		r.start()
		down.Store(true)
		began := time.Now()
		err := r.pool.SetQueue(t.Context(), "b", worker.QueueConfig{})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, `set queue "b": consume queue "b"`)
		assert.Equal(t, 4*time.Second, time.Since(began))
		assert.True(t, r.health().Ready, "the pool is as it was")
		down.Store(false)
		r.setQueue("b", worker.QueueConfig{})
		r.load("b", 2, 10)
		r.after(time.Second)
		assert.Equal(t, map[string]int{"b": 2}, y.take())
		r.stop()
	})
}

func TestStopWhileAQueueIsAdded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, serving(2, map[string]worker.QueueConfig{"a": {}}))
		var adding atomic.Bool
		r.queue.Fault = func(ctx context.Context, call string) error {
			if call == "Consume" && adding.Load() {
				<-ctx.Done()
			}
			return nil // the session opens all the same
		}
		r.start()
		adding.Store(true)
		added := make(chan error, 1)
		go func() { added <- r.pool.SetQueue(context.Background(), "b", worker.QueueConfig{}) }()
		r.quiet()
		began := time.Now()
		r.stop()
		assert.ErrorIs(t, <-added, worker.ErrPoolStopped)
		assert.Zero(t, time.Since(began))
		assert.Empty(t, r.queue.Consumers("b"))
	})
}

func TestQueuesChangeWhileThePoolStarts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}}))
		r.queue.Fault = func(ctx context.Context, call string) error {
			if call == "Consume" {
				time.Sleep(time.Second) // the bubble's clock
			}
			return nil
		}
		started := make(chan error, 1)
		go func() { started <- r.pool.Start(context.Background()) }()
		r.after(500 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		assert.ErrorIs(t, r.pool.SetQueue(ctx, "c", worker.QueueConfig{}), context.DeadlineExceeded)
		r.removeQueue("b")
		r.setQueue("c", worker.QueueConfig{})
		assert.NoError(t, <-started)
		assert.Empty(t, r.queue.Consumers("b"))
		assert.Len(t, r.queue.Consumers("c"), 1)
		r.stop()
	})
}

func TestQueuesChangeWhileAStartFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, serving(2, map[string]worker.QueueConfig{"a": {}}))
		var works atomic.Bool
		r.queue.Fault = func(_ context.Context, call string) error {
			if call != "Consume" || works.Load() {
				return nil
			}
			time.Sleep(time.Second) // the bubble's clock
			return errFlaky
		}
		started := make(chan error, 1)
		go func() { started <- r.pool.Start(context.Background()) }()
		r.after(500 * time.Millisecond)
		began := time.Now()
		r.setQueue("b", worker.QueueConfig{})
		assert.Equal(t, 500*time.Millisecond, time.Since(began), "it waits for the start's end")
		assert.ErrorIs(t, <-started, errFlaky)
		works.Store(true)
		r.start()
		assert.Len(t, r.queue.Consumers("a"), 1)
		assert.Len(t, r.queue.Consumers("b"), 1)
		r.stop()
	})
}

func TestStopWhileAQueueIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() },
			serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}}),
			func(c *worker.Config) { c.DrainTimeout = 10 * time.Second }).start()
		job := r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		removed := make(chan error, 2)
		for range 2 { // the second waits for the first
			go func() { removed <- r.pool.RemoveQueue(context.Background(), "a") }()
		}
		r.after(5 * time.Second)
		assert.Empty(t, removed)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.NoError(t, r.pool.Stop(ctx))
		assert.NoError(t, <-removed)
		assert.NoError(t, <-removed)
		assert.Equal(t, queued, r.last(job.ID).State)
		assert.Empty(t, r.queue.Consumers("a"))
	})
}

func TestRemovedQueueMayComeBackWhileItsJobsStillRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		r.load("a", 1, 10_000)
		r.quiet()
		removed := make(chan error, 1)
		go func() { removed <- r.pool.RemoveQueue(context.Background(), "a") }()
		r.after(time.Second)
		r.setQueue("a", worker.QueueConfig{})
		r.load("a", 1, 1000)
		r.after(2 * time.Second)
		assert.Equal(t, map[string]int{"a": 1}, y.take(), "the new session's job")
		assert.Empty(t, removed)
		r.after(10 * time.Second)
		assert.NoError(t, <-removed)
		assert.Len(t, r.queue.Consumers("a"), 1)
		r.stop()
	})
}

// Whatever changes at once, no job is lost, and none runs twice.
func TestQueuesChangeFromManySides(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}, "c": {}})).start()
		names := []string{"a", "b", "c"}
		for _, name := range names {
			r.load(name, 300, 7)
		}
		var all sync.WaitGroup
		for i := range 12 {
			all.Go(func() {
				for n := range 40 {
					name := names[(i+n)%3]
					if (i+n)%2 == 0 {
						assert.NoError(t, r.pool.RemoveQueue(t.Context(), name))
					} else {
						assert.NoError(t, r.pool.SetQueue(t.Context(), name, worker.QueueConfig{Weight: 1 + n%5, Concurrency: n % 4}))
					}
					time.Sleep(time.Duration(1+i) * time.Millisecond) // the bubble's clock
				}
			})
		}
		all.Wait()
		for _, name := range names {
			r.setQueue(name, worker.QueueConfig{})
		}
		r.after(time.Minute)
		assert.Equal(t, map[string]int{"a": 300, "b": 300, "c": 300}, y.take())
		for _, name := range names {
			assert.Len(t, r.queue.Consumers(name), 1)
		}
		r.stop()
	})
}

// Nor does it when leases are lost meanwhile and the pool stops in the middle of it all, and everything ends.
func TestQueuesChangeWhileLeasesAreLostAndThePoolStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		names := []string{"a", "b", "c"}
		many := func(c *worker.Config) { c.MaxCrashes = 1000 }
		queues := serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}, "c": {}})
		r := newRig(t, y.handler, queues, many).start()
		var jobs []*worker.Job
		for _, name := range names {
			jobs = append(jobs, r.load(name, 1000, 30)...)
		}
		var all sync.WaitGroup
		change := func(err error) bool {
			if err != nil {
				assert.ErrorIs(t, err, worker.ErrPoolStopped)
			}
			return err == nil
		}
		for i := range 6 {
			all.Go(func() {
				for n, on := 0, true; on; n++ {
					name := names[(i+n)%3]
					if (i+n)%4 == 0 {
						on = change(r.pool.RemoveQueue(t.Context(), name))
					} else {
						on = change(r.pool.SetQueue(t.Context(), name, worker.QueueConfig{Weight: 1 + n%5, Concurrency: n % 4}))
					}
					time.Sleep(time.Duration(90+10*i) * time.Millisecond) // the bubble's clock
				}
			})
		}
		for range 40 {
			r.after(700 * time.Millisecond)
			for _, name := range names {
				for _, c := range r.queue.Consumers(name) {
					r.queue.Crash(c)
				}
			}
		}
		r.stop()
		all.Wait()
		for _, name := range names {
			assert.Empty(t, r.queue.Consumers(name))
		}
		heir := newRig(t, y.handler, queues, many, func(c *worker.Config) { c.Queue, c.StatusStore = r.queue, r.store }).start()
		r.after(time.Minute)
		for _, job := range jobs {
			assert.Equal(t, succeeded, r.last(job.ID).State)
		}
		heir.stop()
	})
}
