package redisnotify

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// shardedLine subscribes to the sharded channels of a cluster, each on the node that owns its slot. It needs no
// connection of its own: the client's are shared, and it is the client that follows slots to other nodes.
type shardedLine struct {
	hub *hub

	mu    sync.Mutex
	tails map[string]*tail // by topic
}

// tail is one topic's subscription.
type tail struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newShardedLine(h *hub) *shardedLine {
	return &shardedLine{hub: h, tails: make(map[string]*tail)}
}

// watch begins when the topic's last subscription has ended, which would else end the new one with it.
func (l *shardedLine) watch(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.tails[f.topic]
	ctx, cancel := context.WithCancel(l.hub.ctx)
	t := &tail{cancel: cancel, done: make(chan struct{})}
	l.tails[f.topic] = t
	run := func() {
		defer l.ended(f.topic, t)
		if before != nil {
			<-before.done
		}
		l.follow(ctx, f)
	}
	if !l.hub.spawn(run) {
		l.endedLocked(f.topic, t)
	}
}

func (l *shardedLine) unwatch(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.tails[f.topic]; t != nil {
		t.cancel()
	}
}

func (l *shardedLine) ended(topic string, t *tail) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endedLocked(topic, t)
}

func (l *shardedLine) endedLocked(topic string, t *tail) {
	t.cancel()
	close(t.done)
	if l.tails[topic] == t {
		delete(l.tails, topic)
	}
}

// follow keeps a topic's subscription until ctx ends.
func (l *shardedLine) follow(ctx context.Context, f *feed) {
	for try := 1; ctx.Err() == nil; try++ {
		begun := time.Now()
		err := l.receive(ctx, f)
		f.cut()
		if time.Since(begun) > time.Second { // it has worked
			try = 0
		}
		if ctx.Err() != nil {
			return
		}
		l.hub.log.Debug("a sharded subscription ended: it begins again", "topic", f.topic, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff(try+1, rand.Int64N)):
		}
	}
}

func (l *shardedLine) receive(ctx context.Context, f *feed) error {
	client := l.hub.client
	onChange := func(s rueidis.PubSubSubscription) {
		if s.Kind == "ssubscribe" {
			f.confirmed(s.Channel)
		}
	}
	// The client keeps the server's side of a subscription; what is not ended there would be sent for ever.
	atEnd := func(err error, node rueidis.CommandClient) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.hub.config.Timeout)
		defer cancel()
		_ = node.Do(ctx, node.B().Sunsubscribe().Channel(f.channels...).Build())
		return err
	}
	ctx = rueidis.WithOnReceiveReturnHook(rueidis.WithOnSubscriptionHook(ctx, onChange), atEnd)
	return client.Receive(ctx, client.B().Ssubscribe().Channel(f.channels...).Build(), func(m rueidis.PubSubMessage) {
		f.receive(m.Channel, m.Message)
	})
}
