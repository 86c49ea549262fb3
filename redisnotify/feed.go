package redisnotify

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxAnnounced is how many of the host's messages a feed awaits at most. They follow their events at once.
const maxAnnounced = 256

// feed is one topic that this process subscribes to, shared by its readers.
type feed struct {
	hub      *hub
	topic    string
	log      string   // the log's key
	channels []string // the topic's own one last

	mu        sync.Mutex
	readers   map[*reader]struct{}
	live      chan struct{} // closed while the server confirms the subscription
	announced []string      // digests of the host's messages that are to come
	running   *lookup       // of the log
	next      *lookup       // begins when running has ended
}

func newFeed(h *hub, topic string) *feed {
	n := h.names(topic)
	return &feed{
		hub: h, topic: topic, log: n.log(), channels: h.channelsOf(topic),
		readers: make(map[*reader]struct{}), live: make(chan struct{}),
	}
}

// add takes a reader in. It hears whatever comes from now on.
func (f *feed) add(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[r] = struct{}{}
}

// remove lets a reader go and reports whether it was the last one.
func (f *feed) remove(r *reader) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, r)
	return len(f.readers) == 0
}

// awaitLive waits until the server has confirmed the subscription.
func (f *feed) awaitLive(ctx context.Context) error {
	f.mu.Lock()
	live := f.live
	f.mu.Unlock()
	select {
	case <-live:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// confirmed is called when the server has confirmed a subscription to one of the channels. With the last one the feed
// is live, and all that was missed until now is in the log: every reader goes there.
func (f *feed) confirmed(channel string) {
	if channel != f.channels[len(f.channels)-1] {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.announced = nil
	select {
	case <-f.live:
	default:
		close(f.live)
	}
	for r := range f.readers {
		r.resync()
	}
}

// cut is called when the subscription is gone: whoever comes waits for a new confirmation.
func (f *feed) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.live:
		f.live = make(chan struct{})
	default:
	}
}

// receive hands a message to all readers, without ever waiting for one.
func (f *feed) receive(channel, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	it := item{plain: text}
	if e, ok := parseEntry(text); ok {
		it = item{entry: e}
		f.hub.saw(e.position)
		f.announceLocked(e.digest)
	} else if f.ownLocked(channel, text) {
		return
	}
	for r := range f.readers {
		r.push(it)
	}
}

func (f *feed) announceLocked(digest string) {
	if digest == "" {
		return
	}
	if len(f.announced) == maxAnnounced {
		f.announced = slices.Delete(f.announced, 0, 1)
	}
	f.announced = append(f.announced, digest)
}

// ownLocked reports whether a message is the host's own about an event that came just before it.
func (f *feed) ownLocked(channel, text string) bool {
	if len(f.announced) == 0 || channel != f.channels[len(f.channels)-1] {
		return false
	}
	i := slices.Index(f.announced, string(appendDigest(nil, []byte(text))))
	if i < 0 {
		return false
	}
	f.announced = slices.Delete(f.announced, 0, i+1) // those before it were lost on their way
	return true
}

// lookup is one reading of the log, shared by all readers who asked before it began.
type lookup struct {
	done    chan struct{} // closed when the fields below are set
	entries []*entry
	err     error
}

// read returns what the log holds, oldest first, as of a moment after the call.
func (f *feed) read(ctx context.Context) ([]*entry, error) {
	l, err := f.join()
	if err != nil {
		return nil, err
	}
	select {
	case <-l.done:
		return l.entries, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// join finds a reading that has not begun yet.
func (f *feed) join() (*lookup, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != nil {
		return f.next, nil
	}
	l := &lookup{done: make(chan struct{})}
	if f.running != nil {
		f.next = l
		return l, nil
	}
	if !f.hub.spawn(f.lookups) {
		return nil, errClosed
	}
	f.running = l
	return l, nil
}

// lookups reads the log until nobody has asked again.
func (f *feed) lookups() {
	f.mu.Lock()
	l := f.running
	f.mu.Unlock()
	for l != nil {
		l.entries, l.err = f.lookup()
		close(l.done)
		f.mu.Lock()
		f.running, f.next = f.next, nil
		l = f.running
		f.mu.Unlock()
	}
}

func (f *feed) lookup() ([]*entry, error) {
	ctx, cancel := context.WithTimeout(f.hub.ctx, f.hub.config.Timeout)
	defer cancel()
	reply, err := readScript.Run(ctx, f.hub.client, []string{f.log}, nil)
	if err != nil {
		return nil, fmt.Errorf("read the log of topic %q: %w", f.topic, err)
	}
	texts, err := reply.AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("read the log of topic %q: %w", f.topic, err)
	}
	return chain(texts), nil
}

// chain returns the entries that follow each other without a gap up to the last one: the whole log, unless somebody
// meddled with it.
func chain(texts []string) []*entry {
	entries := make([]*entry, 0, len(texts))
	for _, text := range texts {
		e, ok := parseEntry(text)
		if !ok {
			entries = entries[:0]
			continue
		}
		if n := len(entries); n > 0 && entries[n-1].position != e.after {
			entries = entries[:0]
		}
		entries = append(entries, e)
	}
	return entries
}

// backoff is how long to wait before the nth try, with half of it left to chance.
func backoff(try int, dice func(int64) int64) time.Duration {
	const base, most = 50 * time.Millisecond, 2 * time.Second
	d := min(base<<min(try-1, 10), most)
	return d/2 + time.Duration(dice(int64(d/2)+1))
}
