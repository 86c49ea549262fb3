package worker

import (
	"runtime"
	"slices"
	"sync"
)

// maxBatch is the most that one call to a queue or store carries.
const maxBatch = 500

// lane hands what is added to it to one function, in batches that form by themselves: while a call is under way the next
// items gather, so a lone item waits for nothing and a crowd shares a call. A lane of width 1 keeps the order of its
// items. In a wider one another call begins before one has returned when many items wait, so that both sides have work.
// It has a goroutine only while there is something to do.
type lane[T any] struct {
	run   func(batch []T) // owns the batch until it returns
	limit int             // how many items may wait; zero means any number
	width int             // calls under way at most

	mu      sync.Mutex
	waiting []T
	spare   []T // an earlier batch's memory
	calls   int
	idle    sync.Cond // signaled when no call is under way any more
}

// worthACall is how many items make another call worth its price while one is under way.
const worthACall = 64

func newLane[T any](run func(batch []T), width, limit int) *lane[T] {
	l := &lane[T]{run: run, width: width, limit: limit}
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
	if l.calls == 0 && len(l.waiting) > 0 || l.calls < l.width && len(l.waiting) >= worthACall {
		l.calls++
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
	for l.calls > 0 {
		l.idle.Wait()
	}
}

func (l *lane[T]) drain() {
	var batch []T
	for {
		if batch = l.next(batch); batch == nil {
			return
		}
		l.run(batch)
		clear(batch)      // its memory is used again, what it referred to is not kept
		runtime.Gosched() // who has been waiting for this call may add more, which then goes along
	}
}

// next takes what goes into the next call, and gives back the memory of the last one. It returns nil when nothing is left
// to do, or when that is left to another call under way.
func (l *lane[T]) next(last []T) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.spare == nil {
		l.spare = last[:0]
	}
	n := len(l.waiting)
	if n == 0 || l.calls > 1 && n < worthACall {
		if l.calls--; l.calls == 0 {
			l.idle.Broadcast()
		}
		return nil
	}
	batch := l.waiting[:min(n, maxBatch)]
	rest := l.waiting[len(batch):]
	l.waiting, l.spare = append(l.spare, rest...), nil
	clear(rest)
	return batch
}
