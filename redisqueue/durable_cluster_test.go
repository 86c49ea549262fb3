package redisqueue_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// clusterNode returns a server that may become a part of a cluster.
func clusterNode(t *testing.T) (s *server, bus string) {
	t.Helper()
	bus = redistest.FreePort(t)
	return onReal(t, "--cluster-enabled", "yes", "--cluster-port", bus, "--repl-diskless-sync-delay", "0",
		"--cluster-allow-replica-migration", "no"), bus
}

// onCluster returns two masters of a cluster, the first of which has all slots, and a replica of each.
func onCluster(t *testing.T) (masters, replicas [2]*server) {
	t.Helper()
	all := make([]*server, 4)
	for i := range all {
		s, bus := clusterNode(t)
		all[i] = s
		s.ok("CLUSTER", "SET-CONFIG-EPOCH", fmt.Sprint(i+1))
		if i == 0 {
			s.ok("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
			continue
		}
		host, port, _ := net.SplitHostPort(s.addr)
		all[0].ok("CLUSTER", "MEET", host, port, bus)
	}
	for _, s := range all {
		s.await("cluster_known_nodes:4", "CLUSTER", "INFO")
	}
	for i := range 2 {
		masters[i], replicas[i] = all[i], all[i+2]
		id := masters[i].text("CLUSTER", "MYID")
		replicas[i].await(id, "CLUSTER", "NODES")
		replicas[i].ok("CLUSTER", "REPLICATE", id)
		masters[i].await("state=online", "INFO", "replication")
	}
	for _, s := range all {
		s.await("cluster_state:ok", "CLUSTER", "INFO")
	}
	return masters, replicas
}

// await waits until a command is answered with a text that contains some other.
func (s *server) await(text string, words ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.text(words...), text); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s of %v", text, words)
		}
	}
}

// move takes the default queue's slot from one node to another; half calls what happens when that has begun.
func move(from, to *server, half func()) {
	from.t.Helper()
	number, err := from.ok("CLUSTER", "KEYSLOT", key("")).AsInt64()
	require.NoError(from.t, err)
	slot := fmt.Sprint(number)
	to.ok("CLUSTER", "SETSLOT", slot, "IMPORTING", from.text("CLUSTER", "MYID"))
	from.ok("CLUSTER", "SETSLOT", slot, "MIGRATING", to.text("CLUSTER", "MYID"))
	keys, err := from.ok("CLUSTER", "GETKEYSINSLOT", slot, "100").AsStrSlice()
	require.NoError(from.t, err)
	host, port, _ := net.SplitHostPort(to.addr)
	from.ok(append([]string{"MIGRATE", host, port, "", "0", "5000", "KEYS"}, keys...)...)
	half()
	for _, s := range []*server{to, from} {
		s.ok("CLUSTER", "SETSLOT", slot, "NODE", to.text("CLUSTER", "MYID"))
	}
}

// On a cluster the replicas of the queue's own master are asked. While its slot moves, jobs are refused as ever, and
// afterwards the replicas of the new master are asked.
func TestDurableEnqueueOnACluster(t *testing.T) {
	masters, replicas := onCluster(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{masters[0].addr, masters[1].addr}, DisableCache: true, RingScaleEachConn: 8,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	s := &server{t: t, client: client}
	q, hurried := s.queue(patient), s.queue(hasty)
	jobs := newJobs(t, 5)
	enqueue(t, q, jobs[0])
	replicas[0].real.Pause()
	requireUnsure(t, hurried.Enqueue(context.Background(), jobs[1]), 0, 1, jobs[1])
	replicas[0].real.Resume()
	enqueue(t, q, jobs[1])

	move(masters[0], masters[1], func() { // nothing is left at the old master, and much is at neither
		err := q.Enqueue(context.Background(), jobs[2])
		require.ErrorIs(t, err, worker.ErrRefused)
		require.ErrorContains(t, err, "ASK")
		err = s.queue(redisqueue.Config{}).Enqueue(context.Background(), jobs[2])
		require.ErrorIs(t, err, worker.ErrRefused)
		require.ErrorContains(t, err, "TRYAGAIN", "an ordinary call follows ASK in vain")
	})
	replicas[1].real.Pause()
	defer replicas[1].real.Resume()
	requireUnsure(t, hurried.Enqueue(context.Background(), jobs[2]), 0, 1, jobs[2]) // whatever the old master's replica says
	requireUnsure(t, hurried.Enqueue(context.Background(), jobs[3]), 0, 1, jobs[3])
	replicas[1].real.Resume()
	replicas[0].real.Kill()
	enqueue(t, q, jobs[2:]...)
	require.Equal(t, ids(jobs), masters[1].list("pending"))
}
