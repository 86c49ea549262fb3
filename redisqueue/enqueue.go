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

// Enqueue makes the jobs available in their order. It sends them in calls of up to 500.
func (q *Queue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	e := enqueuing{queue: q, failed: make(map[string]error), parts: make(map[string]*enqueuePart)}
	for i, job := range jobs {
		if job == nil {
			return fmt.Errorf("enqueue: job %d is nil", i)
		}
		e.add(ctx, job)
	}
	for _, name := range e.order {
		e.send(ctx, e.parts[name])
	}
	if len(e.failed) > 0 {
		return &worker.EnqueueError{Failed: e.failed}
	}
	return nil
}

// enqueuing is one Enqueue under way.
type enqueuing struct {
	queue  *Queue
	failed map[string]error
	order  []string // of queues
	parts  map[string]*enqueuePart
	broken error // of the call that failed on the way to the server or was not confirmed: nothing is sent after it
}

// enqueuePart gathers the next call for one queue.
type enqueuePart struct {
	queue string
	keys  []string
	args  []string
	bytes int
}

func (e *enqueuing) add(ctx context.Context, job *worker.Job) {
	body, err := worker.EncodeJob(job)
	if err != nil {
		e.fail(fmt.Errorf("%w: %w", worker.ErrRefused, err), job.ID)
		return
	}
	part := e.parts[job.Queue]
	if part == nil {
		keys := enqueueScript.keysFor(keysOf(e.queue.config.Namespace, job.Queue), "")
		part = &enqueuePart{queue: job.Queue, keys: keys}
		e.parts[job.Queue] = part
		e.order = append(e.order, job.Queue)
	}
	if len(part.args) >= 3*maxElements || part.bytes > 0 && part.bytes+len(body) > maxCallBytes {
		e.send(ctx, part)
	}
	part.args = append(part.args, job.ID, rueidis.BinaryString(body), dueArg(job))
	part.bytes += len(body)
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

func (e *enqueuing) send(ctx context.Context, part *enqueuePart) {
	args := part.args
	part.args, part.bytes = nil, 0
	if len(args) == 0 {
		return
	}
	if e.broken != nil {
		e.failAll(args, fmt.Errorf("%w: not sent after: %s", worker.ErrRefused, e.broken.Error()))
		return
	}
	reply, err := e.queue.accept(ctx, part.queue, enqueueScript, part.keys, args)
	unsure := (*NotReplicatedError)(nil)
	if err != nil && !errors.As(err, &unsure) {
		if !serverError(err) {
			e.broken = err
		}
		e.failAll(args, explain("enqueue on", part.queue, err))
		return
	}
	if err := e.read(part.queue, args, reply); err != nil {
		e.failAll(args, err)
	}
	if unsure != nil {
		e.broken = unsure
		e.doubt(args, explain("enqueue on", part.queue, unsure))
	}
}

// doubt says of the jobs that the queue has, new ones or not, that they may not outlive a failover.
func (e *enqueuing) doubt(args []string, err error) {
	for i := 0; i < len(args); i += 3 {
		if e.failed[args[i]] == nil {
			e.failed[args[i]] = err
		}
	}
}

// fail keeps why a job failed. When an id came twice, an unknown outcome is not covered up by a refusal.
func (e *enqueuing) fail(err error, id string) {
	if before := e.failed[id]; before == nil || errors.Is(before, worker.ErrRefused) {
		e.failed[id] = err
	}
}

func (e *enqueuing) failAll(args []string, err error) {
	for i := 0; i < len(args); i += 3 {
		e.fail(err, args[i])
	}
}

// read takes in what the script answers about jobs that were not new.
func (e *enqueuing) read(queue string, args []string, reply rueidis.RedisMessage) error {
	answers, err := reply.ToArray()
	if err != nil || len(answers) == 0 {
		return err
	}
	text, err := answers[0].ToString()
	if err != nil {
		return err
	}
	for i := 1; i+1 < len(answers); i += 2 {
		index, err := answers[i].AsInt64()
		if err != nil || index < 1 || int(index) > len(args)/3 {
			return &replyError{enqueueScript.Name, "index out of range"}
		}
		answer, err := answers[i+1].ToString()
		if err != nil {
			return err
		}
		id := args[3*(index-1)]
		switch answer {
		case "known":
		case "refused":
			e.failed[id] = explain("enqueue on", queue, refusedText(text))
		default:
			e.failed[id] = &worker.FinishedError{ID: id, State: finalState(answer)}
		}
	}
	return nil
}

// finalState reads the state of a dead job as history keeps it.
func finalState(letter string) worker.State {
	switch letter {
	case "f":
		return worker.StateFailed
	case "c":
		return worker.StateCanceled
	}
	return ""
}
