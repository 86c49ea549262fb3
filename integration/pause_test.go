package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// A worker that stood still for longer than lease, grace and two beats loses its jobs to one that lives. Back again, it
// stops their handlers with ErrLeaseLost, settles nothing and works on under a new name.
func TestPausedWorkerGivesUpAndWorksOn(t *testing.T) {
	const n = 5
	r, _ := newRig(t, workerConfig{Concurrency: n})
	workers := prefix(worker.DefaultQueue) + "workers"
	r.enqueue(r.jobs(n, "early", hold)...)
	paused := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(paused.name) == n })
	name := r.members(workers)
	require.Len(t, name, 1)

	paused.pause()
	heir := r.fleet.start()
	r.await("the heir to take over", func() bool { return r.fleet.hist.started(heir.name) == n })
	require.NotContains(t, r.members(workers), name[0])
	paused.resume()
	r.await("the handlers to be stopped", func() bool {
		return n == r.fleet.hist.count(func(e event) bool {
			return e.Op == opFinish && e.Proc == paused.name && e.Text == worker.ErrLeaseLost.Error()
		})
	})

	r.enqueue(r.jobs(n, "late", hold)...) // the heir's slots are full
	r.await("the paused worker to work on", func() bool { return r.fleet.hist.started(paused.name) == 2*n })
	names := r.members(workers)
	require.Len(t, names, 2)
	require.NotContains(t, names, name[0])
	paused.open()
	heir.open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 3*n, r.starts())
	require.Equal(t, 2*n, r.fleet.hist.count(func(e event) bool { return e.Op == opFinal }))
}
