package workertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// MemoryQueue is a worker.Queue in memory, for tests and demonstrations. It has all optional powers. The zero value is
// ready to use; the exported fields may be set before the first call.
//
// A session's lease runs out only after Crash, as nothing else can keep a worker from its own memory. Where somebody
// listens, it tells of renewals all the same, each fifth of a lease; they never fail.
type MemoryQueue struct {
	// Lease is how long the jobs of a crashed session stay its own. Zero means 10 seconds.
	Lease time.Duration
	// Fault, when set, is called at the start of every call but Close with the call's name ("Enqueue", "Claim",
	// "MarkCanceled", …) and context. An error is returned instead of doing anything.
	Fault func(ctx context.Context, call string) error
	// Clock is what delays, expiries and leases are measured by. Nil is package time.
	Clock *Clock

	mu      sync.Mutex
	lanes   map[string]*lane
	ticks   map[scheduleKey]time.Time // the last ones
	token   int64
	ignored int
	watch   *watch // of the sessions that are opened from now on
}

var (
	_ worker.Queue          = (*MemoryQueue)(nil)
	_ worker.Canceler       = (*MemoryQueue)(nil)
	_ worker.Requeuer       = (*MemoryQueue)(nil)
	_ worker.Knower         = (*MemoryQueue)(nil)
	_ worker.Pauser         = (*MemoryQueue)(nil)
	_ worker.Uniquer        = (*MemoryQueue)(nil)
	_ worker.UniqueReleaser = (*MemoryQueue)(nil)
	_ worker.Sampler        = (*MemoryQueue)(nil)
	_ worker.Pinger         = (*MemoryQueue)(nil)
	_ worker.Inspector      = (*MemoryQueue)(nil)
	_ worker.Editor         = (*MemoryQueue)(nil)
	_ worker.Ticker         = (*MemoryQueue)(nil)
)

// NewQueue returns an empty queue.
func NewQueue() *MemoryQueue { return &MemoryQueue{} }

// Enqueue implements worker.Queue. A job that EncodeJob refuses is listed as worker.ErrRefused.
func (q *MemoryQueue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	if err := q.begin(ctx, "Enqueue"); err != nil {
		return err
	}
	failed := make(map[string]error)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, job := range jobs {
		if err := q.enqueueLocked(job); err != nil {
			failed[job.ID] = err
		}
	}
	if len(failed) > 0 {
		return &worker.EnqueueError{Failed: failed}
	}
	return nil
}

func (q *MemoryQueue) enqueueLocked(job *worker.Job) error {
	body, err := worker.EncodeJob(job)
	if err != nil {
		return fmt.Errorf("%w: %w", worker.ErrRefused, err)
	}
	l := q.laneLocked(job.Queue)
	switch e := l.entries[job.ID]; {
	case e == nil:
		if err := l.lock(job); err != nil {
			return err
		}
		l.admit(&entry{id: job.ID}, body, q.dueTime(job))
	case e.place == worker.PlaceDead:
		return &worker.FinishedError{ID: job.ID, State: e.state}
	}
	return nil
}

// dueTime is when the job may be claimed first.
func (q *MemoryQueue) dueTime(job *worker.Job) time.Time {
	if job.Delay > 0 {
		return q.now().Add(job.Delay)
	}
	return job.RunAt
}

// EnqueueRaw makes body wait under an id as it is, so that a test can hand out a job that does not decode.
func (q *MemoryQueue) EnqueueRaw(queue, id string, body []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.laneLocked(queue).admit(&entry{id: id}, slices.Clone(body), time.Time{})
}

// Consume implements worker.Queue. The Consumer is also a Checkpointer, a CancelWatcher, a Leaser and an Unlocker.
func (q *MemoryQueue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	if err := q.beginOn(ctx, "Consume", queue); err != nil {
		return nil, err
	}
	if opts.MaxCrashes < 0 {
		return nil, fmt.Errorf("consume from %s: MaxCrashes is %d: it must not be negative", queue, opts.MaxCrashes)
	}
	if opts.MaxCrashes == 0 {
		opts.MaxCrashes = 3
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	l.maxCrashes = opts.MaxCrashes
	l.opened++
	s := &session{
		queue: q, lane: l, name: fmt.Sprintf("session%d", l.opened), process: opts.Process,
		maxCrashes: opts.MaxCrashes, held: make(map[string]*entry), watch: q.watch,
		onRenewal: opts.OnRenewal, onRecovered: opts.OnRecovered,
		lost: make(chan struct{}), revoked: make(chan worker.Revocation, 64),
	}
	l.sessions = append(l.sessions, s)
	s.renewLocked()
	return s, nil
}

// Crash makes a session of this queue stop renewing its lease, as if its process had died: when the lease has run out,
// its jobs are taken from it with one crash counted, and its Lost channel is closed.
func (q *MemoryQueue) Crash(c worker.Consumer) {
	s, ok := c.(interface{ crash() })
	if !ok {
		panic(fmt.Sprintf("workertest: crash: %T is not a session of a MemoryQueue", c))
	}
	s.crash()
}

// Consumers returns the open sessions of a queue in the order in which they were opened, so that a test can crash those
// of a pool.
func (q *MemoryQueue) Consumers(queue string) []worker.Consumer {
	q.mu.Lock()
	defer q.mu.Unlock()
	var open []worker.Consumer
	for _, s := range q.laneLocked(queue).sessions {
		open = append(open, s)
	}
	return open
}

// Place tells where a job is.
func (q *MemoryQueue) Place(queue, id string) worker.Place {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.laneLocked(queue).entries[id]; e != nil {
		return e.place
	}
	return worker.PlaceUnknown
}

// Count tells how many jobs of a queue are in a place.
func (q *MemoryQueue) Count(queue string, place worker.Place) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, e := range q.laneLocked(queue).entries {
		if e.place == place {
			n++
		}
	}
	return n
}

// Ignored tells how many verdicts came for jobs that their session no longer held.
func (q *MemoryQueue) Ignored() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ignored
}

// Know implements worker.Knower.
func (q *MemoryQueue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	if err := q.beginOn(ctx, "Know", queue); err != nil {
		return nil, err
	}
	places := make([]worker.Place, len(ids))
	for i, id := range ids {
		places[i] = q.Place(queue, id)
	}
	return places, nil
}

// Pause implements worker.Pauser.
func (q *MemoryQueue) Pause(ctx context.Context, queue string) error {
	return q.setPaused(ctx, "Pause", queue, true)
}

// Resume implements worker.Pauser.
func (q *MemoryQueue) Resume(ctx context.Context, queue string) error {
	return q.setPaused(ctx, "Resume", queue, false)
}

func (q *MemoryQueue) setPaused(ctx context.Context, call, queue string, paused bool) error {
	if err := q.beginOn(ctx, call, queue); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	l.paused = paused
	l.signal()
	return nil
}

// MarkCanceled implements worker.Canceler.
func (q *MemoryQueue) MarkCanceled(ctx context.Context, queue, id string) (worker.CancelMark, error) {
	if err := q.beginOn(ctx, "MarkCanceled", queue); err != nil {
		return worker.CancelMark{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	mark := worker.CancelMark{Token: q.drawLocked(0)}
	l := q.laneLocked(queue)
	e := l.entries[id]
	if e == nil {
		return mark, nil
	}
	mark.Place, mark.Job = e.place, e.job()
	switch e.place {
	case worker.PlaceWaiting:
		e.canceled = true
		l.hasten(e)
	case worker.PlaceHeld:
		e.canceled = true
		e.holder.revokeLocked(worker.Revocation{ID: id, Token: e.token, Cause: worker.ErrCanceled})
	}
	return mark, nil
}

// RemoveCanceled implements worker.Canceler.
func (q *MemoryQueue) RemoveCanceled(ctx context.Context, queue, id string) (worker.Place, error) {
	if err := q.beginOn(ctx, "RemoveCanceled", queue); err != nil {
		return worker.PlaceUnknown, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	e := l.entries[id]
	if e == nil {
		return worker.PlaceUnknown, nil
	}
	found := e.place
	if found == worker.PlaceWaiting && e.canceled {
		l.bury(e, worker.StateCanceled)
		if job := e.job(); job != nil {
			l.ended(job.Unique, id)
		}
	}
	return found, nil
}

// DrawToken implements worker.Requeuer.
func (q *MemoryQueue) DrawToken(ctx context.Context, queue, id string) (*worker.Job, int64, error) {
	if err := q.beginOn(ctx, "DrawToken", queue); err != nil {
		return nil, 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.laneLocked(queue).entries[id]
	if e == nil {
		return nil, q.drawLocked(0), nil
	}
	if e.place != worker.PlaceDead {
		return nil, 0, fmt.Errorf("draw token for %q: %w", id, worker.ErrJobActive)
	}
	return e.job(), q.drawLocked(0), nil
}

// Reopen implements worker.Requeuer.
func (q *MemoryQueue) Reopen(ctx context.Context, job *worker.Job) error {
	if err := q.begin(ctx, "Reopen"); err != nil {
		return err
	}
	body, err := worker.EncodeJob(job)
	if err != nil {
		return fmt.Errorf("reopen: %w: %w", worker.ErrRefused, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(job.Queue)
	e := l.entries[job.ID]
	if e != nil && e.place != worker.PlaceDead {
		return fmt.Errorf("reopen: job %q: %w", job.ID, worker.ErrJobActive)
	}
	if err := l.lock(job); err != nil {
		return err
	}
	reopened := &entry{id: job.ID}
	if e != nil {
		reopened.checkpoint = e.checkpoint
	}
	l.admit(reopened, body, q.dueTime(job))
	return nil
}

// begin is how every call starts.
func (q *MemoryQueue) begin(ctx context.Context, call string) error {
	if q.Fault != nil {
		if err := q.Fault(ctx, call); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// beginOn is how calls about one queue start.
func (q *MemoryQueue) beginOn(ctx context.Context, call, queue string) error {
	if err := q.begin(ctx, call); err != nil {
		return err
	}
	if err := worker.CheckQueueName(queue); err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

// drawLocked draws a fencing token above all earlier ones and above least.
func (q *MemoryQueue) drawLocked(least int64) int64 {
	q.token = max(q.token, least) + 1
	return q.token
}

func (q *MemoryQueue) laneLocked(name string) *lane {
	l := q.lanes[name]
	if l == nil {
		if q.lanes == nil {
			q.lanes = make(map[string]*lane)
		}
		l = &lane{name: name, now: q.now, entries: make(map[string]*entry), maxCrashes: 3, changed: make(chan struct{})}
		q.lanes[name] = l
	}
	return l
}

func (q *MemoryQueue) now() time.Time {
	if q.Clock != nil {
		return q.Clock.Now()
	}
	return time.Now()
}

// afterFunc calls f when d has passed by the queue's clock. stop keeps it from being called, if it is not too late.
func (q *MemoryQueue) afterFunc(d time.Duration, f func()) (stop func()) {
	if q.Clock != nil {
		return q.Clock.afterFunc(d, f)
	}
	timer := time.AfterFunc(d, f)
	return func() { timer.Stop() }
}

func (q *MemoryQueue) lease() time.Duration {
	if q.Lease > 0 {
		return q.Lease
	}
	return 10 * time.Second
}

var errUnknownAction = errors.New("verdict without a known action")
