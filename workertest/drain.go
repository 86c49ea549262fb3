package workertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/real-staging-ai/go-worker"
)

const (
	endless  = 10_000         // so many results, beside ten for each job that waited, are one too many
	maxStall = 24 * time.Hour // how long a Drain waits for the next result
)

// Drain runs the jobs of a queue with a pool of its own until nothing is left to do, and returns what became of each
// claim, in the order in which they ended: a job that was retried is in it more than once. Jobs that handlers enqueue
// meanwhile are run, too. Config.Queue must be a *MemoryQueue; Config.Queues says which of its queues to drain, and all
// else is the pool's ordinary configuration, but that it doesn't sweep. With Concurrency 1 the order is that of the queue.
// Jobs of a queue that is paused stay in it. Config.Periodic must be empty, as Drain has no end where a schedule goes on:
// enqueue the job of a tick as any other.
//
// With ahead 0 only what is due is run: retries and scheduled jobs are left in the queue. Otherwise time moves on to
// whatever falls due within ahead, a dead worker's lease included, and no further. That needs a fake time: a
// testing/synctest bubble, or MemoryQueue.Clock.
//
// The test fails when the configuration is wrong, when a job has no handler, when the pool cannot be stopped, and when
// there is no end: after 10,000 results, and ten more for each job that waited at the start, or when a day brings none. A
// handler that never returns is left to its timeout, and to that of go test.
func Drain(t T, cfg worker.Config, ahead time.Duration) []*Result {
	t.Helper()
	q, ok := cfg.Queue.(*MemoryQueue)
	switch {
	case !ok || q == nil:
		t.Fatalf("drain: Config.Queue is a %T: it must be a *workertest.MemoryQueue", cfg.Queue)
	case len(cfg.Periodic) > 0:
		t.Fatalf("drain: Config.Periodic is set: no schedule runs here; take it out, and enqueue the job of a tick")
	case ahead > 0 && q.Clock == nil && !inBubble():
		t.Fatalf("drain: time would really pass: run the test in a testing/synctest bubble, or set MemoryQueue.Clock")
	}
	if cfg.Queues == nil {
		cfg.Queues = map[string]worker.QueueConfig{worker.DefaultQueue: {}}
	}
	d := &drain{queue: q, names: slices.Sorted(maps.Keys(cfg.Queues)), end: q.now().Add(ahead), most: endless}
	for _, name := range d.names {
		d.most += 10 * q.Count(name, worker.PlaceWaiting)
	}
	d.pool = startWatched(t, q, cfg)
	err := d.run()
	if stopped := d.pool.stop(q); err == nil {
		err = stopped
	}
	if err != nil {
		t.Fatalf("drain: %v", err)
	}
	return d.pool.look().results
}

// drain is one Drain.
type drain struct {
	queue *MemoryQueue
	names []string
	end   time.Time // how far time may be moved
	most  int       // results
	pool  *watched
}

// run returns when nothing is left to do.
func (d *drain) run() error {
	had, since := 0, time.Now()
	for {
		now := d.pool.look()
		if len(now.results) > had {
			had, since = len(now.results), time.Now()
		}
		busy, next := d.queue.outlook(d.names, d.pool.watch)
		switch {
		case now.problem != nil:
			return now.problem
		case had > d.most:
			return fmt.Errorf("there is no end: after %d results %s", had, d.queue.describe(d.names))
		case time.Since(since) >= maxStall:
			return fmt.Errorf("nothing has ended for %v: %s", maxStall, d.queue.describe(d.names))
		case busy:
			awaitChange(now.changed, maxStall-time.Since(since))
		case next.IsZero() || next.After(d.end):
			return nil
		default:
			d.queue.moveTo(next)
			since = time.Now()
		}
	}
}

// awaitChange waits until the channel is closed, for most at most.
func awaitChange(changed <-chan struct{}, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	}
}

// inBubble reports whether the caller is in a testing/synctest bubble.
func inBubble() (yes bool) {
	defer func() { _ = recover() }() // out of one, Wait panics
	synctest.Wait()
	return true
}

// outlook tells whether something may be claimed, or held by a watched session, and else when something will be: zero for never.
func (q *MemoryQueue) outlook(names []string, w *watch) (busy bool, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	for _, name := range names {
		l := q.laneLocked(name)
		l.promote(now)
		busy = busy || !l.paused && (l.pending.Len() > 0 || l.suspects.Len() > 0)
		if !l.paused && len(l.scheduled) > 0 {
			next = earlier(next, l.scheduled[0].due)
		}
		for _, s := range l.sessions {
			switch {
			case len(s.held) == 0:
			case s.watch == w:
				busy = true
			case s.spare != nil:
				next = earlier(next, s.expires)
			}
		}
	}
	return busy, next
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// moveTo lets the queue's time pass until t.
func (q *MemoryQueue) moveTo(t time.Time) {
	if q.Clock != nil {
		q.Clock.Set(t)
		return
	}
	time.Sleep(time.Until(t)) // the bubble's clock
}

// describe tells how much of the queues is where.
func (q *MemoryQueue) describe(names []string) string {
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("queue %q has %d jobs waiting and %d held", name,
			q.Count(name, worker.PlaceWaiting), q.Count(name, worker.PlaceHeld)))
	}
	return strings.Join(parts, ", ")
}
