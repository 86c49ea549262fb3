package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// maxCallBytes is how much of encoded jobs goes into one call, unless a single job is larger.
const maxCallBytes = 4 << 20

// Enqueue makes the jobs available in their order. It sends them in calls of up to 500; concurrent Enqueues of few jobs
// share a call. When ctx ends before the call was sent, or others keep it for as long as a call may take, the error wraps
// worker.ErrRefused; after that the outcome is unknown.
func (q *Queue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	e := enqueuing{queue: q}
	for i, job := range jobs {
		if job == nil {
			return fmt.Errorf("enqueue: job %d is nil", i)
		}
		e.add(ctx, job, len(jobs)-i)
	}
	e.send(ctx, &e.first)
	for _, part := range e.others {
		e.send(ctx, part)
	}
	if len(e.failed) > 0 {
		return &worker.EnqueueError{Failed: e.failed}
	}
	return nil
}

// enqueuing is one Enqueue under way.
type enqueuing struct {
	queue   *Queue
	failed  map[string]error
	first   enqueuePart             // of the first job's queue, mostly the only one
	others  []*enqueuePart          // in the order of their first jobs
	byQueue map[string]*enqueuePart // the same
	broken  error                   // of the call that failed on the way to the server or was not confirmed: nothing is sent after it
}

// enqueuePart gathers the next call for one queue.
type enqueuePart struct {
	outbox *outbox
	parcel *parcel
}

// add puts a job into the next call for its queue; rest is how many are still to come, itself included.
func (e *enqueuing) add(ctx context.Context, job *worker.Job, rest int) {
	body, err := worker.EncodeJob(job)
	if err != nil {
		e.fail(fmt.Errorf("%w: %w", worker.ErrRefused, err), job.ID)
		return
	}
	part := e.part(job.Queue)
	p := part.parcel
	if p != nil && (p.jobs() >= maxElements || p.bytes+len(body) > maxCallBytes) {
		e.send(ctx, part)
		p = nil
	}
	if p == nil {
		p = newParcel(min(rest, maxElements))
		part.parcel = p
	}
	due := dueArg(job)
	if job.Unique != nil {
		due += p.addUnique(keysOf(e.queue.config.Namespace, job.Queue), job)
	}
	p.args = append(p.args, job.ID, rueidis.BinaryString(body), due)
	p.bytes += len(body)
}

// part returns the part of a queue.
func (e *enqueuing) part(queue string) *enqueuePart {
	if e.first.outbox == nil {
		e.first.outbox = e.queue.outbox(queue)
	}
	if e.first.outbox.name == queue {
		return &e.first
	}
	part := e.byQueue[queue]
	if part == nil {
		part = &enqueuePart{outbox: e.queue.outbox(queue)}
		if e.byQueue == nil {
			e.byQueue = make(map[string]*enqueuePart)
		}
		e.byQueue[queue] = part
		e.others = append(e.others, part)
	}
	return part
}

// dueArg says when a job is due, as the scripts read it.
func dueArg(job *worker.Job) string {
	switch {
	case job.Delay > 0:
		return "+" + strconv.FormatInt(ceilMillis(job.Delay), 10)
	case !job.RunAt.IsZero():
		return strconv.FormatInt(job.RunAt.UnixMilli(), 10)
	}
	return ""
}

// ceilMillis rounds up, so that nothing happens too early.
func ceilMillis(d time.Duration) int64 {
	if d > math.MaxInt64-time.Millisecond {
		d = math.MaxInt64 - time.Millisecond
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// send sends what a part has gathered, and takes in what became of it.
func (e *enqueuing) send(ctx context.Context, part *enqueuePart) {
	p := part.parcel
	if p == nil {
		return
	}
	part.parcel = nil
	queue := part.outbox.name
	if e.broken != nil {
		e.failAll(p, fmt.Errorf("%w: not sent after: %s", worker.ErrRefused, e.broken.Error()))
		return
	}
	done := part.outbox.send(ctx, p)
	unsure := done.err != nil && errors.As(done.err, new(*NotReplicatedError))
	if done.err != nil && !unsure {
		if !serverError(done.err) {
			e.broken = done.err
		}
		e.failAll(p, explain("enqueue on", queue, done.err))
		return
	}
	if part.outbox.listed.CompareAndSwap(false, true) {
		e.queue.enlist(ctx, queue)
	}
	for _, k := range done.known {
		if err := k.error(queue, p); err != nil {
			e.set(p.args[argsPerJob*k.place], err)
		}
	}
	if unsure {
		e.broken = done.err
		e.doubt(p, explain("enqueue on", queue, done.err))
	}
}

// doubt says of the jobs that the queue has, new ones or not, that they may not outlive a failover.
func (e *enqueuing) doubt(p *parcel, err error) {
	for i := 0; i < len(p.args); i += argsPerJob {
		if e.failed[p.args[i]] == nil {
			e.set(p.args[i], err)
		}
	}
}

// fail keeps why a job failed. When an id came twice, an unknown outcome is not covered up by a refusal.
func (e *enqueuing) fail(err error, id string) {
	if before := e.failed[id]; before == nil || errors.Is(before, worker.ErrRefused) {
		e.set(id, err)
	}
}

func (e *enqueuing) failAll(p *parcel, err error) {
	for i := 0; i < len(p.args); i += argsPerJob {
		e.fail(err, p.args[i])
	}
}

func (e *enqueuing) set(id string, err error) {
	if e.failed == nil {
		e.failed = make(map[string]error)
	}
	e.failed[id] = err
}
