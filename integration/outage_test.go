//go:build unix

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// Redis is killed under load, several times, the last time for three leases. The workers live through it: none is robbed of
// the jobs that it holds all the while, and every job succeeds.
//
// What may be lost depends on when Redis writes to disk. With "always" it has written all that it acknowledged: nothing is
// lost or run twice, also without a status store. With "everysec" a machine that dies takes the last second with it, here
// all that was written in the last moments: then nothing that was accepted is lost if a status store outside Redis has it,
// as sweeps bring it back.
func TestRedisCrashes(t *testing.T) {
	t.Parallel()
	crashes := size(2, 5)
	always := []string{"--appendonly", "yes", "--appendfsync", "always"}
	everysec := []string{"--appendonly", "yes", "--appendfsync", "everysec"}
	t.Run("always, without a status store", func(t *testing.T) {
		r, server := newRig(t, workerConfig{Concurrency: 10}, always...)
		r.testCrashes(server, crashes, server.Kill)
		r.report(fmt.Sprintf("Redis killed %d times, AOF always, no status store", crashes))
	})
	t.Run("always, with one", func(t *testing.T) {
		r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true}, always...)
		r.testCrashes(server, crashes, server.Kill)
		r.report(fmt.Sprintf("Redis killed %d times, AOF always", crashes))
	})
	t.Run("everysec, with one", func(t *testing.T) {
		r, server := newRig(t, workerConfig{Concurrency: 10, Database: pgtest.Server(t).URL(), Sweep: sweepInterval}, everysec...)
		r.testCrashes(server, crashes, func() { r.killAndCutTail(server) })
		require.Equal(t, len(r.checker.accepted), r.countState(worker.StateSucceeded))
		r.report(fmt.Sprintf("Redis killed %d times, AOF everysec, its unwritten tail lost", crashes))
	})
}

func (r *rig) testCrashes(server *redistest.Redis, crashes int, kill func()) {
	r.t.Helper()
	for range 3 {
		r.fleet.start()
	}
	held := r.jobs(6, "held", hold)
	r.enqueue(held...)
	r.await("the held jobs to be under way", func() bool { return r.starts() == len(held) })
	l := r.load(200, nap(5, 40))
	for i := range crashes {
		r.awaitMore(200)
		kill()
		if i == crashes-1 {
			time.Sleep(3 * r.fleet.base.Lease) // the outage
		}
		server.Restart()
	}
	r.awaitMore(200)
	l.stop()
	for _, p := range r.fleet.living() {
		p.open()
	}
	if r.db != nil {
		r.awaitEnded()
	}
	r.awaitDrained()
	r.verify()
}

// killAndCutTail kills Redis and takes from its file what was appended in the last moments, though it was acknowledged.
func (r *rig) killAndCutTail(server *redistest.Redis) {
	r.t.Helper()
	settings, err := r.client.Do(r.t.Context(), r.client.B().ConfigGet().Parameter("dir").Build()).AsStrMap()
	require.NoError(r.t, err)
	var files []string
	for _, name := range []string{"appendonlydir/*.incr.aof", "appendonly.aof"} { // since Redis 7, and before
		found, err := filepath.Glob(filepath.Join(settings["dir"], name))
		require.NoError(r.t, err)
		files = append(files, found...)
	}
	require.Len(r.t, files, 1)
	before, err := os.Stat(files[0])
	require.NoError(r.t, err)
	r.awaitMore(100)
	server.Kill()
	after, err := os.Stat(files[0])
	require.NoError(r.t, err)
	require.Greater(r.t, after.Size(), before.Size())
	r.loseData()
	require.NoError(r.t, os.Truncate(files[0], before.Size()))
}

// Redis stands still, again and again, for longer than calls wait for an answer. It executes what was sent meanwhile,
// though nobody waits for the replies any more: claims that nobody knows of are found and run, settlements repeated.
func TestRedisStandsStill(t *testing.T) {
	const timeout = 3 * time.Second
	stalls := size(2, 5)
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true})
	for range 3 {
		r.fleet.start()
	}
	l := r.load(200, nap(5, 40))
	for range stalls {
		r.awaitMore(200)
		server.Pause()
		time.Sleep(timeout + r.fleet.base.Lease/2) // the stall
		server.Resume()
	}
	r.awaitMore(200)
	l.stop()
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("Redis stopped by SIGSTOP %d times, for longer than calls wait", stalls))
}

// A pool that finds no Redis when it starts, or one that takes connections and never answers, says so soon and can be
// started again.
func TestStartWithoutRedis(t *testing.T) {
	for _, outage := range []struct {
		name       string
		begin, end func(*redistest.Redis)
	}{
		{"dead", (*redistest.Redis).Kill, (*redistest.Redis).Restart},
		{"hanging", (*redistest.Redis).Pause, (*redistest.Redis).Resume},
	} {
		t.Run(outage.name, func(t *testing.T) {
			server := redistest.Server(t)
			client, err := endpoint{Addrs: []string{server.Addr()}}.connect()
			require.NoError(t, err)
			defer client.Close()
			pool, err := newPool(workerConfig{Lease: lease, Queues: []string{"mail"}}, client, &deeds{})
			require.NoError(t, err)

			outage.begin(server)
			began := time.Now()
			err = pool.Start(context.Background())
			took := time.Since(began)
			outage.end(server)
			t.Logf("after %v: %v", took.Round(time.Millisecond), err)
			require.ErrorContains(t, err, `start pool: consume queue "mail"`)
			require.Less(t, took, 15*time.Second, "5 seconds are promised")

			until(t, "the pool to start", func() bool { return pool.Start(context.Background()) == nil })
			require.NoError(t, pool.Stop(context.Background()))
		})
	}
}
