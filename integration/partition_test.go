package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/faultproxy"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// A worker that is cut off from Redis for longer than its lease goes on working, but others do its jobs again. When it
// is back, nothing of what it finished meanwhile counts: each job has one final state, and late claims win.
func TestWorkerIsCutOff(t *testing.T) {
	const n = 600
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true})
	network := faultproxy.New(t, server.Addr())
	r.fleet.base.Redis.Addrs = []string{network.Addr()}
	lonely := r.fleet.start()
	r.fleet.base.Redis.Addrs = []string{server.Addr()}
	r.enqueue(r.jobs(n, "job", nap(100, 400))...)
	r.await("the lonely worker to be at work", func() bool { return r.fleet.hist.started(lonely.name) > 20 })
	for range 2 {
		r.fleet.start()
	}
	r.fleet.hist.note(lonely.name, opPause)
	network.Hold(faultproxy.BothWays)
	r.await("the others to take over", func() bool { return r.robberies() > 0 })
	r.fleet.hist.note(lonely.name, history.OpResume)
	network.Hold(0)
	before := r.fleet.hist.started(lonely.name)
	r.await("the lonely worker to work on", func() bool { return r.fleet.hist.started(lonely.name) > before+10 })
	r.awaitDrained()
	r.verify()
	r.report("a worker cut off for longer than its lease")
	require.Positive(t, r.starts()-n)
}

// robberies counts the starts of jobs that count a crash.
func (r *rig) robberies() int {
	return r.fleet.hist.count(func(e event) bool { return e.Op == opStart && e.Crashes > 0 })
}

// A worker that is cut off for less than its lease, again and again, keeps its jobs.
func TestNetworkFlickers(t *testing.T) {
	const n = 600
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true})
	network := faultproxy.New(t, server.Addr())
	r.fleet.base.Redis.Addrs = []string{network.Addr()}
	for range 2 {
		r.fleet.start()
	}
	r.fleet.base.Redis.Addrs = []string{server.Addr()}
	r.fleet.start()
	r.enqueue(r.jobs(n, "job", nap(50, 200))...)
	for i := range 5 {
		r.awaitFinished(n * (i + 1) / 7)
		network.Hold(faultproxy.BothWays)
		time.Sleep(r.fleet.base.Lease / 3) // the cut
		network.Hold(0)
	}
	r.awaitDrained()
	r.verify()
	r.report("5 cuts of a third of the lease")
	require.Equal(t, n, r.starts())
}
