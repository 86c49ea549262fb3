package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A worker that is told to stop gives back what it cannot finish, with no attempt burnt and no crash counted.
func TestStoppedWorkerGivesBack(t *testing.T) {
	const n = 50
	r, _ := newRig(t, workerConfig{Concurrency: n, Drain: 200 * time.Millisecond})
	r.enqueue(r.jobs(n, "job", hold)...)
	first := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(first.name) == n })
	require.NoError(t, first.stop())
	require.Empty(t, r.members(prefix("default")+"workers"))
	require.Len(t, r.members(prefix("default")+"pending"), n)

	r.fleet.start().open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 2*n, r.starts())
	require.Zero(t, r.fleet.hist.count(func(e event) bool { return e.Op == opStart && e.Crashes > 0 }))
}

// What can be finished while a worker drains is finished there.
func TestStoppedWorkerFinishesWhatItCan(t *testing.T) {
	const n = 50
	r, _ := newRig(t, workerConfig{Concurrency: n})
	r.enqueue(r.jobs(n, "job", hold)...)
	only := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(only.name) == n })
	only.terminate()
	only.open()
	<-only.done
	require.NoError(t, only.err)
	r.awaitDrained()
	r.verify()
	require.Equal(t, n, r.starts())
}

// Workers are replaced one after the other, as in a deployment, under load.
func TestRollingRestart(t *testing.T) {
	const n, restarts = 3000, 6
	r, _ := newRig(t, workerConfig{Concurrency: 10, Drain: 20 * time.Millisecond, Stored: true})
	r.enqueue(r.jobs(n, "job", nap(5, 60))...)
	old := r.fleet.start()
	r.fleet.start()
	for i := range restarts {
		r.await("jobs to be settled", func() bool {
			left, err := r.unsettled()
			return err == nil && left <= n-n*(i+1)/(restarts+2)
		})
		r.fleet.start()
		require.NoError(t, old.stop())
		old = r.fleet.living()[0]
	}
	r.awaitDrained()
	r.verify()
	t.Logf("%d jobs, %d restarts, %d extra starts", n, restarts, r.starts()-n)
}

// A worker that is told to stop while Redis is away does so by its deadline. It cannot give back what it held, so
// another worker takes over, as if it had died.
func TestStopWithoutRedis(t *testing.T) {
	const n = 20
	r, server := newRig(t, workerConfig{Concurrency: n, Drain: 200 * time.Millisecond},
		"--appendonly", "yes", "--appendfsync", "always")
	r.enqueue(r.jobs(n, "job", hold)...)
	first := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(first.name) == n })
	server.Kill()
	began := time.Now()
	require.Error(t, first.stop())
	require.Less(t, time.Since(began), 20*time.Second, "drain and grace are 5.2 seconds")
	r.fleet.hist.note(first.name, opEnd)

	server.Restart()
	r.fleet.start().open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 2*n, r.starts())
}
