package redisnotify_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/redisnotify"
)

// pubsubs is how many connections the server has that subscribe.
func (s *server) pubsubs() int {
	s.t.Helper()
	return strings.Count(s.text("CLIENT", "LIST", "TYPE", "pubsub"), "id=")
}

// While the subscribing connection is killed again and again, every subscriber reads every event once, in order.
func TestNothingIsMissedOrReadTwiceWhenConnectionsBreak(t *testing.T) {
	const topics, readers, events = 5, 4, 400
	s := onReal(t)
	cfg, book := quiet()
	cfg.LogSize = events
	n := s.notifier(cfg)
	ctx, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	var killed int64
	work.Go(func() {
		for ctx.Err() == nil {
			count, _ := s.client.Do(ctx, s.client.B().Arbitrary("CLIENT", "KILL", "TYPE", "pubsub").Build()).AsInt64()
			killed += count
			time.Sleep(3 * time.Millisecond) // the kills' pace; nothing waits for it
		}
	})
	var subs []*subscription
	var want [][]string
	for topic := range topics {
		name := fmt.Sprint("t", topic)
		all := statuses(name, "a", 1, events)
		for range readers {
			sub := subscribe(t, n, name, "")
			sub.reads("caught up")
			subs, want = append(subs, sub), append(want, messages(all...))
		}
		work.Go(func() {
			for _, st := range all {
				if err := n.Notify(ctx, st); err != nil {
					t.Errorf("notify: %v", err)
				}
				time.Sleep(time.Millisecond) // so that the events are spread over the kills
			}
		})
	}
	for i, sub := range subs {
		sub.reads(want[i]...)
	}
	stop()
	work.Wait()
	require.Greater(t, killed, int64(5))
	require.Positive(t, book.count("connection broke"))
	until(t, "the connection to work again", func() bool { return s.pubsubs() == 1 })
	for topic := range topics {
		notify(t, n, status(fmt.Sprint("t", topic), "a", events+1))
	}
	for _, sub := range subs {
		sub.reads(fmt.Sprint("a ", events+1))
	}
}

func TestARestartWithoutDataIsAReset(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	n := s.notifier(cfg)
	sub, empty := subscribe(t, n, "t", ""), subscribe(t, n, "empty", "")
	notify(t, n, statuses("t", "a", 1, 3)...)
	at := sub.reads("caught up", "a 1", "a 2", "a 3")
	empty.reads("caught up")
	s.real.Kill()
	require.Error(t, n.Notify(context.Background(), status("t", "a", 4)))
	s.real.Restart()
	until(t, "Redis to take events again", func() bool {
		return n.Notify(context.Background(), status("t", "a", 5)) == nil
	})
	require.Greater(t, sub.reads("reset", "a 5"), at)
	notify(t, n, status("empty", "a", 1))
	empty.reads("a 1")
}

// Nothing has happened to a topic without events when a connection breaks.
func TestABrokenConnectionIsNoResetForAnEmptyTopic(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	n := s.notifier(cfg)
	sub := subscribe(t, n, "t", "")
	sub.reads("caught up")
	for range 3 {
		s.ok("CONFIG", "RESETSTAT")
		s.ok("CLIENT", "KILL", "TYPE", "pubsub")
		until(t, "the log to be read", func() bool {
			return strings.Contains(s.text("INFO", "commandstats"), "cmdstat_evalsha:calls=1,")
		})
	}
	notify(t, n, status("t", "a", 1))
	sub.reads("a 1")
}

func TestARestartWithDataIsNone(t *testing.T) {
	s := onReal(t, "--appendonly", "yes", "--appendfsync", "always")
	cfg, _ := quiet()
	n := s.notifier(cfg)
	sub := subscribe(t, n, "t", "")
	notify(t, n, status("t", "a", 1))
	sub.reads("caught up", "a 1")
	s.real.Restart()
	until(t, "Redis to take events again", func() bool {
		return n.Notify(context.Background(), status("t", "a", 2)) == nil
	})
	sub.reads("a 2")
}

func TestCallsEndSoonWhenRedisIsDown(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	waiting := subscribe(t, s.notifier(cfg), "t", "")
	waiting.reads("caught up")
	cfg.Timeout = 200 * time.Millisecond // for what must fail
	n := s.notifier(cfg)
	s.real.Kill()
	promptly(t, func() { require.Error(t, n.Notify(context.Background(), status("t", "a", 1))) })
	promptly(t, func() {
		_, err := n.Subscribe(context.Background(), "u", "")
		require.ErrorContains(t, err, `subscribe to topic "u"`)
	})
	s.real.Restart()
	until(t, "a subscription", func() bool {
		events, err := n.Subscribe(context.Background(), "u", "")
		return err == nil && events != nil
	})
	until(t, "an event to be taken", func() bool { return n.Notify(context.Background(), status("t", "a", 1)) == nil })
	waiting.reads("a 1")
}

// A server that hangs closes no connection: calls end by their timeout, and the ping finds it out.
func TestAServerThatHangsIsNoticed(t *testing.T) {
	s := onReal(t)
	cfg, book := quiet()
	cfg.Timeout, cfg.Ping = time.Second, 50*time.Millisecond
	n := s.notifier(cfg)
	waiting := subscribe(t, n, "t", "")
	waiting.reads("caught up")
	s.real.Pause()
	promptly(t, func() { require.Error(t, n.Notify(context.Background(), status("t", "a", 1))) })
	promptly(t, func() {
		_, err := n.Subscribe(context.Background(), "u", "")
		require.Error(t, err)
	})
	until(t, "the ping to notice", func() bool { return book.count("connection broke") == 1 })
	s.real.Resume()
	until(t, "an event to be taken", func() bool { return n.Notify(context.Background(), status("t", "a", 2)) == nil })
	e := waiting.next() // the timed out one may have been executed after all
	if e.Status.Message == "a 1" {
		e = waiting.next()
	}
	require.Equal(t, "a 2", e.Status.Message)
	until(t, "it to be told", func() bool { return book.count("connection works again") == 1 })
}

// promptly fails the test when do takes as long as only something without a timeout does.
func promptly(t *testing.T, do func()) {
	t.Helper()
	start := time.Now()
	do()
	require.Less(t, time.Since(start), patience)
}

func TestOneConnectionServesAThousandTopics(t *testing.T) {
	const topics = 1_000
	s := onReal(t)
	n := s.notifier(redisnotify.Config{})
	subs := make([]*subscription, 2*topics)
	for i := range subs {
		subs[i] = subscribe(t, n, fmt.Sprint("t", i%topics), "")
	}
	require.Equal(t, 1, s.pubsubs())
	for i := range topics {
		notify(t, n, status(fmt.Sprint("t", i), "a", 1))
	}
	for _, sub := range subs {
		sub.reads("caught up", "a 1")
	}
	channels := func() int {
		names, err := s.ok("PUBSUB", "CHANNELS").AsStrSlice()
		require.NoError(t, err)
		return len(names)
	}
	require.Equal(t, topics, channels())
	s.ok("CLIENT", "KILL", "TYPE", "pubsub")
	for i := range topics {
		notify(t, n, status(fmt.Sprint("t", i), "a", 2))
	}
	for _, sub := range subs {
		sub.reads("a 2")
	}
	for i, sub := range subs {
		if i != 7 {
			sub.end()
			sub.closed()
		}
	}
	until(t, "the topics to be given up", func() bool { return channels() == 1 })
	notify(t, n, status("t7", "a", 3))
	subs[7].reads("a 3")
	require.Equal(t, 1, s.pubsubs())
}

// Subscribers of a few topics come and go at once; whoever stays hears everything.
func TestSubscribersThatComeAndGoDisturbNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{LogSize: 1_000})
		var work sync.WaitGroup
		for worker := range 8 {
			work.Go(func() {
				topic := fmt.Sprint("t", worker%2)
				for i := range 60 {
					ctx, cancel := context.WithCancel(context.Background())
					events, err := n.Subscribe(ctx, topic, "")
					if err != nil {
						t.Errorf("subscribe: %v", err)
						cancel()
						return
					}
					id := fmt.Sprint("job", worker, "-", i)
					if err := n.Notify(ctx, status(topic, id, 1)); err != nil {
						t.Errorf("notify: %v", err)
					}
					heard(t, events, id)
					cancel()
				}
			})
		}
		work.Wait()
	})
}

// heard waits for an event of a job.
func heard(t *testing.T, events <-chan event, job string) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case e := <-events:
			if e.Status != nil && e.Status.JobID == job {
				return
			}
		case <-timer.C:
			t.Errorf("job %s was not heard of", job)
			return
		}
	}
}

// A message that got lost is found missing with the next one.
func TestALostMessageIsHealedByTheNext(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		lossy := s.notifier(redisnotify.Config{Channel: func(topic string) string { return "nowhere" }})
		sub := subscribe(t, n, "t", "")
		sub.reads("caught up")
		notify(t, lossy, status("t", "a", 1)) // into the same log, but nobody hears it
		notify(t, n, status("t", "a", 2))
		sub.reads("a 1", "a 2")
		notify(t, lossy, statuses("t", "a", 3, 5)...)
		notify(t, n, statuses("t", "a", 6, 8)...)
		sub.reads("a 3", "a 4", "a 5", "a 6", "a 7", "a 8")
	})
}

func TestLogsThatCannotBeReadAreToldOnce(t *testing.T) {
	s := onReal(t)
	cfg, book := quiet()
	n := s.notifier(cfg)
	lossy := s.notifier(redisnotify.Config{
		Channel: func(topic string) string { return "nowhere" }, Logger: slog.New(slog.DiscardHandler),
	})
	sub := subscribe(t, n, "t", "")
	notify(t, n, status("t", "a", 1))
	sub.reads("caught up", "a 1")
	notify(t, lossy, status("t", "a", 2))
	s.ok("RENAME", logKey("t"), "aside")
	s.ok("SET", logKey("t"), "by another")
	s.ok("PUBLISH", n.Channel("t"), `{"position":"9000000000000001","after":"9000000000000000","status":{}}`)
	until(t, "it to be told", func() bool { return book.count("cannot be read") == 1 })
	s.ok("RENAME", "aside", logKey("t"))
	sub.reads("a 2")
	require.Equal(t, 1, book.count("cannot be read"))
	until(t, "it to be told", func() bool { return book.count("can be read again") == 1 })
}

// hanging is a client whose single commands, once armed, end with their context only.
type hanging struct {
	rueidis.Client
	armed chan struct{} // closed to arm it
	hangs chan struct{} // closed when the first command hangs
	once  sync.Once
}

func (h *hanging) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	select {
	case <-h.armed:
		h.once.Do(func() { close(h.hangs) })
		<-ctx.Done()
	default:
	}
	return h.Client.Do(ctx, command)
}

// A reading of the log that Close cuts short is no trouble that anybody need know of.
func TestCloseIsNoTroubleWithLogs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		client := &hanging{Client: s.client, armed: make(chan struct{}), hangs: make(chan struct{})}
		n, err := redisnotify.New(client, cfg)
		require.NoError(t, err)
		sub := subscribe(t, n, "t", "")
		sub.reads("caught up")
		close(client.armed)
		s.ok("PUBLISH", n.Channel("t"), `{"position":"2","after":"1","status":{}}`) // sends the reader to the log
		receive(t, client.hangs)
		n.Close()
		sub.closed()
		require.Zero(t, book.count(""), book.messages)
	})
}

func TestNotifyIsRefusedWhenMemoryIsOut(t *testing.T) {
	s := onReal(t)
	n := s.notifier(redisnotify.Config{})
	sub := subscribe(t, n, "t", "")
	notify(t, n, status("t", "a", 1))
	s.ok("CONFIG", "SET", "maxmemory", "1")
	require.ErrorContains(t, n.Notify(context.Background(), status("t", "a", 2)), "OOM")
	subscribe(t, n, "t", "").reads("a 1", "caught up")
	s.ok("CONFIG", "SET", "maxmemory", "0")
	notify(t, n, status("t", "a", 3))
	sub.reads("caught up", "a 1", "a 3")
}

// Against a cluster of one node without sharded channels, keys of several topics in one command would be an error.
func TestOldClusters(t *testing.T) {
	s := onMini(t)
	client := s.connect(func(o *rueidis.ClientOption) { o.ForceSingleClient = false })
	require.Equal(t, rueidis.ClientModeCluster, client.Mode())
	n, err := redisnotify.New(client, redisnotify.Config{})
	require.NoError(t, err)
	defer n.Close()
	a, b := subscribe(t, n, "a", ""), subscribe(t, n, "b", "")
	notify(t, n, status("a", "x", 1), status("b", "x", 1), status("a", "x", 2))
	a.reads("caught up", "x 1", "x 2")
	b.reads("caught up", "x 1")
}
