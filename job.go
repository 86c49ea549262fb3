package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/google/uuid"
)

// DefaultQueue is the queue of a job that names none.
const DefaultQueue = "default"

// topicPrefix and a job's id are the topic of one that names none.
const topicPrefix = "job:"

// Payload is the data of one type of job.
//
// JobType returns the name of the type, a constant such as "stage:run"; it is called on zero values and must not read
// its receiver. Two optional methods are looked for as well:
//
//   - JobOptions() []JobOption gives the defaults of this type; options given at enqueue override them.
//   - Validate() error is called before a job is enqueued and after its payload was decoded by a worker; there an
//     error is final, as trying again cannot mend the data.
type Payload interface{ JobType() string }

// Job is one unit of work: what producers send, queues carry and handlers receive.
//
// A Job is used through its pointer. Its exported fields belong to whoever created it until it is enqueued, and to the
// pool from its claim until it is settled: a handler reads them and writes only through the methods, which may be
// called from several goroutines.
type Job struct {
	// ID names the job: a UUIDv7 unless the producer chose one. Enqueueing an id twice is enqueueing it once until
	// the job is settled, and for ever when there is a StatusStore.
	ID string
	// Type selects the handler.
	Type string
	// Queue is where the job waits; empty means DefaultQueue. An id belongs to one queue.
	Queue string
	// Topic says whom to tell; empty means "job:" followed by the id.
	Topic string
	// Key is reserved for limits and fairness by key.
	Key string
	// Unique keeps other jobs of its key from being enqueued meanwhile. Nil: none. Read only once it is set.
	Unique *Unique
	// Payload is the job's data as JSON, byte-identical from Enqueue to handler.
	Payload json.RawMessage
	// Headers carry trace context and what the host adds.
	Headers map[string]string
	// Retry travels with the job, so that any process can apply it, also one that lacks its handler. Zero fields are filled
	// from the handler's defaults, then the pool's, then DefaultRetry.
	Retry RetryPolicy
	// Timeout bounds one run of the handler. Zero means the handler's default, then Config.JobTimeout.
	Timeout time.Duration
	// Delay postpones the job, counted by the queue's clock from the moment it is enqueued. It isn't encoded.
	Delay time.Duration
	// RunAt postpones the job to an absolute time. Delay wins when both are set; where only Delay is, RunAt is set to
	// when that ends by the producer's clock, for whoever looks at the job later. Zero means now.
	RunAt time.Time
	// ExpiresAt is the time after which no attempt starts any more, be it the first or a later one: the job fails with
	// ErrExpired when it is claimed. One that fails and would be retried after it fails at once, with the handler's error.
	// The queue's clock decides at the claim, and the worker's how long the job waits from then until it starts. Zero means
	// never.
	ExpiresAt time.Time
	// EnqueuedAt is when the job, or its current round, was enqueued, by the producer's clock, in milliseconds.
	EnqueuedAt time.Time

	// The fields below are filled in by the claim.

	// Attempt counts the runs that ended in an error, this one included: it starts at 1. A crash, a snooze or a
	// shutdown is not an attempt.
	Attempt int
	// Crashes is how many workers died holding the job.
	Crashes int
	// Token is the claim's fencing token: later claims have larger ones.
	Token int64
	// RunnableAt is since when the job could have run, by the clock of whoever decided that: EnqueuedAt, RunAt, or when
	// the queue made it due again. Zero when the queue doesn't know, as after a crash.
	RunnableAt time.Time
	// PreviousTrace is the Trace of the verdict that put the job back, empty if there is none. A release without one, as
	// of a job that didn't start, leaves that of the attempt before.
	PreviousTrace string
	// CheckpointData is the last checkpoint, nil if there is none.
	CheckpointData []byte
	// Reject says why the job must not run: ErrCanceled, ErrExpired, ErrCrashLoop or a *DecodeError (then only ID,
	// Queue and, as Payload, the raw body are set). Nil means: run it.
	Reject error

	mu     sync.Mutex
	live   reporter              // the attempt that runs the job; nil on a bare job
	heard  func(float64, string) // what OnProgress was given
	result json.RawMessage       // last SetResult

	// validJSON is the payload that was found to be valid while the job is in the library's hands, so that the three who
	// must know look once: who makes the job, the Client, and the Queue, which encodes.
	validJSON json.RawMessage
}

// reporter is what a pool hangs below a job while its handler runs.
type reporter interface {
	progress(fraction float64, message string)
	checkpoint(ctx context.Context, data []byte) error
	// writable reports whether the handler still owns the job: false once it was abandoned.
	writable() bool
}

// JobOption sets something on a job that is being made. What it sets is checked when the job is enqueued.
type JobOption func(*Job)

// OnQueue sends the job to the named queue.
func OnQueue(name string) JobOption { return func(j *Job) { j.Queue = name } }

// WithID gives the job the producer's own id, which makes enqueueing it idempotent.
func WithID(id string) JobOption { return func(j *Job) { j.ID = id } }

// WithTopic says whom to tell about the job.
func WithTopic(topic string) JobOption { return func(j *Job) { j.Topic = topic } }

// WithKey sets the key for limits and fairness.
func WithKey(key string) JobOption { return func(j *Job) { j.Key = key } }

// WithHeader adds one header. A later value for the same name replaces an earlier one.
func WithHeader(name, value string) JobOption {
	return func(j *Job) {
		if j.Headers == nil {
			j.Headers = make(map[string]string, 1)
		}
		j.Headers[name] = value
	}
}

// After postpones the job by d, counted by the queue's clock.
func After(d time.Duration) JobOption { return func(j *Job) { j.Delay = d } }

// At postpones the job to an absolute time.
func At(t time.Time) JobOption { return func(j *Job) { j.RunAt, j.Delay = t, 0 } }

// ExpireAt makes the job fail with ErrExpired instead of starting after t.
func ExpireAt(t time.Time) JobOption { return func(j *Job) { j.ExpiresAt = t } }

// ExpireAfter is ExpireAt a while from now by the producer's clock, whatever After and At say.
func ExpireAfter(d time.Duration) JobOption {
	return func(j *Job) { j.ExpiresAt = time.Now().Add(d) }
}

// MaxAttempts sets how many attempts the job has, the first included.
func MaxAttempts(n int) JobOption { return func(j *Job) { j.Retry.MaxAttempts = n } }

// RetryFor sets for how long after its enqueue, or after the time it was to run at, the job is tried again: as often as its
// delays allow, unless MaxAttempts is given as well.
func RetryFor(window time.Duration) JobOption { return func(j *Job) { j.Retry.Window = window } }

// WithRetry sets the whole retry policy. Its zero fields are for the next level to say: an option of the payload, the
// handler's defaults, the pool.
func WithRetry(p RetryPolicy) JobOption { return func(j *Job) { j.Retry = p } }

// Timeout bounds one run of the handler.
func Timeout(d time.Duration) JobOption { return func(j *Job) { j.Timeout = d } }

// NewJob makes a job from its payload, without enqueueing it: the host can insert its own row with job.ID first and
// pass the job to Client.EnqueueMany afterwards. ID, Queue, Topic and EnqueuedAt are set. The options of the payload
// apply first, then opts. An error names the field and the limit it breaks.
func NewJob(p Payload, opts ...JobOption) (*Job, error) {
	job, err := newJob(p, opts)
	if err != nil {
		return nil, err
	}
	job.validJSON = nil // from here on it is the host's
	return job, nil
}

func newJob(p Payload, opts []JobOption) (*Job, error) {
	if isNil(p) {
		return nil, errors.New("new job: payload is nil")
	}
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("new job %s: encode payload: %w", p.JobType(), err)
	}
	if err := validate(p); err != nil {
		return nil, fmt.Errorf("new job %s: payload: %w", p.JobType(), err)
	}
	job := &Job{Type: p.JobType(), Payload: data, validJSON: data}
	var below RetryPolicy // the payload's level
	if d, ok := p.(interface{ JobOptions() []JobOption }); ok {
		job.apply(d.JobOptions())
		below, job.Retry = job.Retry, RetryPolicy{}
	}
	job.apply(opts)
	job.Retry = job.Retry.or(below)
	job.complete()
	if err := job.check(0); err != nil {
		return nil, fmt.Errorf("new job: %w", err)
	}
	return job, nil
}

type validator interface{ Validate() error }

var validatorType = reflect.TypeFor[validator]()

// validate calls Validate where the payload or its address has it, as a worker will after decoding.
func validate(p Payload) error {
	if v, ok := p.(validator); ok {
		return v.Validate()
	}
	if reflect.TypeOf(p).Kind() == reflect.Pointer {
		return nil
	}
	if !reflect.PointerTo(reflect.TypeOf(p)).Implements(validatorType) {
		return nil
	}
	addressed := reflect.New(reflect.TypeOf(p))
	addressed.Elem().Set(reflect.ValueOf(p))
	return addressed.Interface().(validator).Validate()
}

func (j *Job) apply(opts []JobOption) {
	for _, opt := range opts {
		if opt != nil {
			opt(j)
		}
	}
}

// claimed reports whether a pool runs the job, or has run it.
func (j *Job) claimed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.live != nil
}

func (j *Job) claimedError() error {
	return fmt.Errorf("job %q was claimed by a worker: enqueue a job of your own, as NewJob makes it", j.ID)
}

// complete fills in what a producer may leave out.
func (j *Job) complete() {
	if j.ID == "" {
		j.setNewID()
	}
	if j.Queue == "" {
		j.Queue = DefaultQueue
	}
	if j.Topic == "" {
		j.Topic = topicPrefix + j.ID
	}
	if j.EnqueuedAt.IsZero() {
		j.EnqueuedAt = time.Now()
	}
	j.EnqueuedAt = millis(j.EnqueuedAt)
	if j.Delay > 0 && j.RunAt.IsZero() {
		j.RunAt = j.EnqueuedAt.Add(j.Delay)
	}
	j.RunAt = millis(j.RunAt)
	j.ExpiresAt = millis(j.ExpiresAt)
}

// setNewID gives the job an id, and the topic that belongs to it if it has none: one string holds both.
func (j *Job) setNewID() {
	id := uuid.Must(uuid.NewV7())
	if j.Topic != "" {
		j.ID = id.String()
		return
	}
	text, _ := id.MarshalText() // never fails
	j.Topic = topicPrefix + string(text)
	j.ID = j.Topic[len(topicPrefix):]
}

// snapshot copies what a producer sets: the job is its owner's again while others may still look at the copy. The
// payload's bytes are shared, as nobody changes them.
func (j *Job) snapshot() *Job {
	unique := j.Unique
	if unique != nil {
		unique = new(*unique)
	}
	return &Job{
		ID: j.ID, Type: j.Type, Queue: j.Queue, Topic: j.Topic, Key: j.Key, Unique: unique, Payload: j.Payload,
		Headers: maps.Clone(j.Headers), Retry: j.Retry, Timeout: j.Timeout, Delay: j.Delay,
		RunAt: j.RunAt, ExpiresAt: j.ExpiresAt, EnqueuedAt: j.EnqueuedAt,
	}
}

// millis drops what the wire format doesn't carry: the location and all below a millisecond.
func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

type jobKey struct{}

// JobFromContext returns the job whose handler received ctx.
func JobFromContext(ctx context.Context) (*Job, bool) {
	job, ok := ctx.Value(jobKey{}).(*Job)
	return job, ok
}

// ContextWithJob returns a context in which JobFromContext finds job: for tests of what a handler calls.
func ContextWithJob(ctx context.Context, job *Job) context.Context {
	return context.WithValue(ctx, jobKey{}, job)
}

// Progress tells how far the handler is: fraction from 0 to 1 (values outside are clamped), and a message for people.
// It never blocks and never fails the job. Of calls in quick succession (100 ms, later 1/400 of the time run) only the
// last one is saved and announced. On a job that no pool runs it only calls what OnProgress was given.
func (j *Job) Progress(fraction float64, message string) {
	j.mu.Lock()
	live, heard := j.live, j.heard
	j.mu.Unlock()
	if heard != nil {
		heard(fraction, message)
	}
	if live != nil {
		live.progress(fraction, message)
	}
}

// OnProgress makes every later call of Progress on this job call f first, with what the handler said, unclamped, also when
// it will be neither saved nor announced. Middleware calls it before the handler runs; of several f all are called, in
// order. A handler that reports from several goroutines calls f from them.
func (j *Job) OnProgress(f func(fraction float64, message string)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := j.heard
	if before == nil {
		j.heard = f
		return
	}
	j.heard = func(fraction float64, message string) {
		before(fraction, message)
		f(fraction, message)
	}
}

// SetResult sets what the job's final status carries as its result when the handler succeeds: v as JSON, at most
// MaxResultSize bytes. A later call replaces an earlier one.
func (j *Job) SetResult(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("set result: %w", err)
	}
	if len(data) > MaxResultSize {
		return limitError("result", len(data), MaxResultSize)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.live != nil && !j.live.writable() {
		return fmt.Errorf("set result: %w", ErrAbandoned)
	}
	j.result = data
	return nil
}

// Result returns what SetResult stored, nil if nothing was.
func (j *Job) Result() json.RawMessage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.result
}

// Checkpoint stores v as JSON, at most MaxCheckpointSize bytes, so that the job's next attempt finds it, whichever
// process runs it. It is durable when it returns, and refused with ErrLeaseLost when the job is no longer this
// worker's. A queue that cannot keep checkpoints answers errors.ErrUnsupported. On a job that no pool runs the value
// is kept in CheckpointData.
func (j *Job) Checkpoint(ctx context.Context, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if len(data) > MaxCheckpointSize {
		return limitError("checkpoint", len(data), MaxCheckpointSize)
	}
	j.mu.Lock()
	live := j.live
	j.mu.Unlock()
	if live != nil {
		if !live.writable() {
			return fmt.Errorf("checkpoint: %w", ErrAbandoned)
		}
		if err := live.checkpoint(ctx, data); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	j.mu.Lock()
	j.CheckpointData = data
	j.mu.Unlock()
	return nil
}

// LastCheckpoint decodes the last checkpoint into v and reports whether there was one.
func (j *Job) LastCheckpoint(v any) (bool, error) {
	j.mu.Lock()
	data := j.CheckpointData
	j.mu.Unlock()
	if len(data) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("last checkpoint: %w", err)
	}
	return true, nil
}
