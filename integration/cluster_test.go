package integration

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

const slotCount = 16384

// node is one master of a cluster.
type node struct {
	addr   string
	id     string
	client rueidis.Client // of this node alone
}

// cluster is three masters that share the slots evenly.
type cluster struct {
	t     testing.TB
	nodes []*node
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	const masters = 3
	c := &cluster{t: t}
	for i := range masters {
		bus := redistest.FreePort(t)
		server := redistest.Server(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "5000")
		n := &node{addr: server.Addr()}
		var err error
		n.client, err = endpoint{Addrs: []string{n.addr}}.connect()
		require.NoError(t, err)
		t.Cleanup(n.client.Close)
		n.id = c.ask(n, "CLUSTER", "MYID")
		c.ask(n, "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		c.ask(n, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(slotCount*i/masters), fmt.Sprint(slotCount*(i+1)/masters-1))
		if i > 0 {
			host, port, _ := net.SplitHostPort(n.addr)
			c.ask(c.nodes[0], "CLUSTER", "MEET", host, port, bus)
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		c.awaitFormed(n, masters)
	}
	return c
}

// awaitFormed waits until a node knows that all slots are served by so many masters.
func (c *cluster) awaitFormed(n *node, masters int) {
	c.t.Helper()
	until(c.t, "the cluster to form", func() bool {
		shards, err := n.client.Do(context.Background(), n.client.B().ClusterSlots().Build()).ToArray()
		require.NoError(c.t, err)
		return len(shards) == masters && strings.Contains(c.ask(n, "CLUSTER", "INFO"), "cluster_state:ok")
	})
}

// ask sends a command to one node and returns its reply, which must be a text or a number.
func (c *cluster) ask(n *node, command ...string) string {
	c.t.Helper()
	reply, err := n.client.Do(context.Background(), n.client.B().Arbitrary(command...).Build()).ToAny()
	require.NoError(c.t, err, command)
	return fmt.Sprint(reply)
}

func (c *cluster) endpoint() endpoint {
	e := endpoint{Cluster: true}
	for _, n := range c.nodes {
		e.Addrs = append(e.Addrs, n.addr)
	}
	return e
}

// slot returns the slot of a queue's keys.
func (c *cluster) slot(queue string) int {
	c.t.Helper()
	slot, err := strconv.Atoi(c.ask(c.nodes[0], "CLUSTER", "KEYSLOT", prefix(queue)))
	require.NoError(c.t, err)
	return slot
}

// owner returns the number of the node that a queue started on.
func (c *cluster) owner(queue string) int {
	return (c.slot(queue)*len(c.nodes) + len(c.nodes) - 1) / slotCount
}

// move takes a slot from one node to another, and stops half way for the pause.
func (c *cluster) move(slot, from, to int, pause time.Duration) {
	c.t.Helper()
	source, target := c.nodes[from], c.nodes[to]
	s := fmt.Sprint(slot)
	host, port, _ := net.SplitHostPort(target.addr)
	c.ask(target, "CLUSTER", "SETSLOT", s, "IMPORTING", source.id)
	c.ask(source, "CLUSTER", "SETSLOT", s, "MIGRATING", target.id)
	for first := true; ; first = false {
		list := source.client.B().Arbitrary("CLUSTER", "GETKEYSINSLOT", s, "2").Build()
		keys, err := source.client.Do(context.Background(), list).AsStrSlice()
		require.NoError(c.t, err)
		if len(keys) == 0 {
			break
		}
		c.ask(source, append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...)
		if first {
			time.Sleep(pause)
		}
	}
	for _, n := range []*node{target, source, c.nodes[3-from-to]} {
		c.ask(n, "CLUSTER", "SETSLOT", s, "NODE", target.id)
	}
}

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
	t.Logf("%d jobs on %d queues, %d extra starts", len(jobs), len(queues), r.starts()-len(jobs))
}

// A queue's slot moves to another node under load, and stays half moved for longer than lease and grace. Meanwhile no
// script runs (TRYAGAIN); afterwards all clients follow (MOVED). Nothing is lost and no worker is robbed.
func TestClusterMovesASlotUnderLoad(t *testing.T) {
	const n = 1500
	c := startCluster(t)
	queues := []string{"moves", "stays"}
	r := rigOn(t, workerConfig{Redis: c.endpoint(), Queues: queues, Concurrency: 10, Stored: true})
	for range 2 {
		r.fleet.start()
	}
	moving := r.feed(r.jobs(n, "m", nap(5, 20), worker.OnQueue("moves")))
	staying := r.feed(r.jobs(n, "s", nap(5, 20), worker.OnQueue("stays")))
	r.awaitFinished(n / 4)
	from := c.owner("moves")
	c.move(c.slot("moves"), from, (from+1)%len(c.nodes), 2*r.fleet.base.Lease)
	require.True(t, r.fleet.said("lease cannot be renewed"), "the move was no trouble")
	moving.Wait()
	staying.Wait()
	r.awaitDrained()
	r.verify()
	t.Logf("%d jobs, %d extra starts", 2*n, r.starts()-2*n)
}
