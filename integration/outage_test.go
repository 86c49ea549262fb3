package integration

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// Redis is killed under load, comes back with all that it had acknowledged, and is killed again for three leases. The
// workers live through it: none is robbed, and every job succeeds, once.
func TestRedisOutage(t *testing.T) {
	const n, long = 4000, 10
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true},
		"--appendonly", "yes", "--appendfsync", "always")
	slow := r.jobs(long, "slow", func(int) task { return task{Do: deedSleep, Millis: 7000} })
	r.enqueue(slow...)
	for range 3 {
		r.fleet.start()
	}
	feed := r.feed(r.jobs(n, "job", nap(5, 40)))
	r.awaitFinished(n / 4)
	server.Restart()
	r.awaitFinished(n / 2)
	server.Kill()
	time.Sleep(3 * r.fleet.base.Lease) // the outage
	server.Restart()
	feed.Wait()
	r.awaitDrained()
	r.verify()
	t.Logf("%d jobs, %d extra starts", n+long, r.starts()-n-long)
}

// Redis stands still, again and again, for longer than calls wait for an answer. It executes what was sent meanwhile,
// though nobody waits for the replies any more: claims that nobody knows of are found and run, settlements repeated.
func TestRedisStandsStill(t *testing.T) {
	const n, stalls, timeout = 4000, 3, 3 * time.Second
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true})
	for range 3 {
		r.fleet.start()
	}
	feed := r.feed(r.jobs(n, "job", nap(5, 40)))
	for i := range stalls {
		r.awaitFinished(n * (i + 1) / (stalls + 1))
		server.Pause()
		time.Sleep(timeout + r.fleet.base.Lease/2) // the stall
		server.Resume()
	}
	feed.Wait()
	r.awaitDrained()
	r.verify()
	t.Logf("%d jobs, %d extra starts", n, r.starts()-n)
}

// awaitFinished waits until the handlers have returned n times.
func (r *rig) awaitFinished(n int) {
	r.t.Helper()
	r.await("handlers to finish", func() bool {
		return r.fleet.hist.count(func(e event) bool { return e.Op == opFinish }) >= n
	})
}

// feed enqueues jobs one after the other from a goroutine, each again until the queue has it: by its id it is enqueued
// once. What was unknown may have been accepted, and run, in the meantime. The rig must keep a status store.
func (r *rig) feed(jobs []*worker.Job) *sync.WaitGroup {
	r.accept(jobs...)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, job := range jobs {
			for {
				err := r.producer.EnqueueMany(ctx, job)
				if err == nil || errors.As(err, new(*worker.FinishedError)) {
					break
				}
				if ctx.Err() != nil {
					r.t.Errorf("enqueue %s: %v", job.ID, err)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
	})
	r.t.Cleanup(feeding.Wait)
	return &feeding
}

// A pool that finds no Redis when it starts says what failed, soon, and can be started again.
func TestStartWithoutRedis(t *testing.T) {
	server := redistest.Server(t)
	client, err := endpoint{Addrs: []string{server.Addr()}}.connect()
	require.NoError(t, err)
	defer client.Close()
	pool, err := newPool(workerConfig{Lease: lease, Queues: []string{"mail"}}, client, &deeds{})
	require.NoError(t, err)

	server.Kill()
	began := time.Now()
	err = pool.Start(context.Background())
	took := time.Since(began)
	t.Logf("after %v: %v", took.Round(time.Millisecond), err)
	require.ErrorContains(t, err, `start pool: consume queue "mail"`)
	require.Less(t, took, 15*time.Second, "5 seconds are promised")

	server.Restart()
	until(t, "the pool to start", func() bool { return pool.Start(context.Background()) == nil })
	require.NoError(t, pool.Stop(context.Background()))
}

// A paused Redis answers nobody, but its connections stay open: a pool that starts meanwhile must not hang.
func TestStartOnRedisThatDoesNotAnswer(t *testing.T) {
	server := redistest.Server(t)
	client, err := endpoint{Addrs: []string{server.Addr()}}.connect()
	require.NoError(t, err)
	defer client.Close()
	defer server.Resume()
	pool, err := newPool(workerConfig{Lease: lease, Queues: []string{"mail"}}, client, &deeds{})
	require.NoError(t, err)

	server.Pause()
	began := time.Now()
	err = pool.Start(context.Background())
	took := time.Since(began)
	t.Logf("after %v: %v", took.Round(time.Millisecond), err)
	require.ErrorContains(t, err, `start pool: consume queue "mail"`)
	require.Less(t, took, 15*time.Second, "5 seconds are promised")
}
