package redisqueue_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/redisstatus"
	"github.com/real-staging-ai/go-worker/workertest"
)

// runs counts how often the handler ran, by job.
type runs struct {
	mu sync.Mutex
	of map[string]int
}

func (r *runs) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = make(map[string]int)
	}
	r.of[id]++
}

// wholePool returns a pool that keeps everything in one Redis: jobs, news, and statuses unless a store is given. Its jobs
// take a second.
func wholePool(t *testing.T, s *server, cfg redisqueue.Config, store worker.StatusStore, r *runs) *worker.Pool {
	t.Helper()
	client := redistest.Watch(t, s.client)
	queue, err := redisqueue.New(client, cfg)
	require.NoError(t, err)
	if store == nil {
		store, err = redisstatus.New(client, redisstatus.Config{})
		require.NoError(t, err)
	}
	notifier, err := redisnotify.New(client, redisnotify.Config{})
	require.NoError(t, err)
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, job *worker.Job, _ note) error {
		r.add(job.ID)
		time.Sleep(time.Second)
		return nil
	})
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{
			Queue: queue, StatusStore: store, Notifier: notifier, Logger: slog.New(slog.DiscardHandler),
		},
		Registry: registry, Concurrency: 4,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = pool.Stop(context.Background()) })
	return pool
}

// Redis refuses everything for half a minute while jobs are claimed, run, saved, settled and announced. It is asked
// again ever less often; nothing is lost or run twice; and then all goes on.
func TestAPoolOutlastsRefusals(t *testing.T) {
	for _, text := range notExecuted {
		t.Run(text[:6], func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cut, w := wired(s)
				cfg, book := watched()
				r := &runs{}
				pool := wholePool(t, cut, cfg, nil, r)
				ctx := context.Background()
				require.NoError(t, pool.Start(ctx))
				jobs := newJobs(t, 40)
				require.NoError(t, pool.Client().EnqueueMany(ctx, jobs...))
				time.Sleep(4500 * time.Millisecond)
				s.mini.SetError(text)
				sent := w.scripts.Load()
				time.Sleep(30 * time.Second)
				synctest.Wait()
				sent = w.scripts.Load() - sent
				s.mini.SetError("")
				t.Logf("%d scripts in 30 seconds of refusals", sent)
				require.Less(t, sent, int64(60))
				time.Sleep(time.Minute)
				require.NoError(t, pool.Stop(ctx))
				require.Len(t, r.of, len(jobs))
				for id, n := range r.of {
					require.Equal(t, 1, n, id)
				}
				require.Empty(t, s.hash("jobs"))
				require.Empty(t, book.told(t))
			})
		})
	}
}

// Redis comes back with an old snapshot, and the statuses are elsewhere: what has ended is settled and not run again, and
// what Redis no longer knows is swept up.
func TestWhatHasEndedDoesNotRunAgainAfterALoss(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := watched()
		r := &runs{}
		store := workertest.NewStatusStore()
		pool := wholePool(t, s, cfg, store, r)
		ctx := context.Background()
		require.NoError(t, pool.Start(ctx))
		jobs := newJobs(t, 40)
		require.NoError(t, pool.Client().EnqueueMany(ctx, jobs[:20]...))
		time.Sleep(2500 * time.Millisecond)
		restore := s.snapshot()
		require.NoError(t, pool.Client().EnqueueMany(ctx, jobs[20:]...))
		time.Sleep(4 * time.Second)
		var ended []string
		for _, job := range jobs {
			if row, err := store.Get(ctx, job.ID); err == nil && row.State.Final() {
				ended = append(ended, job.ID)
			}
		}
		require.Greater(t, len(ended), 16)
		highest := s.text("GET", key("token"))
		restore()
		time.Sleep(5 * time.Minute)
		require.NoError(t, pool.Stop(ctx))
		for _, job := range jobs {
			row, err := store.Get(ctx, job.ID)
			require.NoError(t, err)
			require.Equal(t, worker.StateSucceeded, row.State)
		}
		for _, id := range ended {
			require.Equal(t, 1, r.of[id], "it had ended")
		}
		require.Empty(t, s.hash("jobs"))
		require.Empty(t, s.inflight())
		require.Greater(t, s.text("GET", key("token")), highest)
		require.Len(t, book.told(t), 1)
	})
}

// An enqueue without the replicas' word is unknown to the client, too: the row goes on waiting, the job runs, and asking
// again does no harm.
func TestAnUnsureEnqueueLeavesTheRowWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		store := workertest.NewStatusStore()
		cfg, _ := quiet()
		cfg.WaitReplicas = 1
		r := &runs{}
		pool := wholePool(t, s, cfg, store, r)
		ctx := context.Background()
		job, err := pool.Client().Enqueue(ctx, note{})
		for range 2 {
			require.ErrorAs(t, err, new(*redisqueue.NotReplicatedError))
			require.NotErrorIs(t, err, worker.ErrRefused)
			row, found := store.Get(ctx, job.ID)
			require.NoError(t, found)
			require.Equal(t, worker.StateQueued, row.State)
			err = pool.Client().EnqueueMany(ctx, job)
		}
		require.NoError(t, pool.Start(ctx))
		time.Sleep(time.Minute)
		require.ErrorAs(t, pool.Client().EnqueueMany(ctx, job), new(*worker.FinishedError))
		require.Equal(t, map[string]int{job.ID: 1}, r.of)
		require.NoError(t, pool.Stop(ctx))
	})
}
