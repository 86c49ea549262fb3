package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

const (
	// argsPerJob is how many arguments the enqueue script takes for each job: id, encoded job, and when it is due.
	argsPerJob = 3
	// maxCalls is how many enqueue calls of a queue are under way at most, and worthACall how many jobs make another one
	// worth its price before one of them has returned: so client and server work at the same time. By measurement,
	// with 64 producers: one call at a time carries 137,000 jobs/s, two 169,000, four 186,000; without the second rule
	// four are no better than one.
	maxCalls   = 4
	worthACall = 16
	// maxShared is how many bytes of encoded jobs a shared call has: what is larger gains nothing by company, and would let
	// small jobs share its fate on a slow link.
	maxShared = 256 << 10
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
	waiting []*parcel
	jobs    int // in the waiting parcels
	bytes   int // of them
	calls   int // under way; who made them sees to the waiting ones
}

// parcel is what one caller sends in one call: at most maxElements jobs, and maxCallBytes unless one job has more.
type parcel struct {
	args  []string // argsPerJob for each job
	keys  []string // the unique keys of those jobs that have one, in their order
	bytes int      // of encoded jobs

	since   time.Time     // when it began to wait
	done    chan struct{} // closed when the outcome is there, if it waits
	outcome outcome
	lone    [argsPerJob]string // the args of a parcel of one job
}

// newParcel returns a parcel for that many jobs.
func newParcel(jobs int) *parcel {
	p := &parcel{}
	if p.args = p.lone[:0]; jobs > 1 {
		p.args = make([]string, 0, argsPerJob*jobs)
	}
	return p
}

// addUnique takes in the unique key of the job that is added next, and returns what its due argument has behind it.
func (p *parcel) addUnique(k keys, job *worker.Job) string {
	p.keys = append(p.keys, k.unique(job.Unique.Key))
	return " " + expiryArg(job)
}

// uniqueKey returns the unique key of the job in a place.
func (p *parcel) uniqueKey(place int) string {
	n := -1
	for i := range place + 1 {
		if strings.Contains(p.args[argsPerJob*i+2], " ") {
			n++
		}
	}
	_, key, _ := strings.Cut(p.keys[n], "}:"+keyUnique+":")
	return key
}

func (p *parcel) jobs() int { return len(p.args) / argsPerJob }

// outcome is what became of a parcel.
type outcome struct {
	known []knownJob // the jobs that were not new, if the script has run
	err   error      // why it is not known to have run; a *NotReplicatedError when it has, all the same
}

// knownJob is what the script says about a job that was not new.
type knownJob struct {
	place  int // in its parcel, from 0
	answer string
	text   string // the error that it was refused with
}

// outbox returns the outbox of a queue.
func (q *Queue) outbox(queue string) *outbox {
	if o, ok := q.outboxes.Load(queue); ok {
		return o.(*outbox)
	}
	keys := enqueueScript.keysFor(keysOf(q.config.Namespace, queue), "")
	o, _ := q.outboxes.LoadOrStore(queue, &outbox{queue: q, name: queue, keys: keys})
	return o.(*outbox)
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
	if !o.enter(p) {
		defer o.leave() // also when the client panics
		o.call(ctx, []*parcel{p})
		return p.outcome
	}
	select {
	case <-p.done:
		return p.outcome
	case <-ctx.Done():
	}
	if o.withdraw(p) {
		return outcome{err: errNotSent(ctx.Err())}
	}
	select {
	case <-p.done:
		return p.outcome
	default:
		return outcome{err: ctx.Err()}
	}
}

// enter reports whether the parcel waits now, as a call is under way. If not, the caller makes one of its own.
func (o *outbox) enter(p *parcel) (waits bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls == 0 {
		o.calls++
		return false
	}
	p.since, p.done = time.Now(), make(chan struct{})
	o.waiting = append(o.waiting, p)
	o.countLocked(p, 1)
	if o.calls < maxCalls && o.worthLocked() {
		o.calls++
		go o.serve(o.takeLocked())
	}
	return true
}

func (o *outbox) countLocked(p *parcel, n int) {
	o.jobs += n * p.jobs()
	o.bytes += n * p.bytes
}

// worthLocked reports whether what waits is worth a call though others are under way.
func (o *outbox) worthLocked() bool { return o.jobs >= worthACall || o.bytes >= maxShared }

// withdraw takes a parcel back, and reports whether it still waited.
func (o *outbox) withdraw(p *parcel) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.Index(o.waiting, p)
	if i < 0 {
		return false
	}
	o.waiting = slices.Delete(o.waiting, i, i+1)
	o.countLocked(p, -1)
	return true
}

// leave follows a call that has returned: what has gathered meanwhile is sent by a goroutine.
func (o *outbox) leave() {
	if batch := o.next(); batch != nil {
		go o.serve(batch)
	}
}

// serve makes a call for others. A client that panics fails them, but not the process.
func (o *outbox) serve(batch []*parcel) {
	returned := false
	defer o.leave()
	defer func() {
		v := recover()
		for _, p := range batch {
			if !returned {
				p.outcome = outcome{err: fmt.Errorf("the Redis client panicked: %v", v)}
			}
			close(p.done)
		}
	}()
	o.call(context.Background(), batch)
	returned = true
}

// next takes what goes into the next call, or returns nil when that is left to another call under way, or to who comes
// next.
func (o *outbox) next() []*parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropStaleLocked()
	if len(o.waiting) == 0 || o.calls > 1 && !o.worthLocked() {
		o.calls--
		return nil
	}
	return o.takeLocked()
}

// dropStaleLocked ends the wait of parcels that calls before them have kept for too long.
func (o *outbox) dropStaleLocked() {
	limit := o.queue.config.Timeout
	for len(o.waiting) > 0 && time.Since(o.waiting[0].since) >= limit {
		p := o.waiting[0]
		o.popLocked(1)
		p.outcome = outcome{err: errNotSent(fmt.Errorf("the calls before it took %v", limit))}
		close(p.done)
	}
}

// takeLocked takes as many of the waiting parcels as share a call.
func (o *outbox) takeLocked() []*parcel {
	n, jobs, bytes := 0, 0, 0
	for _, p := range o.waiting {
		jobs, bytes = jobs+p.jobs(), bytes+p.bytes
		if n > 0 && (jobs > maxElements || bytes > maxShared) {
			break
		}
		n++
	}
	return o.popLocked(n)
}

// popLocked removes and returns the first n parcels.
func (o *outbox) popLocked(n int) []*parcel {
	first := o.waiting[:n:n]
	o.waiting = o.waiting[n:]
	if len(o.waiting) == 0 {
		o.waiting = nil // its memory would keep what was sent
	}
	for _, p := range first {
		o.countLocked(p, -1)
	}
	return first
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

// readKnown reads the script's reply to a call with that many jobs.
func readKnown(reply rueidis.RedisMessage, jobs int) ([]knownJob, error) {
	answers, err := reply.ToArray()
	if err != nil || len(answers) == 0 {
		return nil, err
	}
	text, err := answers[0].ToString()
	if err != nil {
		return nil, err
	}
	known := make([]knownJob, 0, len(answers)/2)
	for i := 1; i+1 < len(answers); i += 2 {
		index, err := answers[i].AsInt64()
		if err != nil || index < 1 || int(index) > jobs {
			return nil, &replyError{enqueueScript.Name, "index out of range"}
		}
		answer, err := answers[i+1].ToString()
		if err != nil {
			return nil, err
		}
		known = append(known, knownJob{int(index) - 1, answer, text})
	}
	return known, nil
}

// error returns what the caller is told about the job, nil when it waits or runs.
func (k knownJob) error(queue string, p *parcel) error {
	id := p.args[argsPerJob*k.place]
	if holder, ok := strings.CutPrefix(k.answer, "unique "); ok {
		return &worker.DuplicateError{Key: p.uniqueKey(k.place), Holder: holder}
	}
	switch k.answer {
	case "known":
		return nil
	case "refused":
		return explain("enqueue on", queue, refusedText(k.text))
	}
	return &worker.FinishedError{ID: id, State: finalState(k.answer)}
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
