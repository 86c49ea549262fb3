package worker

import (
	"slices"
	"sync"
)

// maxBatch is the most that one call to a queue or store carries.
const maxBatch = 500

// lane hands what is added to it to one function, in order and in batches that form by themselves: while one call is
// under way the next items gather, so a lone item waits for nothing and a crowd shares a call. It has a goroutine only
// while there is something to do.
type lane[T any] struct {
	run   func(batch []T) // owns the batch until it returns
	limit int             // how many items may wait; zero means any number

	mu      sync.Mutex
	waiting []T
	spare   []T // the last batch's memory
	busy    bool
	idle    sync.Cond // signaled when busy becomes false
}

func newLane[T any](run func(batch []T), limit int) *lane[T] {
	l := &lane[T]{run: run, limit: limit}
	l.idle.L = &l.mu
	return l
}

// add queues items and returns those that had to make room: over the limit the oldest are dropped, an eighth of all at
// once, so that a lane that stays full costs its users next to nothing.
func (l *lane[T]) add(items ...T) (dropped []T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, items...)
	if l.limit > 0 && len(l.waiting) > l.limit {
		n := min(len(l.waiting)-l.limit+l.limit/8, len(l.waiting)-1)
		dropped = slices.Clone(l.waiting[:n])
		kept := copy(l.waiting, l.waiting[n:])
		clear(l.waiting[kept:])
		l.waiting = l.waiting[:kept]
	}
	if !l.busy && len(l.waiting) > 0 {
		l.busy = true
		go l.drain()
	}
	return dropped
}

// take removes the waiting items that match and returns them.
func (l *lane[T]) take(match func(T) bool) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	var taken []T
	kept := l.waiting[:0]
	for _, item := range l.waiting {
		if match(item) {
			taken = append(taken, item)
		} else {
			kept = append(kept, item)
		}
	}
	clear(l.waiting[len(kept):])
	l.waiting = kept
	return taken
}

// wait returns when nothing waits and nothing is under way.
func (l *lane[T]) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.busy {
		l.idle.Wait()
	}
}

func (l *lane[T]) drain() {
	for {
		batch := l.next()
		if batch == nil {
			return
		}
		for part := range slices.Chunk(batch, maxBatch) {
			l.run(part)
		}
		clear(batch) // its memory is used again, what it referred to is not kept
	}
}

func (l *lane[T]) next() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy = false
		l.idle.Broadcast()
		return nil
	}
	batch := l.waiting
	l.waiting, l.spare = l.spare[:0], batch
	return batch
}
