package worker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// serving makes a pool of some queues with slots of its own.
func serving(slots int, queues map[string]worker.QueueConfig) func(*worker.Config) {
	return func(c *worker.Config) { c.Concurrency, c.Queues = slots, queues }
}

func (r *rig) setQueue(name string, cfg worker.QueueConfig) {
	r.t.Helper()
	require.NoError(r.t, r.pool.SetQueue(r.t.Context(), name, cfg))
}

func (r *rig) removeQueue(name string) {
	r.t.Helper()
	require.NoError(r.t, r.pool.RemoveQueue(r.t.Context(), name))
}

// tally counts the jobs that ran, by queue, and the slots they hold.
type tally struct {
	mu            sync.Mutex
	ran           map[string]int
	running, most map[string]int
}

func newTally() *tally {
	return &tally{ran: make(map[string]int), running: make(map[string]int), most: make(map[string]int)}
}

// handler runs jobs that take as many milliseconds as they say.
func (y *tally) handler(_ context.Context, job *worker.Job, p ping) error {
	y.mu.Lock()
	y.running[job.Queue]++
	y.most[job.Queue] = max(y.most[job.Queue], y.running[job.Queue])
	y.mu.Unlock()
	time.Sleep(time.Duration(p.N) * time.Millisecond) // the bubble's clock
	y.mu.Lock()
	defer y.mu.Unlock()
	y.running[job.Queue]--
	y.ran[job.Queue]++
	return nil
}

// take returns how many jobs of each queue ran since the last call.
func (y *tally) take() map[string]int {
	y.mu.Lock()
	defer y.mu.Unlock()
	ran := y.ran
	y.ran = make(map[string]int)
	return ran
}

// load enqueues n jobs that take ms milliseconds each.
func (r *rig) load(queue string, n, ms int) {
	r.t.Helper()
	jobs := make([]*worker.Job, n)
	for i := range jobs {
		var err error
		jobs[i], err = worker.NewJob(ping{ms}, worker.OnQueue(queue))
		require.NoError(r.t, err)
	}
	require.NoError(r.t, r.pool.Client().EnqueueMany(r.t.Context(), jobs...))
}

func TestAPoolsQueuesHaveTheirSharesOfTheSlots(t *testing.T) {
	tests := []struct {
		name       string
		most, long int // milliseconds that jobs of the two queues take
		limit      int // of the heavy one
		want       float64
	}{
		{"equal jobs", 10, 10, 0, .9},
		{"the light one is long", 10, 500, 0, .9},
		{"the heavy one is long", 500, 10, 0, .9},
		{"the heavy one has a limit", 10, 10, 4, .4},
	}
	for _, tt := range tests {
		inBubble(t, func(t *testing.T) {
			y := newTally()
			r := newRig(t, y.handler, withoutStore, serving(10, map[string]worker.QueueConfig{
				"heavy": {Weight: 9, Concurrency: tt.limit}, "light": {Weight: 1}}))
			r.load("heavy", 60_000/tt.most, tt.most)
			r.load("light", 60_000/tt.long*2, tt.long)
			r.start()
			r.after(5 * time.Second)
			ran := y.take()
			heavy, light := ran["heavy"]*tt.most, ran["light"]*tt.long
			assert.InEpsilon(t, tt.want, float64(heavy)/float64(heavy+light), .1, "%s: %v", tt.name, ran)
			if tt.limit > 0 {
				assert.Equal(t, tt.limit, y.most["heavy"])
			}
			r.stop()
		})
	}
}

func TestStrictPoolServesLowerQueuesWhenNothingElseWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(2, map[string]worker.QueueConfig{"high": {Weight: 2}, "low": {}}),
			func(c *worker.Config) { c.Strict = true })
		r.load("low", 1000, 10)
		r.load("high", 20, 10)
		r.start()
		r.after(95 * time.Millisecond)
		assert.LessOrEqual(t, y.take()["low"], 2, "what is claimed runs on")
		r.after(time.Second)
		assert.Greater(t, y.take()["low"], 150, "nothing waits above")
		r.load("high", 100, 10)
		r.after(25 * time.Millisecond)
		y.take()
		r.after(400 * time.Millisecond)
		assert.Equal(t, map[string]int{"high": 80}, y.take())
		r.stop()
	})
}

func TestQueuesChangeWhileThePoolRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, withoutStore, serving(10, map[string]worker.QueueConfig{"a": {Weight: 9}})).start()
		r.load("a", 20_000, 10)
		r.load("b", 20_000, 10)
		r.after(time.Second)
		assert.Empty(t, y.take()["b"], "nobody serves it")

		r.setQueue("b", worker.QueueConfig{})
		r.after(time.Second)
		ran := y.take()
		assert.InEpsilon(t, .1, float64(ran["b"])/float64(ran["a"]+ran["b"]), .1, "added: %v", ran)

		r.setQueue("a", worker.QueueConfig{})
		r.after(time.Second)
		ran = y.take()
		assert.InEpsilon(t, .5, float64(ran["b"])/float64(ran["a"]+ran["b"]), .1, "another weight: %v", ran)

		r.setQueue("a", worker.QueueConfig{Concurrency: 1})
		r.after(20 * time.Millisecond)
		y.most["a"] = 0
		r.after(time.Second)
		ran = y.take()
		assert.InEpsilon(t, .9, float64(ran["b"])/float64(ran["a"]+ran["b"]), .1, "a limit: %v", ran)
		assert.Equal(t, 1, y.most["a"])

		r.removeQueue("a")
		r.after(10 * time.Millisecond)
		y.take()
		r.after(time.Second)
		ran = y.take()
		assert.Zero(t, ran["a"], "removed")
		assert.Greater(t, ran["b"], 950, "the other one has all slots")
		r.stop()
	})
}

func TestRemoveQueueLetsJobsFinishAndGivesBackTheRest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, p ping) error {
			select {
			case <-time.After(time.Duration(p.N) * time.Second):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}, serving(3, map[string]worker.QueueConfig{"a": {}, "b": {}}),
			func(c *worker.Config) { c.DrainTimeout = 10 * time.Second }).start()
		short, long := r.enqueue(5, worker.OnQueue("a")), r.enqueue(50, worker.OnQueue("a"))
		other := r.enqueue(30, worker.OnQueue("b"))
		r.quiet()
		waits := r.enqueue(1, worker.OnQueue("a"))
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, succeeded, r.last(short.ID).State)
		assert.Equal(t, []worker.State{queued, running, queued}, r.states(long.ID))
		assert.Equal(t, []worker.State{queued}, r.states(waits.ID))
		assert.Empty(t, r.queue.Consumers("a"))

		elsewhere := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			assert.Equal(t, 1, job.Attempt, "no attempt is burnt")
			return nil
		}, serving(1, map[string]worker.QueueConfig{"a": {}}),
			func(c *worker.Config) { c.Queue, c.StatusStore = r.queue, r.store }).start()
		r.quiet()
		assert.Equal(t, succeeded, r.last(long.ID).State)
		assert.Equal(t, succeeded, r.last(waits.ID).State)
		elsewhere.stop()
		r.after(30 * time.Second)
		assert.Equal(t, succeeded, r.last(other.ID).State, "the pool goes on")
		r.stop()
	})
}

func TestRemoveQueueReturnsWhenItsJobsHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		r.load("a", 2, 3000)
		r.load("b", 2, 20_000)
		r.quiet()
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Empty(t, r.queue.Consumers("a"))
		r.stop()
	})
}

func TestRemoveQueueKeepsItsContextsDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil },
			serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		stuck := r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		began := time.Now()
		err := r.pool.RemoveQueue(ctx, "a")
		assert.ErrorIs(t, err, worker.ErrAbandoned)
		assert.ErrorContains(t, err, `remove queue "a": 1 handlers still run`)
		assert.LessOrEqual(t, time.Since(began), 8*time.Second)
		assert.Equal(t, queued, r.last(stuck.ID).State)
		assert.Empty(t, r.queue.Consumers("a"))
		close(release)
		r.stop()
	})
}

func TestRemoveQueueWithAnEndedContextCancelsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error { <-ctx.Done(); return ctx.Err() },
			serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		job := r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		assert.NoError(t, r.pool.RemoveQueue(ctx, "a"))
		assert.Zero(t, time.Since(began))
		assert.Equal(t, queued, r.last(job.ID).State)
		r.stop()
	})
}

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

func TestLeaseThatIsLostWhileItsQueueIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var causes []error
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return ctx.Err()
		}, serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		r.enqueue(1, worker.OnQueue("a"))
		r.quiet()
		r.queue.Crash(r.queue.Consumers("a")[0])
		began := time.Now()
		r.removeQueue("a")
		assert.Equal(t, []error{worker.ErrLeaseLost}, causes)
		assert.Less(t, time.Since(began), 15*time.Second, "nothing is left to wait for")
		assert.Empty(t, r.queue.Consumers("a"), "and no new session was opened")
		r.stop()
	})
}

func TestRemoveQueueWhileTheStoreIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		y := newTally()
		r := newRig(t, y.handler, serving(4, map[string]worker.QueueConfig{"a": {}, "b": {}}),
			func(c *worker.Config) { c.DrainTimeout = 10 * time.Second })
		r.store.Fault = func(context.Context, []worker.Status) error {
			if down.Load() {
				return errors.New("database is down")
			}
			return nil
		}
		r.start()
		job := r.enqueue(1000, worker.OnQueue("a"))
		r.quiet()
		down.Store(true)
		err := r.pool.RemoveQueue(t.Context(), "a")
		assert.ErrorContains(t, err, "could not be recorded in time")
		assert.Empty(t, r.queue.Consumers("a"))
		down.Store(false)
		r.after(10 * time.Second)
		assert.Equal(t, running, r.last(job.ID).State, "the old session says nothing more")
		r.setQueue("a", worker.QueueConfig{})
		r.after(10 * time.Second)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		assert.Equal(t, 2, y.take()["a"])
		r.stop()
	})
}

// Whatever changes at once, no job is lost, none runs beside itself, and everything ends.
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
