package integration

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/redisstatus"
	"github.com/real-staging-ai/go-worker/workertest"
)

func (c *cluster) connect() rueidis.Client {
	c.t.Helper()
	client, err := c.endpoint().connect()
	require.NoError(c.t, err)
	c.t.Cleanup(func() {
		client.Close()
		until(c.t, "the client to let go of nodes that it has left", func() bool { // 5 s after it saw a slot move
			stacks := make([]byte, 16<<20)
			return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*clusterClient)._refresh")
		})
	})
	require.Equal(c.t, rueidis.ClientModeCluster, client.Mode())
	return client
}

func (c *cluster) notifier(cfg redisnotify.Config) *redisnotify.Notifier {
	c.t.Helper()
	n, err := redisnotify.New(c.connect(), cfg)
	require.NoError(c.t, err)
	c.t.Cleanup(n.Close)
	return n
}

// topicSlot returns the slot of a topic's log.
func (c *cluster) topicSlot(topic string) int {
	c.t.Helper()
	slot, err := strconv.Atoi(c.ask(c.nodes[0], "CLUSTER", "KEYSLOT", "worker:topic:{:"+topic+"}:log"))
	require.NoError(c.t, err)
	return slot
}

// channels counts what PUBSUB tells of all nodes' channels.
func (c *cluster) channels(kind string) int {
	c.t.Helper()
	total := 0
	for _, n := range c.nodes {
		names, err := n.client.Do(context.Background(), n.client.B().Arbitrary("PUBSUB", kind).Build()).AsStrSlice()
		require.NoError(c.t, err)
		total += len(names)
	}
	return total
}

// On a cluster of Redis 7 the notifier uses sharded channels, and ordinary ones where the host names them.
func TestNotifierKeepsTheContractOnACluster(t *testing.T) {
	c := startCluster(t)
	host := redisnotify.Config{
		Channel: func(topic string) string { return "news:" + topic },
		Message: func(s worker.Status) []byte { return []byte(s.State) },
	}
	for name, cfg := range map[string]redisnotify.Config{
		"own": {}, "message": {Message: host.Message}, "host": host,
	} {
		t.Run(name, func(t *testing.T) {
			n := c.notifier(cfg)
			workertest.TestNotifier(t, func(t *testing.T) worker.Notifier { return n })
			until(t, "all channels to be given up", func() bool {
				return c.channels("CHANNELS") == 0 && c.channels("SHARDCHANNELS") == 0
			})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for i := range 20 {
				_, err := n.Subscribe(ctx, fmt.Sprint("t", i), "")
				require.NoError(t, err)
			}
			require.Equal(t, cfg.Channel == nil, c.channels("SHARDCHANNELS") > 0)
			require.Equal(t, cfg.Channel != nil, c.channels("CHANNELS") > 0)
		})
	}
}

func TestStatusStoreKeepsTheContractOnACluster(t *testing.T) {
	c := startCluster(t)
	store, err := redisstatus.New(c.connect(), redisstatus.Config{})
	require.NoError(t, err)
	workertest.TestStatusStore(t, func(*testing.T) worker.StatusStore { return store })
}

// progress is the nth status of a topic's job.
func progress(topic string, n int) worker.Status {
	return worker.Status{
		JobID: topic, Type: "test", Queue: "default", Topic: topic, State: worker.StateRunning,
		Version: int64(n)<<14 | 1<<12, Message: fmt.Sprint(n), At: time.UnixMilli(1_763_930_000_000).UTC(),
	}
}

// readProgress reads a topic's statuses from the first to the last, each once.
func readProgress(t *testing.T, events <-chan worker.Event, last int) {
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	for want := 1; want <= last; {
		select {
		case e := <-events:
			if e.CaughtUp {
				continue
			}
			if e.Status == nil || e.Status.Message != fmt.Sprint(want) {
				t.Errorf("the event is %+v, want status %d", e, want)
				return
			}
			want++
		case <-patience.C:
			t.Errorf("status %d did not come", want)
			return
		}
	}
}

// Topics' slots move to other nodes and subscribers' connections are killed while events flow: everybody reads every
// event once, in order.
func TestNothingIsMissedWhileSlotsMove(t *testing.T) {
	const topics, events = 6, 300
	for name, channel := range map[string]func(string) string{
		"sharded": nil, "ordinary": func(topic string) string { return "news:" + topic },
	} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t)
			n := c.notifier(redisnotify.Config{
				Channel: channel, LogSize: 2 * events, Logger: slog.New(slog.DiscardHandler),
			})
			var work sync.WaitGroup
			for i := range topics {
				topic := fmt.Sprint("t", i)
				stream, err := n.Subscribe(t.Context(), topic, "")
				require.NoError(t, err)
				work.Go(func() { readProgress(t, stream, events) })
				work.Go(func() {
					for i := 1; i <= events; i++ {
						for n.Notify(t.Context(), progress(topic, i)) != nil && t.Context().Err() == nil {
							time.Sleep(10 * time.Millisecond) // while the slot is on its way
						}
						time.Sleep(5 * time.Millisecond) // so that the moves happen in between
					}
				})
			}
			for i := range topics {
				slot := c.topicSlot(fmt.Sprint("t", i))
				from := (slot*len(c.nodes) + len(c.nodes) - 1) / slotCount
				c.move(slot, from, (from+1)%len(c.nodes), 20*time.Millisecond)
				for _, node := range c.nodes {
					c.ask(node, "CLIENT", "KILL", "TYPE", "pubsub")
				}
			}
			work.Wait()
		})
	}
}

// A thousand topics use no connection of their own beside the client's when channels are sharded.
func TestShardedTopicsShareTheClientsConnections(t *testing.T) {
	const topics = 1_000
	c := startCluster(t)
	n := c.notifier(redisnotify.Config{})
	require.NoError(t, n.Notify(t.Context(), progress("t0", 1)))
	connections := func() (total int) {
		for _, node := range c.nodes {
			total += strings.Count(c.ask(node, "CLIENT", "LIST"), "id=")
		}
		return total
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var streams []<-chan worker.Event
	for i := range topics {
		stream, err := n.Subscribe(ctx, fmt.Sprint("t", i), "")
		require.NoError(t, err)
		streams = append(streams, stream)
	}
	require.Equal(t, topics, c.channels("SHARDCHANNELS"))
	require.Less(t, connections(), 40, "some for each node, client and peer")
	for i := range topics {
		require.NoError(t, n.Notify(t.Context(), progress(fmt.Sprint("t", i), 1)))
	}
	for _, stream := range streams {
		readProgress(t, stream, 1)
	}
	cancel()
	until(t, "all channels to be given up", func() bool { return c.channels("SHARDCHANNELS") == 0 })
}
