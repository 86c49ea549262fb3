package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/real-staging-ai/go-worker"
)

const (
	// maxCalls is how many enqueue calls of a queue are under way at most, and worthACall how many jobs make another one
	// worth its price before one of them has returned: so client and server work at the same time. By measurement,
	// with 64 producers: one call at a time carries 137,000 jobs/s, two 169,000, four 186,000; without the second rule
	// four are no better than one.
	maxCalls   = 4
	worthACall = 16
	// patience is after how long what waits is worth a call of its own, however little it is: the calls under way may be
	// large ones, or on a connection that is dead. It is looked at as often, so it may be twice as long.
	patience = 20 * time.Millisecond
	// maxShared is how many bytes of encoded jobs a shared call has: what is larger gains nothing by company, and would let
	// small jobs share its fate on a slow link.
	maxShared = 256 << 10
	// maxOutboxes is how many queues have an outbox, apart from those in use: a producer may invent names. One that uses
	// more adds their names to the set of all names again and again.
	maxOutboxes = 1_000
)

// outbox is where the enqueue calls of one queue meet: while script calls are under way the jobs of other callers
// gather, and the next call carries all of them, in the order in which they came. Who comes alone waits for nothing. What
// has waited for as long as a call may take is not sent any more, so that nobody waits for more than two calls.
type outbox struct {
	queue *Queue
	name  string
	keys  []string

	listed atomic.Bool // the queue's name is among all names, or about to be

	mu      sync.Mutex
	waiting []*group
	jobs    int  // in the waiting groups
	bytes   int  // of them
	calls   int  // under way; who made them sees to the waiting ones
	timed   bool // a timer looks after those that wait for too long
}

// group is what shares a call: the parcels of callers that came one after the other.
type group struct {
	parcels []*parcel
	jobs    int
	bytes   int
	sent    bool          // it doesn't wait any more
	done    chan struct{} // closed when the outcome of its parcels is there, or it was split
	split   bool          // those that had waited for too long were dropped, and the others are in another group
}

func newGroup(parcels int) *group {
	return &group{parcels: make([]*parcel, 0, parcels), done: make(chan struct{})}
}

// fits reports whether a parcel can share the group's call. One alone always can.
func (g *group) fits(p *parcel) bool {
	return len(g.parcels) == 0 || g.jobs+p.jobs() <= maxElements && g.bytes+p.bytes <= maxShared
}

// outbox returns the outbox of a queue.
func (q *Queue) outbox(queue string) *outbox {
	if o, ok := q.outboxes.Load(queue); ok {
		return o.(*outbox)
	}
	keys := enqueueScript.keysFor(keysOf(q.config.Namespace, queue), "")
	o, known := q.outboxes.LoadOrStore(queue, &outbox{queue: q, name: queue, keys: keys})
	if !known && q.opened.Add(1) > maxOutboxes {
		q.opened.Store(0)
		q.outboxes.Range(func(name, o any) bool {
			if !o.(*outbox).busy() {
				q.outboxes.Delete(name)
			}
			return true
		})
	}
	return o.(*outbox)
}

func (o *outbox) busy() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls > 0
}

// errNotSent is why nothing was written of jobs that never left their outbox.
func errNotSent(why error) error {
	return fmt.Errorf("%w: it was not sent: %w", worker.ErrRefused, why)
}

// send sends a parcel and returns what became of it. When ctx ends first that is unknown, unless it had not been sent.
func (o *outbox) send(ctx context.Context, p *parcel) outcome {
	if err := ctx.Err(); err != nil {
		return outcome{err: errNotSent(err)}
	}
	g := o.enter(p)
	if g == nil {
		defer o.leave() // also when the client panics
		o.call(ctx, []*parcel{p})
		return p.outcome
	}
	for {
		select {
		case <-g.done:
		case <-ctx.Done():
			return o.giveUp(p, ctx.Err())
		}
		if !g.split {
			return p.outcome
		}
		var dropped bool
		if g, dropped = o.lookUp(p); dropped {
			return p.outcome
		}
	}
}

// enter returns the group that the parcel waits in, as a call is under way; nil when the caller makes one of its own.
func (o *outbox) enter(p *parcel) *group {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls == 0 {
		o.calls++
		return nil
	}
	p.since = time.Now()
	if n := len(o.waiting); n == 0 || !o.waiting[n-1].fits(p) {
		o.waiting = append(o.waiting, newGroup(worthACall))
	}
	g := o.waiting[len(o.waiting)-1]
	o.joinLocked(g, p)
	for o.calls < maxCalls && o.worthLocked() {
		o.calls++
		go o.serve(o.takeLocked())
	}
	if o.jobs > 0 && !o.timed {
		o.timed = true
		time.AfterFunc(patience, o.hurry)
	}
	return g
}

func (o *outbox) joinLocked(g *group, p *parcel) {
	p.group = g
	g.parcels = append(g.parcels, p)
	o.countLocked(g, p, 1)
}

func (o *outbox) countLocked(g *group, p *parcel, n int) {
	jobs, bytes := n*p.jobs(), n*p.bytes
	g.jobs, o.jobs = g.jobs+jobs, o.jobs+jobs
	g.bytes, o.bytes = g.bytes+bytes, o.bytes+bytes
}

// worthLocked reports whether what waits is worth a call though others are under way.
func (o *outbox) worthLocked() bool { return o.jobs >= worthACall || o.bytes >= maxShared }

// hurry makes another call when something has waited for too long, and looks again while something waits. What is stale is
// dropped here, too: a client may be slower than the contexts of its calls.
func (o *outbox) hurry() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropStaleLocked()
	if o.timed = o.jobs > 0; !o.timed {
		return
	}
	if o.calls < maxCalls && time.Since(o.oldestLocked()) >= patience {
		o.calls++
		go o.serve(o.takeLocked())
	}
	time.AfterFunc(patience, o.hurry)
}

// oldestLocked returns when the first one of those that wait came.
func (o *outbox) oldestLocked() time.Time {
	o.skipEmptyLocked()
	return o.waiting[0].parcels[0].since
}

// skipEmptyLocked drops groups that all have left.
func (o *outbox) skipEmptyLocked() {
	for len(o.waiting) > 0 && len(o.waiting[0].parcels) == 0 {
		o.waiting = o.waiting[1:]
	}
}

// giveUp returns the outcome of a parcel whose caller waits no longer.
func (o *outbox) giveUp(p *parcel, why error) outcome {
	if o.withdraw(p) {
		return outcome{err: errNotSent(why)}
	}
	g, _ := o.lookUp(p)
	select {
	case <-g.done:
		return p.outcome
	default:
		return outcome{err: why}
	}
}

// withdraw takes a parcel back, and reports whether it still waited.
func (o *outbox) withdraw(p *parcel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := p.group
	if g.sent {
		return false
	}
	i := slices.Index(g.parcels, p)
	g.parcels = slices.Delete(g.parcels, i, i+1)
	o.countLocked(g, p, -1)
	return true
}

// lookUp returns the group that a parcel belongs to by now, and whether it was dropped from it.
func (o *outbox) lookUp(p *parcel) (g *group, dropped bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return p.group, p.group.split
}

// leave follows a call that has returned: what has gathered meanwhile is sent by a goroutine.
func (o *outbox) leave() {
	if g := o.next(); g != nil {
		go o.serve(g)
	}
}

// serve makes a call for others. A client that panics fails them, but not the process.
func (o *outbox) serve(g *group) {
	returned := false
	defer o.leave()
	defer func() {
		if v := recover(); !returned {
			for _, p := range g.parcels {
				p.outcome = outcome{err: fmt.Errorf("the Redis client panicked: %v", v)}
			}
		}
		close(g.done)
	}()
	o.call(context.Background(), g.parcels)
	returned = true
}

// next takes what goes into the next call, or returns nil when that is left to another call under way, or to who comes
// next.
func (o *outbox) next() *group {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropStaleLocked()
	if o.jobs == 0 {
		o.waiting = nil // groups that all have left
	}
	if o.jobs == 0 || o.calls > 1 && !o.worthLocked() {
		o.calls--
		return nil
	}
	return o.takeLocked()
}

// dropStaleLocked ends the wait of parcels that calls before them have kept for too long.
func (o *outbox) dropStaleLocked() {
	limit := o.queue.config.Timeout
	if o.queue.config.WaitReplicas > 0 {
		limit += o.queue.config.WaitTimeout
	}
	for o.jobs > 0 && time.Since(o.oldestLocked()) >= limit {
		g := o.takeLocked()
		fresh := slices.IndexFunc(g.parcels, func(p *parcel) bool { return time.Since(p.since) < limit })
		if fresh < 0 {
			fresh = len(g.parcels)
		}
		for _, p := range g.parcels[:fresh] {
			p.outcome = outcome{err: errNotSent(fmt.Errorf("the calls before it took %v", limit))}
		}
		if rest := g.parcels[fresh:]; len(rest) > 0 {
			g.split = true
			own := newGroup(len(rest))
			for _, p := range rest {
				o.joinLocked(own, p)
			}
			o.waiting = slices.Insert(o.waiting, 0, own)
		}
		close(g.done)
	}
}

// takeLocked takes the first group that waits. There is one.
func (o *outbox) takeLocked() *group {
	o.skipEmptyLocked()
	g := o.waiting[0]
	if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
		o.waiting = nil // its memory would keep what was sent
	}
	g.sent = true
	o.jobs -= g.jobs
	o.bytes -= g.bytes
	return g
}

// call makes one call with all jobs of a batch, and gives each parcel its part of the answer.
func (o *outbox) call(ctx context.Context, batch []*parcel) {
	args := batch[0].args
	if len(batch) > 1 {
		parts := make([][]string, len(batch))
		for i, p := range batch {
			parts[i] = p.args
		}
		args = slices.Concat(parts...)
	}
	keys := slices.Clip(o.keys) // what is appended goes elsewhere
	for _, p := range batch {
		keys = append(keys, p.keys...)
	}
	reply, err := o.queue.accept(ctx, o.name, enqueueScript, keys, args)
	var known []knownJob
	if err == nil || errors.As(err, new(*NotReplicatedError)) {
		var bad error
		if known, bad = readKnown(reply, len(args)/argsPerJob); bad != nil {
			err = bad
		}
	}
	before := 0 // jobs of the parcels before
	for _, p := range batch {
		p.outcome.err = err
		for _, k := range known {
			if place := k.place - before; place >= 0 && place < p.jobs() {
				p.outcome.known = append(p.outcome.known, knownJob{place, k.answer, k.text})
			}
		}
		before += p.jobs()
	}
}
