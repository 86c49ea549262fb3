package redisnotify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// item is what waits for a reader: an event of the log, or another program's message.
type item struct {
	entry *entry
	plain string
}

// reader is one subscriber of a topic. It delivers what the log holds and then what comes live, and goes back to the log
// whenever it cannot be sure that nothing lies between the two.
type reader struct {
	feed *feed
	out  chan worker.Event

	// Only the goroutine that delivers uses these.
	at      int64  // position of the last delivered event; 0 before the first one
	started bool   // CaughtUp was delivered
	pending []item // taken from the queue

	mu        sync.Mutex
	queue     []item // at most Config.Buffer
	stale     bool   // the log is to be read: events are not queued
	lostPlain bool   // messages that the log doesn't have were dropped
	wake      chan struct{}
}

func newReader(f *feed, at int64) *reader {
	return &reader{feed: f, out: make(chan worker.Event), at: at, wake: make(chan struct{}, 1)}
}

// push queues what came live. A reader that doesn't keep up loses its queue and is sent to the log. One that is on its
// way there needs no events, as the log has them.
func (r *reader) push(it item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := len(r.queue) == r.feed.hub.config.Buffer
	switch {
	case r.stale && it.entry != nil:
	case !full:
		r.queue = append(r.queue, it)
	default:
		r.lostPlain = r.lostPlain || isPlain(it) || slices.ContainsFunc(r.queue, isPlain)
		r.queue, r.stale = nil, true
	}
	r.wakeUp()
}

func isPlain(it item) bool { return it.entry == nil }
func isEvent(it item) bool { return it.entry != nil }

// resync sends the reader to the log.
func (r *reader) resync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stale = true
	r.wakeUp()
}

func (r *reader) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// start returns what the log holds, read after the subscription was confirmed: whatever is missing in it will come live.
func (r *reader) start(ctx context.Context) ([]*entry, error) {
	if err := r.feed.awaitLive(ctx); err != nil {
		return nil, fmt.Errorf("wait for the subscription: %w", err)
	}
	r.restart()
	return r.feed.read(ctx)
}

// run delivers until ctx or the hub ends. It begins with what the log held when the reader subscribed. It looks at both
// ends itself: there may be thousands of readers, and a context for the two would cost each half a kilobyte.
func (r *reader) run(ctx context.Context, held []*entry) {
	defer close(r.out)
	ok := r.catchUp(ctx, held)
	for ok {
		ok = r.step(ctx)
	}
}

// step delivers one thing and reports whether there is to be another.
func (r *reader) step(ctx context.Context) bool {
	stale, ok := r.await(ctx)
	switch {
	case !ok:
		return false
	case stale:
		return r.sync(ctx)
	}
	it := r.pending[0]
	r.pending = r.pending[1:]
	switch {
	case isPlain(it):
		return r.send(ctx, worker.Event{Plain: []byte(it.plain)})
	case r.follows(it.entry):
		return r.deliver(ctx, it.entry)
	case r.passed(it.entry):
		return true
	}
	return r.sync(ctx)
}

// await waits until something is pending, or the reader is to go to the log. It reports false when ctx has ended.
func (r *reader) await(ctx context.Context) (stale, ok bool) {
	for {
		r.mu.Lock()
		stale = r.stale
		if !stale && len(r.pending) == 0 {
			r.pending, r.queue = r.queue, nil
		}
		r.mu.Unlock()
		if stale || len(r.pending) > 0 {
			return stale, true
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return false, false
		case <-r.feed.hub.ctx.Done():
			return false, false
		}
	}
}

// follows reports whether a live event comes directly after the last delivered one. A log's first event does when the
// log may have expired in between: the subscription stood all the time, so nothing else was published.
func (r *reader) follows(e *entry) bool {
	if e.after == r.at {
		return true
	}
	return e.after == 0 && r.at > 0 && e.position-r.at >= r.feed.hub.config.leastTTL().Microseconds()
}

// passed reports whether a live event was delivered before, from the log. A log's first event behind the reader's
// position may also come from a log that was lost, on a server whose clock went back.
func (r *reader) passed(e *entry) bool {
	return e.position == r.at || e.position < r.at && e.after > 0
}

// sync delivers what the log has after the last delivered event.
func (r *reader) sync(ctx context.Context) bool {
	lostPlain := false
	for try := 1; ; try++ {
		lostPlain = r.restart() || lostPlain
		held, err := r.feed.read(ctx)
		if err == nil {
			r.feed.hub.readWorked()
			if lostPlain && !r.send(ctx, worker.Event{Reset: true}) {
				return false
			}
			return r.catchUp(ctx, held)
		}
		if ctx.Err() != nil || r.feed.hub.ctx.Err() != nil {
			return false
		}
		r.feed.hub.readFailed(err)
		select {
		case <-ctx.Done():
			return false
		case <-r.feed.hub.ctx.Done():
			return false
		case <-time.After(backoff(try, rand.Int64N)):
		}
	}
}

// restart keeps what comes from now on, and of what waits only what the log doesn't have. It reports whether such a
// message was dropped.
func (r *reader) restart() (lostPlain bool) {
	r.pending = slices.DeleteFunc(r.pending, isEvent)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = slices.DeleteFunc(r.queue, isEvent)
	lostPlain = r.lostPlain
	r.stale, r.lostPlain = false, false
	return lostPlain
}

// catchUp delivers what of the log comes after the last delivered event, all of it behind a Reset when there may be
// something missing, and the first time CaughtUp behind it.
func (r *reader) catchUp(ctx context.Context, held []*entry) bool {
	from, ok := r.place(held)
	if !ok {
		r.at = 0
		if !r.send(ctx, worker.Event{Reset: true}) {
			return false
		}
	}
	for _, e := range held[from:] {
		if !r.deliver(ctx, e) {
			return false
		}
	}
	if r.started {
		return true
	}
	r.started = true
	return r.send(ctx, worker.Event{CaughtUp: true, Position: formatPosition(r.at)})
}

// place returns where in the log the reader goes on, and false when the log doesn't tell. To a reader without a position
// an empty log says that nothing has happened: what was told and lost while it was away leaves no trace, and a Reset
// whenever a connection breaks would be worse.
func (r *reader) place(held []*entry) (from int, ok bool) {
	if i := slices.IndexFunc(held, func(e *entry) bool { return e.position == r.at }); i >= 0 {
		return i + 1, true
	}
	if r.at == 0 && (!r.started || len(held) == 0) {
		return 0, true
	}
	return 0, len(held) > 0 && held[0].after == r.at
}

// deliver hands out one event of the log. One that cannot be read is missing, which is a Reset.
func (r *reader) deliver(ctx context.Context, e *entry) bool {
	r.at = e.position
	s := e.status()
	return r.send(ctx, worker.Event{Position: formatPosition(e.position), Status: s, Reset: s == nil})
}

func (r *reader) send(ctx context.Context, e worker.Event) bool {
	select {
	case r.out <- e:
		return true
	case <-ctx.Done():
		return false
	case <-r.feed.hub.ctx.Done():
		return false
	}
}
