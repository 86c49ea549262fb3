// Package redisnotify is a worker.Notifier and worker.Subscriber on Redis: each topic has a short log and a channel,
// written by one atomic script, so that a subscriber in any process reads what it missed and then what is new.
//
// A subscriber reads a topic's events in order, each once, also when its connection breaks or it cannot keep up: it then
// goes back to the log. When the log no longer holds what it missed, because of its size, its age, or because Redis lost
// its data, it gets a Reset in that place and then all that the log holds.
//
// A subscriber that has met no event of its topic yet has no position that the log could lack. While its connection is
// broken, an empty log looks to it as if nothing had happened: of a topic's first events that are told and lost within
// that time, with Redis's data or by their age, it hears nothing and gets no Reset.
//
// Applications that share a server need a Namespace each, also when they use different databases of it: channels have
// no database.
//
// Positions are short texts of digits. Within a topic they rise, also after Redis lost its data.
//
// # Channels of the host
//
// Config.Channel and Config.Message keep a host's own channels and bytes alive for subscribers that know nothing of this
// package. What is published on a topic's channel by anybody else reaches subscribers as a live Event.Plain without a
// position. It isn't kept: one that is published while a subscriber's connection is broken is lost, as it is for every
// subscriber of a Redis channel, and one that had to be dropped for a subscriber that doesn't read is replaced by a
// Reset.
//
// With Config.Message each status is published twice: as an event on a channel of this package, with a digest of the
// host's bytes, and directly behind it as those bytes on the topic's channel. So subscribers know which of the bytes on
// that channel are about an event that they have, and drop them. A foreign message is taken for one of these only if it
// has the same bytes and comes while they are under way.
package redisnotify

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// Notifier tells the subscribers of all processes what became of jobs. It is safe for concurrent use.
//
// It has a goroutine and a connection from the first Subscribe to Close; Notify needs neither.
type Notifier struct {
	hub *hub

	mu     sync.Mutex
	probed bool // sharded is known
	shards bool
}

var (
	_ worker.Notifier   = (*Notifier)(nil)
	_ worker.Resetter   = (*Notifier)(nil)
	_ worker.Subscriber = (*Notifier)(nil)
	_ worker.Pinger     = (*Notifier)(nil)
)

// New returns a Notifier that uses client, which stays the caller's and must live until Close has returned. An error
// lists all that is wrong. Nothing is sent yet.
func New(client rueidis.Client, cfg Config) (*Notifier, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(client); err != nil {
		return nil, fmt.Errorf("new Redis notifier: %w", err)
	}
	return &Notifier{hub: newHub(client, cfg)}, nil
}

// Close ends all subscriptions, closes their channels and the subscribing connection, and returns when no goroutine of
// the Notifier runs any more. While the client is opening a connection to a server that hangs, that takes as long as the
// client lets it. Notify goes on working. Closing twice is closing once.
func (n *Notifier) Close() { n.hub.close() }

// Ping asks whether the server answers, for as long as Config.Timeout. Of a cluster one node is asked, always the
// same. It says nothing of the subscribing connection, which is opened again by itself.
func (n *Notifier) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.hub.config.Timeout)
	defer cancel()
	client := n.hub.client
	key := n.hub.names("ping").log() // no topic's, mostly: it makes no difference
	if err := client.Do(ctx, client.B().Exists().Key(key).Build()).Error(); err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// Channel returns the name of the channel that belongs to a topic: where other programs may publish plain messages, and
// where the host's own messages go.
func (n *Notifier) Channel(topic string) string { return n.hub.channel(topic) }

// Subscribe implements worker.Subscriber. It returns when the subscription stands and the log was read, or an error if
// that doesn't come about within Config.Timeout. Later trouble closes no channel: the subscriber waits until Redis is
// back and goes on from its position. The channel is closed when ctx ends, or by Close.
//
// The Status of an event is shared with other subscribers, so it is read only; it never carries its Job.
func (n *Notifier) Subscribe(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
	events, err := n.subscribe(ctx, topic, after)
	if err != nil {
		return nil, fmt.Errorf("subscribe to topic %q: %w", topic, err)
	}
	return events, nil
}

func (n *Notifier) subscribe(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
	if err := checkTopic(topic); err != nil {
		return nil, err
	}
	h := n.hub
	if h.ctx.Err() != nil {
		return nil, errClosed
	}
	starting, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	sharded, err := n.sharded(starting)
	if err != nil {
		return nil, err
	}
	r, err := h.join(topic, after, sharded)
	if err != nil {
		return nil, err
	}
	held, err := r.start(starting)
	if err == nil && !h.spawn(func() { h.serve(ctx, r, held) }) {
		err = errClosed
	}
	if err != nil {
		h.leave(r)
		return nil, err
	}
	return r.out, nil
}

// sharded reports whether topics are published on sharded channels: on a cluster whose servers have them, unless the
// host names the channels. It asks once. Processes of different answers don't hear each other: restart those that
// began before a cluster was brought from version 6 to 7.
func (n *Notifier) sharded(ctx context.Context) (bool, error) {
	client := n.hub.client
	if n.hub.config.Channel != nil || client.Mode() != rueidis.ClientModeCluster {
		return false, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.probed {
		return n.shards, nil
	}
	err := client.Do(ctx, client.B().PubsubShardnumsub().Build()).Error()
	if _, refused := rueidis.IsRedisErr(err); err != nil && !refused {
		return false, fmt.Errorf("ask for sharded channels: %w", err)
	}
	n.probed, n.shards = true, err == nil
	return n.shards, nil
}

// errNotRedis is the answer to a reply that a script must not give.
var errNotRedis = errors.New("unexpected reply")
