package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Handler runs one job. What it returns decides what becomes of the job: nil is success; any other error is another
// attempt, or failure when there is none left; Permanent, RetryAfter, Snooze and Cancel say more. A panic counts as an
// error. ctx ends at the job's timeout, when the job is canceled, when the pool stops and when the lease is lost;
// context.Cause tells which, and JobFromContext finds the job.
type Handler func(ctx context.Context, job *Job) error

// Middleware wraps every handler of a registry, the first one outermost.
type Middleware func(next Handler) Handler

// HandlerFunc is a handler with its payload decoded.
type HandlerFunc[P Payload] func(ctx context.Context, job *Job, payload P) error

// Registry tells a pool which handler runs which type of job. It is filled before NewPool, which takes a copy; what is
// wrong with it, a type registered twice say, NewPool reports. The zero value is empty and ready to use.
type Registry struct {
	handlers   map[string]registration
	middleware []Middleware
	problems   []error
}

type registration struct {
	handler  Handler
	defaults *Job       // what the handler's options set: Retry and Timeout
	kinds    *typeKinds // what telemetry says of it; a pool's only
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{} }

// Handle registers h for the jobs of P's type. P may be a struct or a pointer to one; a payload that doesn't decode
// into it, or whose Validate method returns an error, fails the job for good. The defaults apply where neither the job
// nor its payload says anything; only Timeout, MaxAttempts, RetryFor and WithRetry make sense there.
func Handle[P Payload](r *Registry, h HandlerFunc[P], defaults ...JobOption) {
	r.Handle(jobType[P](), func(ctx context.Context, job *Job) error {
		payload, err := DecodePayload[P](job)
		if err != nil {
			return err
		}
		return h(ctx, job, payload)
	}, defaults...)
}

// DecodePayload decodes and validates a job's payload as Handle does, for raw handlers and for whoever reads
// Status.Job. An error is a Permanent *DecodeError.
func DecodePayload[P Payload](job *Job) (P, error) {
	payload := newPayload[P]()
	into := any(&payload)
	if reflect.TypeFor[P]().Kind() == reflect.Pointer { // decoding null into a pointer's address would make it nil
		into = payload
	}
	err := json.Unmarshal(job.Payload, into)
	if v, ok := into.(validator); ok && err == nil { // the pointer has the value's methods, too
		err = v.Validate()
	}
	if err != nil {
		return payload, Permanent(&DecodeError{ID: job.ID, Body: job.Payload, Err: err})
	}
	return payload, nil
}

// jobType asks a zero P for its type, a pointer's through a zero value behind it.
func jobType[P Payload]() string { return newPayload[P]().JobType() }

func newPayload[P Payload]() P {
	var zero P
	if t := reflect.TypeFor[P](); t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface().(P)
	}
	return zero
}

// Handle registers a raw handler, which decodes Job.Payload itself.
func (r *Registry) Handle(jobType string, h Handler, defaults ...JobOption) {
	if err := checkName("job type", jobType, MaxTypeLength); err != nil {
		r.problems = append(r.problems, fmt.Errorf("registry: %w", err))
		return
	}
	if h == nil {
		r.problems = append(r.problems, fmt.Errorf("registry: handler for %q is nil", jobType))
		return
	}
	if _, ok := r.handlers[jobType]; ok {
		r.problems = append(r.problems, fmt.Errorf("registry: %q is registered twice", jobType))
		return
	}
	set := &Job{}
	set.apply(defaults)
	if err := checkDefaults(set); err != nil {
		r.problems = append(r.problems, fmt.Errorf("registry: defaults for %q: %w", jobType, err))
	}
	if r.handlers == nil {
		r.handlers = make(map[string]registration)
	}
	r.handlers[jobType] = registration{handler: h, defaults: set}
}

// checkDefaults refuses options that a worker could not apply, since the job is already where it is.
func checkDefaults(set *Job) error {
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"ID", set.ID != ""}, {"Queue", set.Queue != ""}, {"Topic", set.Topic != ""}, {"Key", set.Key != ""},
		{"Headers", set.Headers != nil}, {"Unique", set.Unique != nil}, {"Delay", set.Delay != 0},
		{"RunAt", !set.RunAt.IsZero()}, {"ExpiresAt", !set.ExpiresAt.IsZero()},
	} {
		if field.set {
			return fmt.Errorf("%s is set: a handler can set only Timeout and the retry policy", field.name)
		}
	}
	if set.Timeout < 0 {
		return negative("Timeout", set.Timeout)
	}
	return set.Retry.check()
}

// Use adds middleware around every handler, registered before or after.
func (r *Registry) Use(mw ...Middleware) {
	r.middleware = append(slices.Clip(r.middleware), mw...) // who adds to a copy of r adds nothing to r
}

// check returns what is wrong with the registry.
func (r *Registry) check() []error {
	problems := slices.Clone(r.problems)
	if slices.ContainsFunc(r.middleware, func(mw Middleware) bool { return mw == nil }) {
		problems = append(problems, errors.New("registry: a middleware is nil"))
	}
	return problems
}

// build returns the handlers with the middleware around them.
func (r *Registry) build() map[string]registration {
	built := make(map[string]registration, len(r.handlers))
	for name, reg := range r.handlers {
		for _, mw := range slices.Backward(r.middleware) {
			reg.handler = mw(reg.handler)
		}
		built[name] = reg
	}
	return built
}
