package redisnotify

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// maxChannels is how many channels one command names. It is even, so that the two of a topic stay together.
const maxChannels = 500

// dedicatedLine subscribes to ordinary channels on one connection of its own. A single goroutine sends all commands, so
// that topics that come and go in quick succession end as they should; when the connection breaks, the next one
// subscribes to whatever is wanted then.
type dedicatedLine struct {
	hub *hub

	mu      sync.Mutex
	wanted  map[string][]string // topic → its channels
	changed map[string]bool     // topics that the connection may not know about
	nudge   chan struct{}       // something changed
}

func newDedicatedLine(h *hub) *dedicatedLine {
	l := &dedicatedLine{
		hub: h, wanted: make(map[string][]string), changed: make(map[string]bool), nudge: make(chan struct{}, 1),
	}
	h.spawn(l.run)
	return l
}

func (l *dedicatedLine) watch(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted[f.topic] = f.channels
	l.changeLocked(f.topic)
}

func (l *dedicatedLine) unwatch(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wanted, f.topic)
	l.changeLocked(f.topic)
}

func (l *dedicatedLine) changeLocked(topic string) {
	l.changed[topic] = true
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// run keeps a connection until the hub ends.
func (l *dedicatedLine) run() {
	h := l.hub
	down := false
	for try := 1; ; try++ {
		err := l.session(h.ctx, func() {
			if down {
				h.log.Info("the subscription connection works again")
			}
			down, try = false, 0
		})
		h.cutAll()
		if h.ctx.Err() != nil {
			return
		}
		if !down {
			h.log.Warn("the subscription connection broke: subscribers wait for a new one", "error", err)
			down = true
		}
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(backoff(try+1, rand.Int64N)):
		}
	}
}

// session is one connection: it subscribes, and follows what changes, until it breaks or ctx ends. It calls worked when
// the server has answered.
func (l *dedicatedLine) session(ctx context.Context, worked func()) error {
	client, release := l.hub.client.Dedicate()
	defer release()
	defer client.Close() // it has subscriptions: nobody else is to get it
	s := &session{line: l, client: client, sent: make(map[string][]string)}
	defer s.over.Store(true)
	broken := client.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: s.message, OnSubscription: s.subscription})
	ping := time.NewTicker(l.hub.config.Ping)
	defer ping.Stop()
	l.begin()
	if err := s.ping(ctx); err != nil {
		return err
	}
	worked()
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-broken:
			return err
		case <-l.nudge:
			err = s.follow(ctx)
		case <-ping.C:
			err = s.ping(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// begin makes a new connection learn all topics.
func (l *dedicatedLine) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.changed)
	for topic := range l.wanted {
		l.changeLocked(topic)
	}
}

// session is what one connection was told.
type session struct {
	line   *dedicatedLine
	client rueidis.DedicatedClient
	sent   map[string][]string // topic → channels subscribed to
	over   atomic.Bool         // what still comes of it is to be ignored
}

// follow tells the server what changed. A topic that went and came back is subscribed to again, as its new feed waits
// for a confirmation.
func (s *session) follow(ctx context.Context) error {
	var come, gone []string
	l := s.line
	l.mu.Lock()
	for topic := range l.changed {
		if channels, ok := l.wanted[topic]; ok {
			come = append(come, channels...)
			s.sent[topic] = channels
		} else {
			gone = append(gone, s.sent[topic]...)
			delete(s.sent, topic)
		}
	}
	clear(l.changed)
	l.mu.Unlock()
	for part := range slices.Chunk(gone, maxChannels) {
		if err := s.do(ctx, s.client.B().Unsubscribe().Channel(part...).Build()); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(come, maxChannels) {
		if err := s.do(ctx, s.client.B().Subscribe().Channel(part...).Build()); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) ping(ctx context.Context) error {
	return s.do(ctx, s.client.B().Ping().Build())
}

func (s *session) do(ctx context.Context, command rueidis.Completed) error {
	ctx, cancel := context.WithTimeout(ctx, s.line.hub.config.Timeout)
	defer cancel()
	return s.client.Do(ctx, command).Error()
}

// message and subscription are called by the goroutine that reads the connection, and don't wait.
func (s *session) message(m rueidis.PubSubMessage) {
	if f := s.line.hub.feedOf(m.Channel); f != nil && !s.over.Load() {
		f.receive(m.Channel, m.Message)
	}
}

func (s *session) subscription(p rueidis.PubSubSubscription) {
	if f := s.line.hub.feedOf(p.Channel); f != nil && !s.over.Load() && p.Kind == "subscribe" {
		f.confirmed(p.Channel)
	}
}
