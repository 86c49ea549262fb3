package worker

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Bounds of the histograms. Of durations in seconds the conventions' own end at 10.
var (
	durationBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}
	waitBuckets      = []float64{.001, .005, .025, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}
	operationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	sizeBuckets      = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}
)

// instruments are the synchronous ones; the others are a gauges'.
type instruments struct {
	duration, operation, wait, statusLag metric.Float64Histogram
	claimSize                            metric.Int64Histogram
	sent, consumed, finished, retries    metric.Int64Counter
	renewals, leaseLost, recovered       metric.Int64Counter
	abandoned, dropped                   metric.Int64Counter
}

// create makes them. A meter that cannot make one says so.
func (i *instruments) create(m metric.Meter) error {
	var problems []error
	seconds := func(name, what string, buckets []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what),
			metric.WithExplicitBucketBoundaries(buckets...))
		problems = append(problems, err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		problems = append(problems, err)
		return c
	}
	i.duration = seconds(metricDuration, "How long handlers ran.", durationBuckets)
	i.operation = seconds(metricOperation, "How long calls that enqueued, claimed or settled took.", operationBuckets)
	i.wait = seconds(metricWait, "How long jobs that could run waited for their start.", waitBuckets)
	i.statusLag = seconds(metricStatusLag, "How long statuses waited to be saved.", operationBuckets)
	i.sent = counter(metricSent, "{message}", "Jobs enqueued.")
	i.consumed = counter(metricConsumed, "{message}", "Jobs claimed.")
	i.finished = counter(metricFinished, "{job}", "Attempts that ended, by outcome.")
	i.retries = counter(metricRetries, "{job}", "Attempts that ended in another one.")
	i.renewals = counter(metricRenewals, "{renewal}", "Renewals of leases that were tried.")
	i.leaseLost = counter(metricLeaseLost, "{lease}", "Leases that were lost.")
	i.recovered = counter(metricRecovered, "{job}", "Jobs of dead workers that were given back to their queue.")
	i.abandoned = counter(metricAbandoned, "{job}", "Handlers that ignored the end of their context.")
	i.dropped = counter(metricDropped, "{status}", "Statuses that nobody was told about, since the notifier failed or fell behind.")
	size, err := m.Int64Histogram(metricClaimSize, metric.WithUnit("{job}"),
		metric.WithDescription("Jobs that a claim brought."), metric.WithExplicitBucketBoundaries(sizeBuckets...))
	i.claimSize = size
	return errors.Join(append(problems, err)...)
}

// countSent counts the jobs that were accepted: those that were refused, or whose fate is unknown, are in what operated
// tells.
func (t *telemetry) countSent(ctx context.Context, kinds *queueKinds, jobs []*Job, err error) {
	if !t.sent.Enabled(ctx) {
		return
	}
	jobs = enqueued(jobs, err)
	if kinds.queue != "" && len(jobs) > 0 {
		t.sent.Add(ctx, int64(len(jobs)), kinds.sent.add...)
		return
	}
	for _, job := range jobs {
		t.sent.Add(ctx, 1, t.kindsOf(job.Queue).sent.add...)
	}
}

// enqueued returns those of the jobs that a call with this error enqueued: all, those that an *EnqueueError doesn't name,
// or none.
func enqueued(jobs []*Job, err error) []*Job {
	if err == nil {
		return jobs
	}
	failed := (*EnqueueError)(nil)
	if !errors.As(err, &failed) {
		return nil
	}
	var accepted []*Job
	for _, job := range jobs {
		if failed.Failed[job.ID] == nil {
			accepted = append(accepted, job)
		}
	}
	return accepted
}

// operated measures a call to the queue.
func (t *telemetry) operated(ctx context.Context, operation string, kinds *queueKinds, took time.Duration, err error) {
	if !t.operation.Enabled(ctx) {
		return
	}
	opt := kinds.calls[operation]
	if err != nil {
		opt = t.set(setKey{operation: operation, queue: kinds.queue, errorType: errorType(err), call: true})
	}
	t.operation.Record(ctx, took.Seconds(), opt.record...)
}

// claimed measures a claim. One that found nothing, or was cut short by its session's end, is none.
func (t *telemetry) claimed(ctx context.Context, kinds *queueKinds, jobs int, took time.Duration, err error) {
	if jobs == 0 && (err == nil || ctx.Err() != nil) || !t.operation.Enabled(ctx) {
		return
	}
	t.operated(ctx, opReceive, kinds, took, err)
	if jobs > 0 {
		t.consumed.Add(ctx, int64(jobs), kinds.consumed.add...)
		t.claimSize.Record(ctx, int64(jobs), kinds.plain.record...)
	}
}

// waited measures how long a job that starts now could have run.
func (t *telemetry) waited(ctx context.Context, a *attempt) {
	if since := a.job.RunnableAt; !since.IsZero() && t.wait.Enabled(ctx) {
		t.wait.Record(ctx, max(a.started.Sub(since), 0).Seconds(), a.kinds().plain.record...)
	}
}

// ended counts an attempt that ended, also one that never ran, and measures one that did.
func (t *telemetry) ended(ctx context.Context, a *attempt, o *outcome) {
	if !t.finished.Enabled(ctx) {
		return
	}
	kinds := a.kinds()
	count, measure := kinds.succeeded, kinds.success
	if o.name != string(StateSucceeded) {
		key := setKey{queue: a.session.feed.queue, jobType: kinds.name, outcome: o.name, errorType: errorType(o.err)}
		count = t.set(key)
		key.operation = opProcess
		measure = t.set(key)
	}
	if o.name == string(StateRetrying) {
		t.retries.Add(ctx, 1, kinds.plain.add...)
	}
	t.finished.Add(ctx, 1, count.add...)
	if o.took > 0 {
		t.duration.Record(ctx, o.took.Seconds(), measure.record...)
	}
}

// kinds are what is told of the attempt's type, on the pool's own queue, as a job that can't be read has none.
func (a *attempt) kinds() *typeKinds {
	if a.reg.kinds == nil {
		return a.session.feed.unknown
	}
	return a.reg.kinds
}

// saved measures how long statuses waited for the store.
func (t *telemetry) saved(ctx context.Context, items []saveItem, statuses []Status) {
	if !t.statusLag.Enabled(ctx) {
		return
	}
	now := time.Now()
	for i := range statuses {
		kinds := items[i].a.session.feed.kinds
		t.statusLag.Record(ctx, max(now.Sub(statuses[i].At), 0).Seconds(), kinds.plain.record...)
	}
}

// renewed counts a renewal of a lease.
func (t *telemetry) renewed(ctx context.Context, queue string, err error) {
	if !t.renewals.Enabled(ctx) {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = "error"
	}
	t.renewals.Add(ctx, 1, metric.WithAttributes(attribute.String(attrDestination, queue), attribute.String(attrRenewal, outcome)))
}

// count adds to a counter of a queue's, of things that happen seldom.
func (t *telemetry) count(ctx context.Context, c metric.Int64Counter, kinds *queueKinds, n int) {
	if c.Enabled(ctx) {
		c.Add(ctx, int64(n), kinds.plain.add...)
	}
}

// errorType classes an error, for attributes that may have few values; empty for none.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	if said, ok := err.(*answer); ok { //nolint:errorlint // the host's own errors are not asked again
		return said.class
	}
	return classOf(err)
}

// classes are asked in this order: what is said of the job, before what is said of its worker.
var classes = []struct {
	err  error
	name string
}{
	{ErrGoexit, "goexit"},
	{ErrAbandoned, "abandoned"},
	{ErrCanceled, "canceled"},
	{ErrExpired, "expired"},
	{ErrRetryWindow, "retry_window"},
	{ErrCrashLoop, "crash_loop"},
	{ErrUnknownType, "unknown_type"},
	{ErrLeaseLost, "lease_lost"},
	{ErrShutdown, "shutdown"},
	{ErrRefused, "refused"},
	{context.DeadlineExceeded, classTimeout},
	{context.Canceled, "canceled"},
}

const (
	classTimeout = "timeout"
	classOther   = "_OTHER" // the conventions' own word
)

// classOfAnswer classes what a handler returned by what is in it, or else by what it says to the pool.
func classOfAnswer(err error, v verb) string {
	class := classOf(err)
	switch {
	case class != classOther:
	case v == verbPermanent:
		return "permanent"
	case v == verbCancel:
		return "canceled"
	}
	return class
}

// timedOut classes what a handler returned when its time was up, in whatever words.
func timedOut(err error) {
	if said, ok := err.(*answer); ok && said.class == classOther { //nolint:errorlint // it is made in read, and never wrapped
		said.class = classTimeout
	}
}

// classOf asks the error itself, which may be a host's and panic.
func classOf(err error) string {
	switch {
	case errors.As(err, new(*PanicError)):
		return "panic"
	case errors.As(err, new(*DecodeError)):
		return "decode"
	}
	for _, class := range classes {
		if errors.Is(err, class.err) {
			return class.name
		}
	}
	return classOther
}
