package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// Queues that live on different nodes of a cluster are served by the same workers, also when one of those dies.
func TestCluster(t *testing.T) {
	const n = 200
	c := startCluster(t)
	queues := []string{"a", "b", "c", "d", "e", "f"}
	owners := make(map[int]bool)
	for _, q := range queues {
		owners[c.owner(q)] = true
	}
	require.Len(t, owners, len(c.nodes), "the queues' names don't use all nodes")
	r := rigOn(t, workerConfig{Redis: c.endpoint(), Queues: queues, Concurrency: 10, Stored: true})
	var jobs []*worker.Job
	for _, q := range queues {
		jobs = append(jobs, r.jobs(n, q, nap(5, 50), worker.OnQueue(q))...)
	}
	victim := r.fleet.start()
	r.fleet.start()
	r.enqueue(jobs...) // one call for all queues
	r.awaitFinished(len(jobs) / 4)
	victim.kill()
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("Cluster: a worker of %d queues killed", len(queues)))
}

// A queue's slot moves to another node and back under load, and stays half moved for longer than lease and grace each
// time. Meanwhile no script runs (TRYAGAIN); afterwards all clients follow (MOVED). Each job runs once.
func TestClusterMovesASlotUnderLoad(t *testing.T) {
	t.Parallel()
	moves := size(2, 10)
	c := startReplicatedCluster(t)
	queues := []string{"moves", "stays"}
	r := rigOn(t, workerConfig{Redis: c.endpoint(), Queues: queues, Concurrency: 10, Stored: true})
	for range 2 {
		r.fleet.start()
	}
	moving := r.quick("m", worker.OnQueue("moves"))
	others := []*stream{r.slow("m", worker.OnQueue("moves")), r.quick("s", worker.OnQueue("stays"))}
	from := c.owner("moves")
	to := (from + 1) % len(c.nodes)
	for range moves {
		moving.flow(100)
		c.move(c.slot("moves"), from, to, 2*r.fleet.base.Lease)
		from, to = to, from
	}
	require.True(t, r.fleet.said("lease cannot be renewed"), "the moves were no trouble")
	moving.flow(100)
	moving.stop()
	for _, s := range others {
		s.stop()
	}
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("Cluster: a slot moved %d times", moves))
	require.Equal(t, len(r.checker.accepted), r.starts())
}

// The masters of a cluster die one after the other under load, and come back as replicas of those that took over. With
// the statuses elsewhere no accepted job is lost, though the cluster has lost its last writes: a replica stops to follow
// for a while before its master dies.
func TestClusterMastersDie(t *testing.T) {
	t.Parallel()
	kills := size(1, 3)
	c := startReplicatedCluster(t)
	queues := make([]string, len(c.nodes)) // one on each
	for i := range queues {
		for n := 0; queues[i] == ""; n++ {
			if name := fmt.Sprintf("q%d", n); c.owner(name) == i {
				queues[i] = name
			}
		}
	}
	r := newFailoverRig(t, workerConfig{Redis: c.endpoint(), Queues: queues, Concurrency: 30})
	for range 3 {
		r.fleet.start()
	}
	var quick, slow []*stream
	for _, queue := range queues {
		quick, slow = append(quick, r.quick(queue, worker.OnQueue(queue))), append(slow, r.slow(queue, worker.OnQueue(queue)))
	}
	for i := range kills {
		for _, s := range quick {
			s.flow(100)
		}
		mend := tear(t, c.nodes[i].addr, c.replicas[i].server)
		r.tail(quick[i], queues[i])
		began := time.Now()
		r.loseData()
		c.nodes[i].server.Kill()
		mend()
		c.awaitHeir(i)
		failed := time.Since(began)
		quick[i].flow(100)
		require.False(t, r.marked(queues[i]), "nothing was lost")
		t.Logf("another master after %v, 100 jobs accepted after %v", failed.Round(time.Millisecond),
			time.Since(began).Round(time.Millisecond))
		c.revive(i)
	}
	for _, s := range quick {
		s.flow(100)
	}
	for _, s := range slices.Concat(quick, slow) {
		s.stop()
	}
	r.awaitEnded()
	r.verify()
	r.report(fmt.Sprintf("Cluster: %d masters killed", kills))
	t.Logf("longest time without a start: %v", r.longestSilence())
}
