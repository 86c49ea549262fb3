package sse

import (
	"errors"
	"slices"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// item is an event of one of a stream's topics, by the topic's index.
type item struct {
	topic int
	event worker.Event
}

// backlog is a bounded list of items. When it is full, statuses that a later one of the same job has replaced leave it.
type backlog struct {
	limit int
	items []item
}

// add appends an item and reports whether there was room. What stays keeps its order, so that the position of each item
// covers all before it.
func (b *backlog) add(it item) bool {
	if len(b.items) >= b.limit {
		b.reduce()
	}
	if len(b.items) >= b.limit && !b.replaces(it) {
		return false
	}
	b.items = append(b.items, it)
	if len(b.items) > b.limit {
		b.reduce()
	}
	return true
}

// replaces reports whether it makes an item of the list superfluous.
func (b *backlog) replaces(it item) bool {
	return it.event.Status != nil && slices.ContainsFunc(b.items, func(old item) bool {
		return old.event.Status != nil && old.event.Status.JobID == it.event.Status.JobID
	})
}

// reduce keeps the newest status of each job, in the place of its last one.
func (b *backlog) reduce() {
	newest := make(map[string]*worker.Status, len(b.items))
	for _, it := range b.items {
		if st := it.event.Status; st != nil && newer(st, newest[st.JobID]) {
			newest[st.JobID] = st
		}
	}
	kept := len(b.items)
	for i := len(b.items) - 1; i >= 0; i-- {
		it := b.items[i]
		if st := it.event.Status; st != nil {
			if it.event.Status = newest[st.JobID]; it.event.Status == nil {
				continue
			}
			newest[st.JobID] = nil
		}
		kept--
		b.items[kept] = it
	}
	b.items = slices.Delete(b.items, 0, kept)
}

// Why a stream that was not at fault has to end. The viewer comes back and goes on where it was.
var (
	errSlowViewer = errors.New("the viewer is too slow")
	errSubscriber = errors.New("the subscription has ended")
)

// inbox hands live events from the goroutines that read the subscriptions to the one that writes the stream.
type inbox struct {
	wake chan struct{} // holds a token while there is something to take

	mu      sync.Mutex
	waiting backlog
	err     error
}

func newInbox(limit int) *inbox {
	return &inbox{wake: make(chan struct{}, 1), waiting: backlog{limit: limit}}
}

// add keeps an item for the writer; false says that the stream is over.
func (in *inbox) add(it item) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil && !in.waiting.add(it) {
		in.err = errSlowViewer
	}
	in.wakeLocked()
	return in.err == nil
}

// fail ends the stream once what waits was written.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.wakeLocked()
}

func (in *inbox) wakeLocked() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// take returns what waits and the error after it. Items that are newer than a slow viewer's limit are lost to this stream:
// the error says so, and the ids of what is returned don't cover them.
func (in *inbox) take() ([]item, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	items := in.waiting.items
	in.waiting.items = nil
	return items, in.err
}
