package worker

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"
)

const (
	maxConcurrency   = 100_000
	minSweepInterval = time.Second
	maxPoolName      = 255
	forever          = 10 * 365 * 24 * time.Hour // longer times would overflow where they are added up
)

// Config is what a pool is made of. Backend.Queue and Registry are required.
type Config struct {
	Backend

	// Name is what an Inspector calls the pool's workers, besides their host and process: a service's name, a pod's. It
	// has at most 255 bytes. Empty means the host's name, a colon, and the process id.
	Name string
	// Registry tells which handler runs which type of job. NewPool takes a copy.
	Registry *Registry
	// Queues are the queues to serve. Nil means {"default": {}}.
	Queues map[string]QueueConfig
	// Strict makes the weights ranks: a queue is served only while those of greater weight have nothing waiting, or are at
	// their own limit, so it may well starve. Queues of equal weight share. What was claimed runs on, and one with its last
	// crash to spend keeps all queues waiting, see MaxCrashes. False shares the slots by weight, and no queue starves.
	Strict bool
	// Concurrency is how many handlers run at once, at most 100,000. Zero means GOMAXPROCS.
	Concurrency int
	// Retry applies where neither the job nor its handler says anything. Zero fields mean DefaultRetry.
	Retry RetryPolicy
	// MaxCrashes is how many workers a job may take down before it fails. Zero means 3. A job with its last crash to spend
	// runs alone, so that it takes nothing else along: from its claim until it has ended the worker claims nothing, from any
	// queue, and it starts when what the worker runs has ended: their timeouts bound that.
	MaxCrashes int
	// JobTimeout bounds a handler where neither the job nor its handler's defaults do. Zero means 30 minutes.
	JobTimeout time.Duration
	// DrainTimeout is how long jobs may go on after Stop. Zero means 30 seconds.
	DrainTimeout time.Duration
	// CancelGrace is how long a handler may take to return after its context has ended. Then it is abandoned: its slot
	// is freed, and what it still says is refused. Zero means 5 seconds.
	CancelGrace time.Duration
	// TraceParent makes the first attempt of a job a child of the span that enqueued it, so that both are in one trace. The
	// default is a trace for each attempt, with a link to what enqueued the job: jobs that wait for hours, or enqueue
	// others, would make traces without end.
	TraceParent bool
	// TraceCalls adds spans of kind client around calls to the status store and settlements. They have no parent, as they
	// concern many jobs, but links to the attempts.
	TraceCalls bool
	// SweepInterval is how often the pool looks for jobs that the status store knows as unfinished and the queue has
	// lost, and for how long those must not have changed, up to a minute; see Client.Sweep. Of all pools on one store
	// one does it at a time. Zero means 1 minute, the least is 1 second, and less than zero means never.
	SweepInterval time.Duration
	// Periodic are jobs that this pool enqueues by schedule, together with all other pools that have them. Their queues need
	// not be among Queues. Nil means none.
	Periodic []Periodic
}

// QueueConfig is one queue's part in a pool.
type QueueConfig struct {
	// Weight is the queue's share of the pool's slots while several queues have jobs: beside one of weight 9, a queue of
	// weight 1 has a tenth of the time in which slots are held, however long its jobs and the others' take. Slots that some
	// queue doesn't use are shared by the others. What one has had too much of while others waited, they catch up on: after
	// a job of an hour, the queue of weight 1 waits until the other has held slots for nine. A Concurrency bounds how much a
	// queue of long jobs can have had. Zero means 1.
	Weight int
	// Concurrency is how many of the pool's slots the queue may use at once. Zero means all.
	Concurrency int
}

func (c *Config) problems() (problems []error) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if c.Registry == nil {
		add("Registry is missing")
	} else {
		problems = append(problems, c.Registry.check()...)
	}
	if c.Queues != nil && len(c.Queues) == 0 {
		add("Queues is empty: leave it out for the queue %q", DefaultQueue)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Queues)) {
		if err := checkQueue(name, c.Queues[name]); err != nil {
			add("Queues: %w", err)
		}
	}
	if c.Name != "" {
		if err := checkName("Name", c.Name, maxPoolName); err != nil {
			problems = append(problems, err)
		}
	}
	if c.Concurrency < 0 || c.Concurrency > maxConcurrency {
		add("Concurrency is %d: it must lie between 0 and %d", c.Concurrency, maxConcurrency)
	}
	if c.MaxCrashes < 0 {
		add("MaxCrashes is %d: it must not be negative", c.MaxCrashes)
	}
	if err := c.Retry.check(); err != nil {
		add("Retry: %w", err)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"JobTimeout", c.JobTimeout}, {"DrainTimeout", c.DrainTimeout}, {"CancelGrace", c.CancelGrace}} {
		if d.value < 0 {
			problems = append(problems, negative(d.field, d.value))
		}
	}
	if c.SweepInterval > 0 && c.SweepInterval < minSweepInterval {
		add("SweepInterval is %v: the least is %v", c.SweepInterval, minSweepInterval)
	}
	return problems
}

func checkQueue(name string, q QueueConfig) error {
	var negative error
	if q.Weight < 0 || q.Concurrency < 0 {
		negative = fmt.Errorf("queue %q has weight %d and concurrency %d: neither may be negative", name, q.Weight, q.Concurrency)
	}
	return errors.Join(CheckQueueName(name), negative)
}

func (c *Config) applyDefaults() {
	if c.Queues == nil {
		c.Queues = map[string]QueueConfig{DefaultQueue: {}}
	}
	c.Concurrency = or(c.Concurrency, runtime.GOMAXPROCS(0))
	c.MaxCrashes = or(c.MaxCrashes, 3)
	c.JobTimeout = or(c.JobTimeout, 30*time.Minute)
	c.DrainTimeout = min(or(c.DrainTimeout, 30*time.Second), forever)
	c.CancelGrace = min(or(c.CancelGrace, 5*time.Second), forever)
	c.SweepInterval = min(or(c.SweepInterval, time.Minute), forever)
	c.Retry = c.Retry.or(DefaultRetry)
}

// process is what the pool's workers tell of themselves. The host's name and the process id come from the operating system,
// not from the environment.
func (c *Config) process() Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := Process{Name: c.Name, Host: host, PID: os.Getpid(), Started: millis(time.Now())}
	p.Name = or(p.Name, fmt.Sprintf("%s:%d", host, p.PID))
	return p
}

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}
