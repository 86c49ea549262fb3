package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/redistest"
)

const slotCount = 16384

// node is one server of a cluster.
type node struct {
	addr, bus string
	id        string
	server    *redistest.Redis
	client    rueidis.Client // of this node alone
}

// cluster is three masters that share the slots evenly, with or without a replica each.
type cluster struct {
	t        testing.TB
	nodes    []*node // the masters, as it started
	replicas []*node // in the order of their masters
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	const masters = 3
	c := &cluster{t: t}
	for i := range masters {
		n := c.startNode()
		c.ask(n, "CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		c.ask(n, "CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(slotCount*i/masters), fmt.Sprint(slotCount*(i+1)/masters-1))
		c.nodes = append(c.nodes, n)
		c.meet(n)
	}
	for _, n := range c.nodes {
		c.awaitFormed(n, masters)
	}
	return c
}

// startReplicatedCluster starts a cluster whose masters have one replica each, which takes over when its master dies.
func startReplicatedCluster(t testing.TB) *cluster {
	t.Helper()
	c := startCluster(t)
	for _, master := range c.nodes {
		n := c.startNode()
		c.meet(n)
		until(t, "a replica to know its master", func() bool {
			return n.client.Do(context.Background(), n.client.B().ClusterReplicate().NodeId(master.id).Build()).Error() == nil
		})
		c.replicas = append(c.replicas, n)
	}
	for _, n := range c.all() {
		c.ask(n, "CONFIG", "SET", "cluster-node-timeout", "3000")
	}
	for _, n := range c.replicas {
		c.awaitReplica(n)
	}
	return c
}

func (c *cluster) startNode() *node {
	c.t.Helper()
	bus := redistest.FreePort(c.t)
	server := redistest.Server(c.t, "--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "5000",
		"--repl-diskless-sync-delay", "0")
	n := &node{addr: server.Addr(), bus: bus, server: server}
	var err error
	n.client, err = endpoint{Addrs: []string{n.addr}}.connect()
	require.NoError(c.t, err)
	c.t.Cleanup(n.client.Close)
	n.id = c.ask(n, "CLUSTER", "MYID")
	return n
}

// meet makes a node known to the first one, and by that to all.
func (c *cluster) meet(n *node) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(n.addr)
	if n != c.nodes[0] {
		c.ask(c.nodes[0], "CLUSTER", "MEET", host, port, n.bus)
	}
}

func (c *cluster) all() []*node { return slices.Concat(c.nodes, c.replicas) }

// awaitReplica waits until a node follows its master, and all nodes know the cluster as sound.
func (c *cluster) awaitReplica(n *node) {
	c.t.Helper()
	awaitReply(c.t, n.addr, "role:slave", "INFO", "replication")
	awaitReply(c.t, n.addr, "master_link_status:up", "INFO", "replication")
	for _, other := range c.all() {
		awaitReply(c.t, other.addr, "cluster_state:ok", "CLUSTER", "INFO")
	}
}

// awaitHeir waits until the replica of a dead master has taken over, and all living nodes serve all slots again.
func (c *cluster) awaitHeir(i int) {
	c.t.Helper()
	awaitReply(c.t, c.replicas[i].addr, "role:master", "INFO", "replication")
	for _, n := range c.all() {
		if n != c.nodes[i] {
			awaitReply(c.t, n.addr, "cluster_state:ok", "CLUSTER", "INFO")
		}
	}
}

// revive starts a dead master again, which has nothing and follows the one that took over from it.
func (c *cluster) revive(i int) {
	c.t.Helper()
	c.nodes[i].server.Restart()
	c.awaitReplica(c.nodes[i])
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
	for _, n := range c.all() {
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
		few := fmt.Sprint(1 + rand.IntN(3))
		list := source.client.B().Arbitrary("CLUSTER", "GETKEYSINSLOT", s, few).Build()
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
