package redisnotify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// errClosed is the answer of a Notifier that was closed.
var errClosed = errors.New("the notifier is closed")

// hub keeps the topics that this process subscribes to, and owns all goroutines of a Notifier.
type hub struct {
	client rueidis.Client
	config Config
	log    *slog.Logger

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	highest atomic.Int64 // the highest position met
	noReads atomic.Bool  // reading a log failed last

	life   sync.Mutex // no other lock is taken under it
	closed bool
	work   sync.WaitGroup // nothing is added once closed

	mu        sync.RWMutex
	line      line             // nil before the first subscriber
	feeds     map[string]*feed // by topic
	byChannel map[string]*feed
}

// line is a way of subscribing to channels. watch and unwatch are called under the hub's lock, in the order in which
// feeds begin and end, and must not wait.
type line interface {
	watch(f *feed)
	unwatch(f *feed)
}

func newHub(client rueidis.Client, cfg Config) *hub {
	h := &hub{
		client: client, config: cfg, log: cfg.Logger,
		feeds: make(map[string]*feed), byChannel: make(map[string]*feed),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// close ends all goroutines and waits for them.
func (h *hub) close() {
	h.cancel() // first, so that whoever meets errClosed finds the context ended
	h.life.Lock()
	h.closed = true
	h.life.Unlock()
	h.work.Wait()
}

// spawn runs a goroutine that close waits for. It reports false once the hub is closed.
func (h *hub) spawn(run func()) bool {
	h.life.Lock()
	defer h.life.Unlock()
	if h.closed {
		return false
	}
	h.work.Go(run)
	return true
}

func (h *hub) names(topic string) names { return namesOf(h.config.Namespace, topic) }

// channel returns the topic's channel.
func (h *hub) channel(topic string) string {
	if h.config.Channel != nil {
		return h.config.Channel(topic)
	}
	return h.names(topic).channel()
}

// channelsOf returns what a subscriber of the topic listens to. A process that publishes only events listens to both
// channels, too, once the host has names of its own: others may publish the host's messages there.
func (h *hub) channelsOf(topic string) []string {
	if h.config.Channel == nil && h.config.Message == nil {
		return []string{h.channel(topic)}
	}
	return []string{h.names(topic).events(), h.channel(topic)}
}

// join makes a reader of a topic, and the topic's feed with its first one. leave must follow.
func (h *hub) join(topic, after string, sharded bool) (*reader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.feeds[topic]
	if f == nil {
		var err error
		if f, err = h.openLocked(topic, sharded); err != nil {
			return nil, err
		}
	}
	r := newReader(f, parsePosition(after))
	f.add(r)
	return r, nil
}

func (h *hub) openLocked(topic string, sharded bool) (*feed, error) {
	f := newFeed(h, topic)
	for _, channel := range f.channels {
		if other := h.byChannel[channel]; other != nil {
			return nil, fmt.Errorf("channel %q is that of topic %q, too: each topic needs its own", channel, other.topic)
		}
	}
	if h.line == nil {
		h.line = h.newLine(sharded)
	}
	h.feeds[topic] = f
	for _, channel := range f.channels {
		h.byChannel[channel] = f
	}
	h.line.watch(f)
	return f, nil
}

func (h *hub) newLine(sharded bool) line {
	if sharded {
		return newShardedLine(h)
	}
	return newDedicatedLine(h)
}

// serve delivers to a reader until ctx or the hub ends.
func (h *hub) serve(ctx context.Context, r *reader, held []*entry) {
	defer h.leave(r)
	r.run(ctx, held)
}

// leave ends what join began.
func (h *hub) leave(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := r.feed
	if !f.remove(r) {
		return
	}
	delete(h.feeds, f.topic)
	for _, channel := range f.channels {
		delete(h.byChannel, channel)
	}
	h.line.unwatch(f)
}

// feedOf returns the feed that a channel belongs to, nil if nobody listens any more.
func (h *hub) feedOf(channel string) *feed {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byChannel[channel]
}

// saw notes a position, so that those of this process go on from there whatever becomes of the server's clock.
func (h *hub) saw(position int64) {
	for {
		highest := h.highest.Load()
		if position <= highest || h.highest.CompareAndSwap(highest, position) {
			return
		}
	}
}

// readFailed tells of trouble with reading logs, once until one can be read again.
func (h *hub) readFailed(err error) {
	if h.noReads.CompareAndSwap(false, true) {
		h.log.Warn("the log of a topic cannot be read: its subscribers wait", "error", err)
	}
}

func (h *hub) readWorked() {
	if h.noReads.Load() && h.noReads.CompareAndSwap(true, false) {
		h.log.Info("the logs of topics can be read again")
	}
}

// cutAll is called when the connection is gone.
func (h *hub) cutAll() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, f := range h.feeds {
		f.cut()
	}
}
