package worker_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func noop(context.Context, *worker.Job, ping) error { return nil }

func TestNewPoolReportsAllThatIsWrong(t *testing.T) {
	reg := worker.NewRegistry()
	worker.Handle(reg, noop)
	worker.Handle(reg, noop, worker.OnQueue("x"))
	reg.Handle("", nil)
	reg.Handle("nil", nil)
	reg.Handle("odd", func(context.Context, *worker.Job) error { return nil }, worker.WithID("1"))
	reg.Use(nil)
	_, err := worker.NewPool(worker.Config{
		Backend:     worker.Backend{StatusStore: (*workertest.MemoryStatusStore)(nil), MaxPayload: -1},
		Registry:    reg,
		Queues:      map[string]worker.QueueConfig{"a b": {}, "ok": {Weight: -1}},
		Concurrency: -1, MaxCrashes: -1, JobTimeout: -1, DrainTimeout: -1, CancelGrace: -1,
		Retry: worker.RetryPolicy{Base: -1},
	})
	for _, want := range []string{
		"Queue is missing", "StatusStore is a nil *workertest.MemoryStatusStore", "MaxPayload is -1",
		`"ping" is registered twice`, "job type is empty", `handler for "nil" is nil`, `defaults for "odd"`, "a middleware is nil",
		`queue "a b"`, `"ok" has weight -1`, "Concurrency is -1", "MaxCrashes is -1", "JobTimeout is -1ns",
		"DrainTimeout is -1ns", "CancelGrace is -1ns", "retry Base is -1ns",
	} {
		assert.ErrorContains(t, err, want)
	}
	_, err = worker.NewPool(worker.Config{})
	assert.ErrorContains(t, err, "Registry is missing")
	_, err = worker.NewClient(worker.Backend{})
	assert.ErrorContains(t, err, "Queue is missing")
}

func TestLifeCycle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop).start()
		assert.ErrorIs(t, r.pool.Start(t.Context()), worker.ErrPoolStarted)
		assert.ErrorIs(t, r.pool.Run(t.Context()), worker.ErrPoolStarted)
		r.stop()
		r.stop()
		assert.ErrorIs(t, r.pool.Start(t.Context()), worker.ErrPoolStopped)
		assert.ErrorIs(t, r.pool.Run(t.Context()), worker.ErrPoolStopped)

		never := newRig(t, noop)
		never.stop()
		assert.ErrorIs(t, never.pool.Run(t.Context()), worker.ErrPoolStopped)
	})
}

func TestRunEndsWithItsContextOrWithStop(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.pool.Run(ctx) }()
		job := r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		cancel()
		assert.NoError(t, <-done)

		r = newRig(t, noop)
		go func() { done <- r.pool.Run(t.Context()) }()
		r.quiet()
		r.stop()
		assert.NoError(t, <-done)

		assert.NoError(t, newRig(t, noop).pool.Run(ctx), "it was to stop before it had started")
	})
}

func TestStartGivesItsValuesToHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		type key struct{}
		var got any
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error { got = ctx.Value(key{}); return nil })
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		require.NoError(t, r.pool.Start(ctx))
		cancel()
		r.enqueue(1)
		r.quiet()
		assert.Equal(t, "value", got, "and its end does not end the pool")
		r.stop()
	})
}

func TestStartFailsWithinFiveSecondsAndCanBeRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.Queues = map[string]worker.QueueConfig{"a": {}, "b": {}} })
		var down atomic.Bool
		down.Store(true)
		calls := 0
		r.queue.Fault = func(ctx context.Context, call string) error {
			if call != "Consume" || !down.Load() {
				return nil
			}
			if calls++; calls == 1 {
				return nil // the first queue opens, the second hangs
			}
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		err := r.pool.Start(t.Context())
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, `consume queue "b"`)
		assert.LessOrEqual(t, time.Since(began), 5*time.Second)
		assert.Empty(t, r.queue.Consumers("a"), "the first session is closed")
		down.Store(false)
		r.start()
		r.stop()
	})
}

func TestStopLetsJobsFinish(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			time.Sleep(20 * time.Second)
			return ctx.Err()
		}).start()
		job := r.enqueue(1)
		r.quiet()
		began := time.Now()
		r.stop()
		assert.Equal(t, 20*time.Second, time.Since(began))
		assert.Equal(t, succeeded, r.last(job.ID).State)
	})
}

// Who would wait for as long as it takes may say so by the longest time that there is.
func TestStopWaitsForAsLongAsItTakes(t *testing.T) {
	for name, change := range map[string]func(*worker.Config){
		"DrainTimeout": func(c *worker.Config) { c.DrainTimeout = math.MaxInt64 },
		"CancelGrace":  func(c *worker.Config) { c.CancelGrace = math.MaxInt64 },
		"all": func(c *worker.Config) {
			c.DrainTimeout, c.CancelGrace, c.JobTimeout, c.SweepInterval = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *worker.Job, ping) error { time.Sleep(20 * time.Second); return nil }, change).start()
				job := r.enqueue(1)
				r.after(time.Second)
				require.NoError(t, r.pool.Stop(context.Background()))
				assert.Equal(t, succeeded, r.last(job.ID).State)
				assert.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
			})
		})
	}
}

func TestStopCancelsAndGivesBackWhatDoesNotFinish(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), worker.ErrShutdown)
			return ctx.Err()
		}, func(c *worker.Config) { c.DrainTimeout = 10 * time.Second; c.Concurrency = 1 }).start()
		first, second := r.enqueue(1), r.enqueue(2)
		r.quiet()
		began := time.Now()
		r.stop()
		assert.Equal(t, 10*time.Second, time.Since(began))
		assert.Equal(t, []worker.State{queued, running, queued}, r.states(first.ID))
		assert.Equal(t, []worker.State{queued}, r.states(second.ID))

		var order []int
		next := newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			order = append(order, p.N)
			assert.Equal(t, 1, job.Attempt, "no attempt is burnt")
			assert.Zero(t, job.Crashes)
			return nil
		}, func(c *worker.Config) { c.Queue, c.StatusStore, c.Concurrency = r.queue, r.store, 1 }).start()
		next.quiet()
		assert.Equal(t, []int{1, 2}, order, "what was given back comes first")
		next.stop()
	})
}

func TestStopReturnsByItsDeadlineThoughAHandlerIgnoresItsContext(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(*worker.Pool) error
		most time.Duration
	}{
		"the context's deadline": {func(p *worker.Pool) error {
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
			defer cancel()
			return p.Stop(ctx)
		}, 4 * time.Second},
		"a context that is over": {func(p *worker.Pool) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return p.Stop(ctx)
		}, 5 * time.Second},
		"DrainTimeout and CancelGrace": {func(p *worker.Pool) error { return p.Stop(context.Background()) }, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				release := make(chan struct{})
				r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil },
					func(c *worker.Config) { c.DrainTimeout = 10 * time.Second }).start()
				job := r.enqueue(1)
				r.quiet()
				began := time.Now()
				err := tt.stop(r.pool)
				assert.ErrorIs(t, err, worker.ErrAbandoned)
				assert.LessOrEqual(t, time.Since(began), tt.most)
				assert.Equal(t, queued, r.last(job.ID).State)
				assert.Equal(t, worker.PlaceWaiting, r.queue.Place("default", job.ID))
				close(release)
			})
		})
	}
}

func TestConcurrencyIsTheMostThatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var now, most atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}).start()
		for i := range 20 {
			r.enqueue(i)
		}
		r.after(10 * time.Second)
		assert.EqualValues(t, 4, most.Load())
		assert.Zero(t, r.queue.Count("default", worker.PlaceWaiting))
		r.stop()
	})
}

func TestPoolClaimsNoMoreThanItCanStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { time.Sleep(time.Minute); return nil }).start()
		for i := range 20 {
			r.enqueue(i)
		}
		r.after(time.Second)
		assert.Equal(t, 4, r.queue.Count("default", worker.PlaceHeld))
		r.after(time.Minute)
		assert.Equal(t, 4, r.queue.Count("default", worker.PlaceHeld))
		r.after(5 * time.Minute)
		r.stop()
	})
}

func TestOneSlotRunsInOrderOfEnqueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var order []int
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error { order = append(order, p.N); return nil },
			func(c *worker.Config) { c.Concurrency = 1 })
		var want []int
		for i := range 100 {
			r.enqueue(i)
			want = append(want, i)
		}
		r.start()
		r.after(time.Second)
		assert.Equal(t, want, order)
		r.stop()
	})
}

func TestQueuesShareSlotsByWeight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ran := map[string]int{}
		total := 0
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			if total++; total <= 100 {
				ran[job.Queue]++
			}
			time.Sleep(time.Second)
			return nil
		}, func(c *worker.Config) {
			c.Concurrency = 1
			c.Queues = map[string]worker.QueueConfig{"often": {Weight: 9}, "seldom": {Weight: 1}}
		})
		for i := range 200 {
			r.enqueue(i, worker.OnQueue("often"))
			r.enqueue(i, worker.OnQueue("seldom"))
		}
		r.start()
		r.after(110 * time.Second)
		assert.InDelta(t, 10, ran["seldom"], 1)
		assert.InDelta(t, 90, ran["often"], 1)
		r.after(10 * time.Minute)
		r.stop()
	})
}

func TestQueueConcurrencyIsALimitOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var now, most atomic.Int32
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			if job.Queue == "narrow" {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
			}
			time.Sleep(time.Second)
			return nil
		}, func(c *worker.Config) {
			c.Concurrency = 8
			c.Queues = map[string]worker.QueueConfig{"narrow": {Concurrency: 2}, "wide": {}}
		}).start()
		for i := range 20 {
			r.enqueue(i, worker.OnQueue("narrow"))
			r.enqueue(i, worker.OnQueue("wide"))
		}
		r.after(time.Minute)
		assert.EqualValues(t, 2, most.Load())
		assert.Zero(t, r.queue.Count("narrow", worker.PlaceWaiting))
		r.stop()
	})
}

func TestLostLeaseStopsHandlersRecordsNothingAndStartsOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var causes []error
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			if job.Crashes > 0 {
				return nil
			}
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			return nil // even then: the job is somebody else's
		}).start()
		job := r.enqueue(1)
		r.quiet()
		r.queue.Crash(r.queue.Consumers("default")[0])
		r.after(time.Minute)
		require.Len(t, causes, 1)
		assert.ErrorIs(t, causes[0], worker.ErrLeaseLost)
		assert.Equal(t, []worker.State{queued, running, running, succeeded}, r.states(job.ID), "the second run is the one that counts")
		assert.Len(t, r.queue.Consumers("default"), 1)
		r.stop()
	})
}

func TestPoisonJobRunsAloneAndFailsAtTheCap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var poisoned, neighbours atomic.Int32
		r := newRig(t, func(ctx context.Context, job *worker.Job, p ping) error {
			if p.N != 13 {
				time.Sleep(10 * time.Second)
				if ctx.Err() == nil {
					neighbours.Add(1)
				}
				return ctx.Err()
			}
			poisoned.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}).start()
		poison := r.enqueue(13)
		for i := range 3 {
			r.enqueue(i)
		}
		for range 3 {
			r.after(time.Minute)
			if sessions := r.queue.Consumers("default"); len(sessions) > 0 && r.queue.Place("default", poison.ID) == worker.PlaceHeld {
				r.queue.Crash(sessions[0])
			}
		}
		r.after(time.Hour)
		st := r.last(poison.ID)
		assert.Equal(t, failed, st.State)
		assert.Contains(t, st.Error, "worker lost")
		assert.EqualValues(t, 3, poisoned.Load())
		assert.Equal(t, 3, st.Crashes)
		assert.EqualValues(t, 3, neighbours.Load())
		r.stop()
	})
}

func TestQueueTroubleIsWaitedOut(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		var down atomic.Bool
		r.queue.Fault = func(_ context.Context, call string) error {
			if down.Load() && call != "Enqueue" {
				return errors.New("connection refused")
			}
			return nil
		}
		r.start()
		r.quiet()
		down.Store(true)
		job := r.enqueue(1)
		r.after(time.Minute)
		assert.Equal(t, queued, r.last(job.ID).State)
		down.Store(false)
		r.after(6 * time.Second)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

// A worker that was busy once keeps none of its jobs while it rests.
func TestAnIdlePoolKeepsNoJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var jobs []weak.Pointer[worker.Job]
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			mu.Lock()
			defer mu.Unlock()
			jobs = append(jobs, weak.Make(job))
			return nil
		}, func(c *worker.Config) { c.StatusStore, c.Notifier = nil, nil }).start()
		for i := range 20 {
			r.enqueue(i)
		}
		r.after(time.Minute)
		runtime.GC()
		assert.Len(t, jobs, 20)
		for _, job := range jobs {
			assert.Nil(t, job.Value())
		}
		r.stop()
	})
}
