package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/faultproxy"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// netRig is a rig whose workers and producer reach Redis through a network with faults. The test itself does not.
type netRig struct {
	*rig
	network *faultproxy.Proxy
	direct  endpoint
}

func newNetRig(t *testing.T, cfg workerConfig) *netRig {
	t.Helper()
	server := redistest.Server(t)
	network := faultproxy.New(t, server.Addr())
	cfg.Stored, cfg.Redis = true, endpoint{Addrs: []string{network.Addr()}}
	n := &netRig{rig: rigOn(t, cfg), network: network, direct: endpoint{Addrs: []string{server.Addr()}}}
	var err error
	n.client, err = n.direct.connect()
	require.NoError(t, err)
	t.Cleanup(n.client.Close)
	return n
}

// startDirect starts a worker process that the network's faults don't concern, with so many slots.
func (n *netRig) startDirect(slots int) *process {
	others := n.fleet.base
	defer func() { n.fleet.base = others }()
	n.fleet.base.Redis, n.fleet.base.Concurrency = n.direct, slots
	return n.fleet.start()
}

// All connections are reset, again and again, in the middle of claims, saves and settlements, whose outcome nobody
// knows then. Each job runs once.
func TestConnectionsAreReset(t *testing.T) {
	resets, n := size(5, 50), size(600, 5000)
	r := newNetRig(t, workerConfig{Concurrency: 10})
	for range 3 {
		r.fleet.start()
	}
	feed := r.feed(r.jobs(n, "job", nap(5, 40)))
	for i := range resets {
		r.awaitFinished(n * (i + 1) / (resets + 2))
		require.Positive(t, r.network.Reset())
	}
	feed.Wait()
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("%d × all connections reset", resets))
	require.Equal(t, n, r.starts())
	t.Logf("the network: %+v", r.network.Counts())
}

// Replies are cut half-way: Redis has done what it was asked, the worker does not know. A claim of which nobody knows is
// found by the heartbeat and given back, a settlement is repeated, a job enqueued again is known. Each job runs once.
func TestRepliesAreCut(t *testing.T) {
	cuts, n := size(20, 200), size(600, 5000)
	r := newNetRig(t, workerConfig{Concurrency: 10})
	for range 3 {
		r.fleet.start()
	}
	feed := r.feed(r.jobs(n, "job", nap(5, 40)))
	for i := range cuts {
		r.awaitFinished(n * (i + 1) / (cuts + 2))
		r.network.CutReplies(1)
	}
	r.await("the replies to be cut", func() bool { return r.network.Counts().CutReplies == cuts })
	feed.Wait()
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("%d replies cut half-way", cuts))
	require.Equal(t, n, r.starts())
	t.Logf("the network: %+v", r.network.Counts())
}

// The network carries bytes one way only, for longer than a lease and than calls wait for an answer. What was sent
// arrives late or is answered late: claims and settlements that nobody waits for any more. No worker is robbed, as none
// fares better than the others, and each job runs once.
func TestNetworkIsCutOneWay(t *testing.T) {
	for name, way := range map[string]faultproxy.Way{"to Redis": faultproxy.ToServer, "to the workers": faultproxy.ToClient} {
		t.Run(name, func(t *testing.T) {
			const timeout = 3 * time.Second // of calls
			cuts, n := size(1, 3), size(1000, 4000)
			r := newNetRig(t, workerConfig{Concurrency: 10})
			for range 3 {
				r.fleet.start()
			}
			feed := r.feed(r.jobs(n, "job", nap(5, 40)))
			for i := range cuts {
				r.awaitFinished(n * (i + 1) / (cuts + 2))
				r.network.Hold(way)
				time.Sleep(timeout + r.fleet.base.Lease/2) // the cut
				r.network.Hold(0)
			}
			feed.Wait()
			r.awaitDrained()
			r.verify()
			r.report(fmt.Sprintf("%d × nothing goes %s", cuts, name))
			require.Equal(t, n, r.starts())
		})
	}
}

// The network swallows all that two of three workers and the producer say, until the third has taken their jobs over,
// and their old connections stay deaf. They give up what they held, come back by connections of their own making, and
// nothing counts that they finished meanwhile.
func TestNetworkIsABlackHole(t *testing.T) {
	t.Parallel()
	holes, n := size(1, 3), size(3500, 11_000)
	r := newNetRig(t, workerConfig{Concurrency: 10})
	swallowed := []*process{r.fleet.start(), r.fleet.start()}
	r.startDirect(30) // a slot is soon free for what it takes over
	feed := r.feed(r.jobs(n, "job", nap(50, 250)))
	for range holes {
		before := r.workedBy(swallowed)
		r.await("the workers to be at work", func() bool { return r.workedBy(swallowed) > before+40 })
		robbed := r.robberies()
		for _, p := range swallowed {
			r.fleet.hist.note(p.name, opPause)
		}
		r.network.BlackHole(true)
		r.await("the third worker to take over", func() bool { return r.robberies() > robbed })
		for _, p := range swallowed {
			r.fleet.hist.note(p.name, history.OpResume)
		}
		r.network.BlackHole(false)
		began := time.Now()
		before = r.workedBy(swallowed)
		r.await("the workers to come back", func() bool { return r.workedBy(swallowed) > before+10 })
		t.Logf("back at work after %v", time.Since(began).Round(time.Millisecond))
	}
	feed.Wait()
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("%d black holes", holes))
	require.Positive(t, r.network.Counts().Swallowed)
	t.Logf("the network: %+v", r.network.Counts())
}

// workedBy counts the handlers that processes have begun.
func (r *rig) workedBy(procs []*process) (n int) {
	for _, p := range procs {
		n += r.fleet.hist.started(p.name)
	}
	return n
}

// Every answer takes 200 ms ± 100, at a lease of 1.5 s. Nothing hangs, nobody loses a lease, each job runs once.
func TestNetworkIsSlow(t *testing.T) {
	const perCall = 200
	n := size(400, 4000)
	r := newNetRig(t, workerConfig{Concurrency: 50})
	r.network.Delay(200*time.Millisecond, 100*time.Millisecond)
	for range 3 {
		r.fleet.start()
	}
	for i, jobs := 0, r.jobs(n, "job", nap(5, 40)); i < n; i += perCall {
		r.enqueue(jobs[i:min(i+perCall, n)]...)
	}
	r.awaitDrained()
	r.verify()
	r.report("200 ms ± 100 latency")
	require.Equal(t, n, r.starts())
}
