package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A worker that is cut off from Redis for longer than its lease goes on working, but others do its jobs again. When it
// is back, nothing of what it finished meanwhile counts: each job has one final state, and late claims win.
func TestWorkerIsCutOff(t *testing.T) {
	const n = 600
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true})
	network := newProxy(t, server.Addr())
	r.fleet.base.Redis.Addrs = []string{network.addr()}
	lonely := r.fleet.start()
	r.fleet.base.Redis.Addrs = []string{server.Addr()}
	r.enqueue(r.jobs(n, "job", nap(100, 400))...)
	r.await("the lonely worker to be at work", func() bool { return r.fleet.hist.started(lonely.name) > 20 })
	for range 2 {
		r.fleet.start()
	}
	r.fleet.hist.note(lonely.name, opPause)
	network.setCut(true)
	r.await("the others to take over", func() bool { return r.robbed() })
	network.setCut(false)
	before := r.fleet.hist.started(lonely.name)
	r.await("the lonely worker to work on", func() bool { return r.fleet.hist.started(lonely.name) > before+10 })
	r.awaitDrained()
	r.verify()
	require.Positive(t, r.starts()-n)
	t.Logf("%d jobs, %d extra starts", n, r.starts()-n)
}

// robbed reports whether a job was started that counts a crash.
func (r *rig) robbed() bool {
	return r.fleet.hist.count(func(e event) bool { return e.Op == opStart && e.Crashes > 0 }) > 0
}

// A worker that is cut off for less than its lease, again and again, keeps its jobs.
func TestNetworkFlickers(t *testing.T) {
	const n = 600
	r, server := newRig(t, workerConfig{Concurrency: 10, Stored: true})
	network := newProxy(t, server.Addr())
	r.fleet.base.Redis.Addrs = []string{network.addr()}
	for range 2 {
		r.fleet.start()
	}
	r.fleet.base.Redis.Addrs = []string{server.Addr()}
	r.fleet.start()
	r.enqueue(r.jobs(n, "job", nap(50, 200))...)
	for i := range 5 {
		r.awaitFinished(n * (i + 1) / 7)
		network.setCut(true)
		time.Sleep(r.fleet.base.Lease / 3) // the cut
		network.setCut(false)
	}
	r.awaitDrained()
	r.verify()
	require.Equal(t, n, r.starts())
}
