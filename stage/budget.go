package stage

import (
	"container/list"
	"context"
	"sync"
)

// budget is a number of units that is lent out: never more at once than there are, and in the order in which they were
// asked for. So a large claim is not overtaken by small ones for ever.
type budget struct {
	mu    sync.Mutex
	free  int64
	queue list.List // of *claim, the oldest first
}

// claim is a number of units that somebody waits for, or has.
type claim struct {
	units   int64
	granted chan struct{} // closed under the lock when the units are lent
}

func newBudget(units int64) *budget { return &budget{free: units} }

// acquire waits until the units are free, and takes them; release gives them back. It takes nothing and returns ctx's
// error when that ends first. More units than there are at all would be waited for until then.
func (b *budget) acquire(ctx context.Context, units int64) error {
	c := &claim{units: units, granted: make(chan struct{})}
	b.mu.Lock()
	place := b.queue.PushBack(c)
	b.serveLocked()
	b.mu.Unlock()

	select {
	case <-c.granted:
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		b.withdraw(place)
		return err
	}
	return nil
}

func (b *budget) release(units int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += units
	b.serveLocked()
}

// withdraw undoes a claim, granted or not. Those behind it may have waited for it only.
func (b *budget) withdraw(place *list.Element) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := place.Value.(*claim)
	select {
	case <-c.granted:
		b.free += c.units
	default:
		b.queue.Remove(place)
	}
	b.serveLocked()
}

// serveLocked grants the oldest claims, as far as the units go.
func (b *budget) serveLocked() {
	for place := b.queue.Front(); place != nil; place = b.queue.Front() {
		c := place.Value.(*claim)
		if c.units > b.free {
			return
		}
		b.free -= c.units
		b.queue.Remove(place)
		close(c.granted)
	}
}
