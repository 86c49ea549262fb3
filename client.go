package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/real-staging-ai/go-worker/internal/safelog"
)

// Backend is what producers and pools share. Only Queue is required: the zero value of every other field works.
type Backend struct {
	// Queue carries the jobs.
	Queue Queue
	// StatusStore keeps the jobs' statuses. Nil: they are not kept.
	StatusStore StatusStore
	// Notifier tells users about the jobs. Nil: nobody is told.
	Notifier Notifier
	// MaxPayload is the largest payload that may be enqueued, in bytes. Zero means DefaultMaxPayload.
	MaxPayload int
	// Logger takes what operators need to know. Nil means slog.Default(). A handler that panics loses a line.
	Logger *slog.Logger
	// TracerProvider, MeterProvider and Propagator are OpenTelemetry's. Nil means the global ones of package otel;
	// this library sets none. A propagator, sampler or span processor that panics costs a span or its context, and package
	// otel's error handler hears of it; what a host plugs into a MeterProvider must not panic.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator
}

// Client is the producer's side: it enqueues, cancels and reopens jobs. It is safe for concurrent use, holds no
// goroutine while nothing happens, and needs no closing.
type Client struct {
	queue      Queue
	canceler   Canceler       // nil if the queue isn't one
	requeuer   Requeuer       // nil if the queue isn't one
	pauser     Pauser         // nil if the queue isn't one
	uniquer    Uniquer        // nil if the queue isn't one
	releaser   UniqueReleaser // nil if the queue isn't one
	inspector  Inspector      // nil if the queue isn't one
	editor     Editor         // nil if the queue isn't one
	store      StatusStore
	getter     Getter // nil if the store isn't one
	notes      *announcer
	reopened   reopened
	maxPayload int
	log        *slog.Logger
	seldom     seldom
	tel        *telemetry
}

// NewClient makes a producer. It reports all that is wrong with b at once and talks to nobody.
func NewClient(b Backend) (*Client, error) {
	c, problems := newClient(b)
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("new client: %w", err)
	}
	return c, nil
}

func newClient(b Backend) (*Client, []error) {
	problems := b.problems()
	if len(problems) > 0 {
		return nil, problems
	}
	tel, err := newTelemetry(&b)
	if err != nil {
		return nil, []error{fmt.Errorf("telemetry: %w", err)}
	}
	log := safelog.New(b.Logger)
	c := &Client{queue: b.Queue, store: b.StatusStore, maxPayload: b.MaxPayload, log: log, tel: tel}
	if c.maxPayload == 0 {
		c.maxPayload = DefaultMaxPayload
	}
	c.canceler, _ = b.Queue.(Canceler)
	c.requeuer, _ = b.Queue.(Requeuer)
	c.pauser, _ = b.Queue.(Pauser)
	c.uniquer, _ = b.Queue.(Uniquer)
	c.releaser, _ = b.Queue.(UniqueReleaser)
	c.inspector, _ = b.Queue.(Inspector)
	c.editor, _ = b.Queue.(Editor)
	c.getter, _ = b.StatusStore.(Getter)
	c.notes = newAnnouncer(b.Notifier, b.StatusStore != nil, log, tel)
	return c, nil
}

func (b *Backend) problems() (problems []error) {
	if b.Queue == nil {
		problems = append(problems, errors.New("Queue is missing"))
	}
	for name, v := range map[string]any{
		"Queue": b.Queue, "StatusStore": b.StatusStore, "Notifier": b.Notifier,
		"TracerProvider": b.TracerProvider, "MeterProvider": b.MeterProvider, "Propagator": b.Propagator,
	} {
		if v != nil && isNil(v) {
			problems = append(problems, fmt.Errorf("%s is a nil %T: leave the field out instead", name, v))
		}
	}
	if b.MaxPayload < 0 {
		problems = append(problems, fmt.Errorf("MaxPayload is %d: it must not be negative", b.MaxPayload))
	}
	return problems
}

// Enqueue makes a job of the payload and enqueues it: options rank before those of the payload. It is idempotent by
// id: with WithID, an id that waits or runs already is no error, and one that has ended is a *FinishedError. Any other
// error says whether the job was refused or its fate is unknown; in both cases passing the returned job to EnqueueMany,
// or calling again with its id, is safe. The job is nil only when none could be made.
//
// Another job that has the unique key is a *DuplicateError. Where the job takes the place of one that waits, as
// UniquePolicy.Replace asks for, the returned job has that one's id and topic.
func (c *Client) Enqueue(ctx context.Context, p Payload, opts ...JobOption) (*Job, error) {
	job, err := newJob(p, opts)
	if err != nil {
		return nil, fmt.Errorf("enqueue: %w", err)
	}
	if err = c.EnqueueMany(ctx, job); err == nil {
		return job, nil
	}
	if failed := (*EnqueueError)(nil); errors.As(err, &failed) && failed.Failed[job.ID] != nil {
		err = fmt.Errorf("enqueue job %q: %w", job.ID, failed.Failed[job.ID])
	}
	return job, err
}

// EnqueueMany enqueues jobs that NewJob made, or made by hand: what NewJob would set is filled in. All are checked
// before anything is written; jobs that then fail are listed in an *EnqueueError, the others are enqueued. Any other
// error says that the outcome is unknown; calling again with the same jobs is safe. A job that takes the place of another
// one, see UniquePolicy.Replace and what it says of unknown outcomes, is given that one's ID and Topic.
func (c *Client) EnqueueMany(ctx context.Context, jobs ...*Job) error {
	return c.send(ctx, "enqueue", jobs, c.enqueue)
}

// send hands jobs on once all of them are in order.
func (c *Client) send(ctx context.Context, doing string, jobs []*Job, hand func(context.Context, []*Job) error) error {
	jobs, err := complete(jobs)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if len(jobs) == 0 {
		return nil
	}
	err = c.check(jobs)
	if err == nil {
		err = c.traced(ctx, jobs, hand)
	}
	for _, job := range jobs {
		job.validJSON = nil // it is its owner's again
	}
	return err
}

// traced hands jobs on in a span.
func (c *Client) traced(ctx context.Context, jobs []*Job, hand func(context.Context, []*Job) error) error {
	ctx, sending := c.tel.startSend(ctx, jobs)
	err := hand(ctx, jobs)
	c.tel.finishSend(ctx, sending, jobs, err)
	c.logEnqueued(ctx, jobs, err)
	return err
}

// complete fills in what was left out, and returns the jobs without those that a later one of the call has taken the place of
// in an earlier call.
func complete(jobs []*Job) ([]*Job, error) {
	for i, job := range jobs {
		if job == nil {
			return nil, fmt.Errorf("job %d is nil", i)
		}
		if job.claimed() {
			return nil, job.claimedError()
		}
		job.complete()
	}
	if len(jobs) < 2 {
		return jobs, nil
	}
	last := make(map[string]*Job, len(jobs))
	for _, job := range jobs {
		before := last[job.ID]
		if before != nil && (before == job || !before.replaces() || !job.replaces() || before.Unique.Key != job.Unique.Key) {
			return nil, fmt.Errorf("job %q is in the call twice", job.ID)
		}
		last[job.ID] = job
	}
	if len(last) == len(jobs) {
		return jobs, nil
	}
	return slices.DeleteFunc(slices.Clone(jobs), func(job *Job) bool { return last[job.ID] != job }), nil
}

func (c *Client) check(jobs []*Job) error {
	for _, job := range jobs {
		if err := job.check(c.maxPayload); err != nil {
			return fmt.Errorf("enqueue: job %q: %w", job.ID, err)
		}
		if job.Unique != nil && c.uniquer == nil {
			return fmt.Errorf("enqueue: job %q: the queue cannot keep jobs unique: %w", job.ID, errors.ErrUnsupported)
		}
		job.validJSON = job.Payload
	}
	return nil
}

// enqueue makes jobs available.
func (c *Client) enqueue(ctx context.Context, jobs []*Job) error {
	if slices.ContainsFunc(jobs, func(job *Job) bool { return job.Unique != nil }) {
		return c.enqueueUnique(ctx, jobs)
	}
	return c.accept(ctx, jobs)
}

// accept saves, announces and pushes.
func (c *Client) accept(ctx context.Context, jobs []*Job) error {
	push, repeated, failed, err := c.saveWaiting(ctx, jobs)
	if err != nil {
		return err
	}
	if len(push) > 0 {
		if err = c.queue.Enqueue(ctx, push...); err != nil {
			failed, err = refusals(err, push, failed)
		}
	}
	if err != nil || len(failed) == 0 {
		return err
	}
	c.recordRefused(ctx, push, repeated, failed)
	return &EnqueueError{Failed: failed}
}

// saveWaiting records and announces that the jobs wait, and returns those that the queue is to be asked about: all but
// the finished. A row that is unfinished is no reason to skip the queue, which may have lost the job. Of these, repeated
// are the ids whose row was there before, from an earlier enqueue or a transaction of the host's. Failed says why others
// are not to be pushed.
func (c *Client) saveWaiting(
	ctx context.Context, jobs []*Job,
) (push []*Job, repeated []string, failed map[string]error, err error) {
	if c.store == nil && c.notes.notifier == nil {
		return jobs, nil, nil, nil
	}
	push, failed = make([]*Job, 0, len(jobs)), make(map[string]error)
	for part := range slices.Chunk(jobs, maxBatch) {
		statuses := make([]Status, len(part))
		for i, job := range part {
			statuses[i] = waitingStatus(job, 0)
		}
		saved, err := c.saveEach(ctx, statuses, failed)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("enqueue: save status: %w", err)
		}
		for i, answer := range saved {
			job := part[i]
			if answer.Repeated || !answer.OK {
				repeated = append(repeated, job.ID)
			}
			switch {
			case failed[job.ID] != nil:
				failed[job.ID] = c.whyRefused(ctx, job, failed[job.ID])
				continue
			case answer.OK:
				c.notes.announce(statuses[i])
			case answer.Row != nil && answer.Row.isAnothers(job):
				failed[job.ID] = answer.Row.taken()
				continue
			case answer.Current.Final():
				failed[job.ID] = &FinishedError{ID: job.ID, State: answer.Current}
				continue
			}
			push = append(push, job)
		}
	}
	return push, repeated, failed, nil
}

// saveEach saves statuses, all OK when there is no store. Those that the store refuses for their data are found by
// halving and listed in failed, so that they harm no other.
func (c *Client) saveEach(ctx context.Context, statuses []Status, failed map[string]error) ([]Saved, error) {
	if c.store == nil {
		return allOK(len(statuses)), nil
	}
	saved, err := save(ctx, c.store, statuses)
	switch {
	case err == nil || !IsPermanent(err):
		return saved, err
	case len(statuses) == 1:
		failed[statuses[0].JobID] = fmt.Errorf("save status: %w", err)
		return make([]Saved, 1), nil
	}
	half := len(statuses) / 2
	first, err := c.saveEach(ctx, statuses[:half], failed)
	if err != nil {
		return nil, err
	}
	second, err := c.saveEach(ctx, statuses[half:], failed)
	return append(first, second...), err
}

func allOK(n int) []Saved {
	saved := make([]Saved, n)
	for i := range saved {
		saved[i].OK = true
	}
	return saved
}

// save calls the store and brings its answer to one per status. A store that panics or answers nonsense will do so
// again, so these errors are permanent, and found by halving.
func save(ctx context.Context, store StatusStore, statuses []Status) (saved []Saved, err error) {
	defer func() {
		if err != nil && errors.As(err, new(*PanicError)) {
			err = Permanent(err)
		}
	}()
	defer catch(&err)
	saved, err = store.Save(ctx, statuses...)
	switch {
	case err != nil:
		return nil, err
	case saved == nil:
		return allOK(len(statuses)), nil
	case len(saved) != len(statuses):
		return nil, Permanent(fmt.Errorf("the status store gave %d answers for %d statuses", len(saved), len(statuses)))
	}
	return saved, nil
}

// InitialStatus returns the first status of a job that is about to be enqueued, as Client saves it: for hosts that write
// it in a transaction of their own and call Client.Push afterwards. What NewJob would set is filled in. It reports what
// the queue would refuse, but for payloads that are too large for a Client's MaxPayload.
func InitialStatus(job *Job) (Status, error) {
	if job == nil {
		return Status{}, errors.New("initial status: job is nil")
	}
	if job.claimed() {
		return Status{}, fmt.Errorf("initial status: %w", job.claimedError())
	}
	job.complete()
	if err := job.check(0); err != nil {
		return Status{}, fmt.Errorf("initial status of job %q: %w", job.ID, err)
	}
	return waitingStatus(job, 0), nil
}

// waitingStatus is the status of a job that was enqueued: with token 0, or the token that Requeue drew.
func waitingStatus(job *Job, token int64) Status {
	now := time.Now()
	st := Status{
		JobID: job.ID, Type: job.Type, Queue: job.Queue, Topic: job.Topic, State: StateQueued,
		Version: version(token, phaseWaiting, 0), MaxAttempts: job.Retry.or(DefaultRetry).MaxAttempts, At: now,
		Job: job.snapshot(),
	}
	switch {
	case job.Delay > 0:
		st.State, st.RunAt = StateScheduled, now.Add(job.Delay)
	case job.RunAt.After(now):
		st.State, st.RunAt = StateScheduled, job.RunAt
	}
	return st
}

// otherQueue says that an option contradicts what is known of a job.
func otherQueue(asked *Job, queue string) error {
	return &jobError{fmt.Errorf("OnQueue says %q: the job is on queue %q", asked.Queue, queue)}
}

// find builds the job that Cancel and Requeue are told about by id: its queue comes from the options, else from the
// store's row, else it is the default one. A row that is unfinished knows better than the options.
func (c *Client) find(ctx context.Context, id string, opts []JobOption) (*Job, *Status, error) {
	if err := checkName("id", id, MaxIDLength); err != nil {
		return nil, nil, &jobError{err}
	}
	asked := new(Job)
	asked.apply(opts)
	asked.ID = id
	var row *Status
	if c.getter != nil {
		var err error
		if row, err = c.getter.Get(ctx, id); err != nil && !errors.Is(err, ErrJobNotFound) {
			return nil, nil, fmt.Errorf("read status: %w", err)
		}
	}
	switch {
	case row == nil:
	case asked.Queue == "":
		asked.Queue = row.queue()
	case row.queue() != "" && asked.Queue != row.queue() && !row.State.Final():
		return nil, nil, otherQueue(asked, row.queue())
	}
	asked.complete()
	if err := CheckQueueName(asked.Queue); err != nil {
		return nil, nil, err
	}
	return asked, row, nil
}
