package workertest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// config is a pool on q with one slot, so that its order is that of the queue.
func config(q worker.Queue, r *worker.Registry) worker.Config {
	return worker.Config{
		Backend:  worker.Backend{Queue: q, Logger: slog.New(slog.DiscardHandler)},
		Registry: r, Concurrency: 1,
	}
}

func enqueue(t *testing.T, q worker.Queue, name string, opts ...worker.JobOption) *worker.Job {
	t.Helper()
	client, err := worker.NewClient(worker.Backend{Queue: q})
	require.NoError(t, err)
	job, err := client.Enqueue(t.Context(), greeting{name}, opts...)
	require.NoError(t, err)
	return job
}

// story tells of results in short.
func story(results []*workertest.Result) (told []string) {
	for _, r := range results {
		p, err := worker.DecodePayload[greeting](r.Job)
		told = append(told, fmt.Sprint(p.Name, " ", r.Job.Attempt, " ", r.State))
		if err != nil {
			told = append(told, err.Error())
		}
	}
	return told
}

// flakyOnce fails the first attempt of each job.
func flakyOnce(_ context.Context, job *worker.Job, _ greeting) error {
	if job.Attempt == 1 {
		return errors.New("flaky")
	}
	return nil
}

func TestDrainRunsWhatIsDue(t *testing.T) {
	queue := workertest.NewQueue()
	enqueue(t, queue, "a")
	enqueue(t, queue, "b")
	later := enqueue(t, queue, "later", worker.After(time.Hour))
	elsewhere := enqueue(t, queue, "elsewhere", worker.OnQueue("mail"))
	store := workertest.NewStatusStore()
	cfg := config(queue, greetings(func(ctx context.Context, job *worker.Job, p greeting) error {
		if p.Name == "a" {
			enqueue(t, queue, "from a")
		}
		return greet(ctx, job, p)
	}))
	cfg.StatusStore = store
	got := workertest.Drain(t, cfg, 0)
	assert.Equal(t, []string{"a 1 succeeded", "b 1 succeeded", "from a 1 succeeded"}, story(got))
	assert.Len(t, got[0].Progress, 1)
	assert.Len(t, got[0].Checkpoints, 1)
	assert.Equal(t, worker.PlaceWaiting, queue.Place("default", later.ID))
	assert.Equal(t, worker.PlaceWaiting, queue.Place("mail", elsewhere.ID))
	states := store.States(got[2].Job.ID)
	assert.Equal(t, worker.StateSucceeded, states[len(states)-1], "all is saved when Drain returns")
	assert.Empty(t, queue.Consumers("default"))

	assert.Empty(t, workertest.Drain(t, cfg, 0), "nothing is due")
	cfg.Queues = map[string]worker.QueueConfig{"mail": {}, "default": {}}
	assert.Equal(t, []string{"elsewhere 1 succeeded"}, story(workertest.Drain(t, cfg, 0)))
}

func TestDrainLeavesWhatIsPaused(t *testing.T) {
	queue := &workertest.MemoryQueue{Clock: workertest.NewClock()}
	enqueue(t, queue, "a")
	enqueue(t, queue, "later", worker.After(time.Minute))
	require.NoError(t, queue.Pause(t.Context(), "default"))
	assert.Empty(t, workertest.Drain(t, config(queue, greetings(greet)), time.Hour))
	assert.Equal(t, 2, queue.Count("default", worker.PlaceWaiting))
	require.NoError(t, queue.Resume(t.Context(), "default"))
	assert.Len(t, workertest.Drain(t, config(queue, greetings(greet)), time.Hour), 2)
}

// Queues feed each other.
func TestDrainOfSeveralQueues(t *testing.T) {
	queue := workertest.NewQueue()
	enqueue(t, queue, "1", worker.OnQueue("a"))
	names := map[string]string{"a": "b", "b": "c", "c": "a"}
	cfg := config(queue, greetings(func(_ context.Context, job *worker.Job, p greeting) error {
		if len(p.Name) < 30 {
			enqueue(t, queue, p.Name+"1", worker.OnQueue(names[job.Queue]))
		}
		return nil
	}))
	cfg.Queues = map[string]worker.QueueConfig{"a": {}, "b": {}, "c": {}}
	cfg.Concurrency = 4
	assert.Len(t, workertest.Drain(t, cfg, 0), 30)
}

func TestDrainFollowsRetries(t *testing.T) {
	check := func(t *testing.T, queue *workertest.MemoryQueue, now func() time.Time) {
		start := now()
		enqueue(t, queue, "a", worker.MaxAttempts(3), worker.WithRetry(worker.Exponential(3, time.Hour, time.Hour)))
		enqueue(t, queue, "in two hours", worker.After(2*time.Hour))
		enqueue(t, queue, "too late", worker.After(24*time.Hour+time.Minute))
		got := workertest.Drain(t, config(queue, greetings(flakyOnce)), 24*time.Hour)
		assert.Equal(t, []string{"a 1 retrying", "a 2 succeeded", "in two hours 1 retrying", "in two hours 2 succeeded"}, story(got))
		assert.Equal(t, 1, queue.Count("default", worker.PlaceWaiting))
		assert.Equal(t, start.Add(2*time.Hour+got[2].Delay).UnixMilli(), now().UnixMilli(),
			"time moves to what falls due, not further")
	}
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { check(t, workertest.NewQueue(), time.Now) })
	})
	t.Run("by a clock", func(t *testing.T) {
		clock := workertest.NewClock()
		check(t, &workertest.MemoryQueue{Clock: clock}, clock.Now)
	})
	t.Run("by a clock in a bubble", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			clock := workertest.NewClock()
			check(t, &workertest.MemoryQueue{Clock: clock}, clock.Now)
		})
	})
}

// A handler that takes its time doesn't hold up what falls due meanwhile.
func TestDrainRunsJobsBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := workertest.NewQueue()
		enqueue(t, queue, "slow")
		enqueue(t, queue, "soon", worker.After(time.Second))
		cfg := config(queue, greetings(func(_ context.Context, _ *worker.Job, p greeting) error {
			if p.Name == "slow" {
				time.Sleep(time.Minute)
			}
			return nil
		}))
		cfg.Concurrency = 2
		start := time.Now()
		assert.Equal(t, []string{"soon 1 succeeded", "slow 1 succeeded"}, story(workertest.Drain(t, cfg, time.Hour)))
		assert.Equal(t, time.Minute, time.Since(start))
	})
}

func TestDrainTakesOverFromADeadWorker(t *testing.T) {
	for name, test := range map[string]func(*testing.T, func(*testing.T)){
		"by a clock":  func(t *testing.T, do func(*testing.T)) { do(t) },
		"in a bubble": func(t *testing.T, do func(*testing.T)) { synctest.Test(t, do) },
	} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T) {
				queue := workertest.NewQueue()
				if name == "by a clock" {
					queue.Clock = workertest.NewClock()
				}
				enqueue(t, queue, "a")
				dead := consume(t, queue)
				claimed, err := dead.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
				require.NoError(t, err)
				require.Len(t, claimed, 1)
				assert.Empty(t, workertest.Drain(t, config(queue, greetings(greet)), 0))
				queue.Crash(dead)
				assert.Empty(t, workertest.Drain(t, config(queue, greetings(greet)), 0), "the lease isn't over")
				got := workertest.Drain(t, config(queue, greetings(greet)), time.Minute)
				assert.Equal(t, []string{"a 1 succeeded"}, story(got))
				assert.Equal(t, 1, got[0].Job.Crashes)
			})
		})
	}
}

// What another pool runs on the same queue is none of Drain's business.
func TestDrainBesideAPool(t *testing.T) {
	queue := workertest.NewQueue()
	free, started := make(chan struct{}), make(chan struct{})
	pool, err := worker.NewPool(config(queue, greetings(func(context.Context, *worker.Job, greeting) error {
		close(started)
		<-free
		return nil
	})))
	require.NoError(t, err)
	require.NoError(t, pool.Start(t.Context()))
	enqueue(t, queue, "other's")
	<-started
	assert.Empty(t, workertest.Drain(t, config(queue, greetings(greet)), 0))
	close(free)
	require.NoError(t, pool.Stop(context.Background()))
}

func TestDrainShowsCancels(t *testing.T) {
	queue := workertest.NewQueue()
	client, err := worker.NewClient(worker.Backend{Queue: queue})
	require.NoError(t, err)
	enqueue(t, queue, "a")
	got := workertest.Drain(t, config(queue, greetings(func(ctx context.Context, job *worker.Job, _ greeting) error {
		_, err := client.Cancel(ctx, job.ID)
		require.NoError(t, err)
		<-ctx.Done()
		return ctx.Err()
	})), 0)
	assert.Equal(t, []string{"a 1 canceled"}, story(got))
	require.ErrorIs(t, got[0].Err, worker.ErrCanceled)
}

func TestDrainOfALongQueue(t *testing.T) {
	queue := workertest.NewQueue()
	client, err := worker.NewClient(worker.Backend{Queue: queue})
	require.NoError(t, err)
	jobs := make([]*worker.Job, 10_500)
	for i := range jobs {
		jobs[i], err = worker.NewJob(greeting{"Ada"})
		require.NoError(t, err)
	}
	require.NoError(t, client.EnqueueMany(t.Context(), jobs...))
	assert.Len(t, workertest.Drain(t, config(queue, greetings(returns(nil))), 0), len(jobs))
}

// What the queue doesn't have is not looked for.
func TestDrainDoesNotSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue, store := workertest.NewQueue(), workertest.NewStatusStore()
		lost, err := worker.NewJob(greeting{"lost"})
		require.NoError(t, err)
		status, err := worker.InitialStatus(lost)
		require.NoError(t, err)
		_, err = store.Save(t.Context(), status)
		require.NoError(t, err)
		enqueue(t, queue, "slow")
		cfg := config(queue, greetings(func(context.Context, *worker.Job, greeting) error {
			time.Sleep(10 * time.Minute)
			return nil
		}))
		cfg.StatusStore = store
		assert.Equal(t, []string{"slow 1 succeeded"}, story(workertest.Drain(t, cfg, time.Hour)))
	})
}

func TestDrainFailsTheTest(t *testing.T) {
	t.Run("on another queue", func(t *testing.T) {
		type other struct{ worker.Queue }
		got := failing(t, func(t workertest.T) { workertest.Drain(t, config(other{}, greetings(greet)), 0) })
		assert.Equal(t, "drain: Config.Queue is a workertest_test.other: it must be a *workertest.MemoryQueue", got)
		got = failing(t, func(t workertest.T) { workertest.Drain(t, worker.Config{}, 0) })
		assert.Contains(t, got, "Config.Queue is a <nil>")
	})
	t.Run("when time would really pass", func(t *testing.T) {
		queue := workertest.NewQueue()
		got := failing(t, func(t workertest.T) { workertest.Drain(t, config(queue, greetings(greet)), time.Hour) })
		assert.Contains(t, got, "time would really pass")
	})
	t.Run("on a wrong configuration", func(t *testing.T) {
		got := failing(t, func(t workertest.T) { workertest.Drain(t, config(workertest.NewQueue(), nil), 0) })
		assert.Contains(t, got, "Registry is missing")
	})
	t.Run("with a schedule", func(t *testing.T) {
		cfg := config(workertest.NewQueue(), greetings(greet))
		cfg.Periodic = []worker.Periodic{{Name: "daily", Schedule: worker.Every(24 * time.Hour), Payload: greeting{"a"}}}
		got := failing(t, func(t workertest.T) { workertest.Drain(t, cfg, 0) })
		assert.Contains(t, got, "drain: Config.Periodic is set")
	})
	t.Run("when the pool can't start", func(t *testing.T) {
		queue := workertest.NewQueue()
		queue.Fault = func(context.Context, string) error { return errors.New("down") }
		got := failing(t, func(t workertest.T) { workertest.Drain(t, config(queue, greetings(greet)), 0) })
		assert.Contains(t, got, "down")
	})
	t.Run("without a handler", func(t *testing.T) {
		queue := workertest.NewQueue()
		enqueue(t, queue, "a")
		got := failing(t, func(t workertest.T) { workertest.Drain(t, config(queue, worker.NewRegistry()), 0) })
		assert.Equal(t, `drain: the registry has no handler for "greeting"`, got)
		assert.Empty(t, queue.Consumers("default"), "the pool is stopped all the same")
	})
	t.Run("when a job keeps itself going", func(t *testing.T) {
		queue := workertest.NewQueue()
		enqueue(t, queue, "a", worker.MaxAttempts(1<<30))
		got := failing(t, func(t workertest.T) {
			workertest.Drain(t, config(queue, greetings(returns(worker.RetryAfter(0, errors.New("again"))))), 0)
		})
		assert.Regexp(t, `^drain: there is no end: after 1\d{4} results queue "default" has`, got)
	})
	t.Run("when nothing moves", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, store := workertest.NewQueue(), workertest.NewStatusStore()
			enqueue(t, queue, "a")
			store.Fault = func(context.Context, []worker.Status) error { return errors.New("down") }
			cfg := config(queue, greetings(greet))
			cfg.StatusStore = store
			got := failing(t, func(t workertest.T) { workertest.Drain(t, cfg, 0) })
			assert.Contains(t, got, "drain: nothing has ended for 24h")
			assert.Contains(t, got, `queue "default" has`)
		})
	})
}
