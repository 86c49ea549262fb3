//go:build unix

package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// Redis is killed under load and comes back with what it had a while ago, or with nothing at all. The database knows
// better: every accepted job ends, none runs again that had ended, tokens rise, and each worker that is up tells
// operators once.
func TestRedisLosesData(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*rig, string){
		"old snapshot": func(*rig, string) {},
		"nothing": func(r *rig, dump string) {
			require.NoError(r.t, os.Remove(dump))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, server := newLossyRig(t)
			const n, workers = 3000, 3
			for range workers {
				r.fleet.start()
			}
			feed := r.feed(r.jobs(n, "job", nap(5, 40)))
			r.awaitFinished(n / 4)
			dump := r.save()
			r.awaitFinished(n / 2)
			server.Kill()
			prepare(r, dump)
			time.Sleep(lease / 3) // what still runs ends, and is saved
			ended, before := r.finalIDs(), r.fleet.hist.all()
			r.loseData()
			server.Restart()
			feed.Wait()
			r.awaitEnded()
			r.verify()
			r.requireNoneAgain(ended, before)
			told := r.toldOfLoss()
			t.Logf("told of the loss: %v", told)
			if name == "old snapshot" { // all were in it: their leases give it away
				require.Len(t, told, workers)
			}
			require.NotEmpty(t, told)
			for process, times := range told {
				require.Equal(t, 1, times, process)
			}
			r.report("Redis came back with " + name)
		})
	}
}

// newLossyRig makes a rig whose statuses are in Postgres, on a Redis that may lose what ran.
func newLossyRig(t *testing.T) (*rig, *redistest.Redis) {
	t.Helper()
	r, server := newRig(t, workerConfig{Concurrency: 10, Database: pgtest.Server(t).URL(), Sweep: sweepInterval})
	return r, server
}

// save makes Redis write a snapshot, with which it begins when it is started again, and returns the file's name.
func (r *rig) save() string {
	r.t.Helper()
	ctx := context.Background()
	require.NoError(r.t, r.client.Do(ctx, r.client.B().Save().Build()).Error())
	settings, err := r.client.Do(ctx, r.client.B().ConfigGet().Parameter("dir").Parameter("dbfilename").Build()).AsStrMap()
	require.NoError(r.t, err)
	return filepath.Join(settings["dir"], settings["dbfilename"])
}

// finalIDs returns the jobs that the database knows as ended.
func (r *rig) finalIDs() map[string]bool {
	r.t.Helper()
	ids := make(map[string]bool)
	for _, e := range r.finals() {
		ids[e.Job] = true
	}
	return ids
}

// requireNoneAgain fails the test when a handler began since for one of the jobs that had ended, or under a token that
// was not above all before.
func (r *rig) requireNoneAgain(ended map[string]bool, before []event) {
	r.t.Helper()
	require.NotEmpty(r.t, ended)
	highest, last := int64(0), int64(0)
	for _, e := range before {
		if e.Op == opStart {
			highest, last = max(highest, e.Token), max(last, e.At)
		}
	}
	again := 0
	for _, e := range r.fleet.hist.all() {
		if e.Op != opStart || e.At <= last {
			continue
		}
		again++
		require.False(r.t, ended[e.Job], "%s began again under token %d though it had ended", e.Job, e.Token)
		require.Greater(r.t, e.Token, highest, "%s began under a token of before", e.Job)
	}
	require.Positive(r.t, again, "nothing ran after the loss")
}

// toldOfLoss counts in the logs of the processes how often each told of lost data.
func (r *rig) toldOfLoss() map[string]int {
	r.t.Helper()
	logs, err := filepath.Glob(filepath.Join(r.fleet.base.History, "*.log"))
	require.NoError(r.t, err)
	told := make(map[string]int)
	for _, name := range logs {
		text, err := os.ReadFile(name)
		require.NoError(r.t, err)
		if n := strings.Count(string(text), "redis has lost data"); n > 0 {
			told[filepath.Base(name)] = n
		}
	}
	return told
}
