package worker

import (
	"context"
	"maps"
	"slices"
	"sync"
)

const (
	maxPropagated = 4 << 10   // bytes that a propagator may add to a job's headers
	baggageHeader = "baggage" // of W3C Baggage
)

// inject adds the trace context and baggage to the headers of jobs, in maps of their own: at most 4 KiB, and no more than
// fits beside the host's headers. What doesn't fit is left out, baggage first. The propagator is asked once for all.
func (t *telemetry) inject(ctx context.Context, jobs []*Job) {
	c := carriers.Get().(*carrier)
	defer c.release()
	t.write(ctx, c)
	if c.size() > maxPropagated {
		c.fields = slices.DeleteFunc(c.fields, field.isBaggage)
	}
	if len(c.fields) == 0 || c.size() > maxPropagated {
		return
	}
	for _, job := range jobs {
		host := job.Headers
		if !c.addTo(job, host, true) && !c.addTo(job, host, false) {
			job.Headers = host
		}
	}
}

// write asks the propagator. One that panics writes nothing more, and takes nobody down: who enqueues may be a pool.
func (t *telemetry) write(ctx context.Context, c *carrier) {
	defer handlePanic("inject the trace context")
	t.propagator.Inject(ctx, c)
}

// extract returns ctx with what the job's headers say of its sender; as it is, when the propagator panics or returns none.
func (t *telemetry) extract(ctx context.Context, job *Job) (sender context.Context) {
	defer func() {
		if sender == nil {
			sender = ctx
		}
	}()
	defer handlePanic("extract the trace context")
	return t.propagator.Extract(ctx, headers(job.Headers))
}

// carrier gathers what a propagator writes, which costs nothing when it writes nothing.
type carrier struct{ fields []field }

type field struct{ name, value string }

func (f field) isBaggage() bool { return f.name == baggageHeader }

var carriers = sync.Pool{New: func() any { return new(carrier) }}

func (c *carrier) release() {
	clear(c.fields)
	c.fields = c.fields[:0]
	carriers.Put(c)
}

func (c *carrier) Set(name, value string) {
	for i := range c.fields {
		if c.fields[i].name == name {
			c.fields[i].value = value
			return
		}
	}
	c.fields = append(c.fields, field{name, value})
}

func (c *carrier) Get(name string) string {
	for _, f := range c.fields {
		if f.name == name {
			return f.value
		}
	}
	return ""
}

func (c *carrier) Keys() []string {
	names := make([]string, len(c.fields))
	for i, f := range c.fields {
		names[i] = f.name
	}
	return names
}

func (c *carrier) size() (n int) {
	for _, f := range c.fields {
		n += len(f.name) + len(f.value)
	}
	return n
}

// addTo gives the job a map with the host's headers and these, and reports whether that is within the limits.
func (c *carrier) addTo(job *Job, host map[string]string, baggage bool) (fits bool) {
	job.Headers = make(map[string]string, len(host)+len(c.fields))
	maps.Copy(job.Headers, host)
	for _, f := range c.fields {
		if baggage || !f.isBaggage() {
			job.Headers[f.name] = f.value
		}
	}
	return job.checkHeaders() == nil
}

// headers lets a propagator read a job's headers.
type headers map[string]string

func (h headers) Get(name string) string { return h[name] }

func (h headers) Set(name, value string) { h[name] = value }

func (h headers) Keys() []string { return slices.Collect(maps.Keys(h)) }
