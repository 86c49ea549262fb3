package workertest

import (
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// telemetryRows are the promises about what a queue tells those who watch it.
var telemetryRows = []row[*queueBench]{
	{name: "previous trace", run: previousTrace,
		promise: "a put-back job carries the trace of the attempt before"},
	{name: "kept trace", run: keptTrace,
		promise: "a release without a trace leaves that of the attempt before"},
	{name: "runnable", run: runnable,
		promise: "a job tells since when it could have run: since it was enqueued, or was due"},
	{name: "runnable again", run: runnableAgain,
		promise: "a job that was put back tells since when it is due again"},
	{name: "runnable after a crash", run: runnableAfterCrash,
		promise: "a job that comes from a dead worker tells no time at which it was still held"},
	{name: "stats", run: statsByState,
		promise: "stats count jobs by state"},
	{name: "oldest age", run: oldestAge,
		promise: "stats tell for how long the job that is next in line could have run, and nothing when none waits"},
	{name: "oldest age after a crash", run: oldestAgeAfterCrash,
		promise: "stats tell an age however many jobs of a dead worker are next in line: at most that since they were enqueued"},
	{name: "ping", run: ping,
		promise: "a queue that answers is pinged without an error, and not once the context is over"},
	{name: "renewals are told", run: renewalsAreTold,
		promise: "each renewal of a lease is told of, until the session is closed"},
	{name: "recoveries are told", run: recoveriesAreTold,
		promise: "jobs of a dead worker that were given back are told of by one session, once"},
}

// traces are W3C traceparents.
var traces = [...]string{
	"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-00",
	"00-80e1afed08e019fc1110464cfa66635c-7a085853722dc6d2-01",
}

// traced claims one job, which must carry the trace.
func (c *consumer) traced(want, why string) *worker.Job {
	c.b.Helper()
	job := c.one()
	if job.PreviousTrace != want {
		c.b.Fatalf("%s: the trace of the attempt before is %q, want %q", why, job.PreviousTrace, want)
	}
	return job
}

// putBack settles one job.
func (c *consumer) putBack(v worker.Verdict) {
	c.b.Helper()
	c.b.ok(c.Settle(c.b.ctx, v), "settle: "+v.Action.String())
}

func previousTrace(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	job := c.traced("", "before the first attempt")
	for i, v := range []worker.Verdict{
		{Action: worker.ActionRetry}, {Action: worker.ActionSnooze, Delay: aWhile}, {Action: worker.ActionRelease, Delay: aWhile},
		{Action: worker.ActionRelease},
	} {
		v.Job, v.Trace = job, traces[i]
		c.putBack(v)
		job = c.traced(traces[i], "after a "+v.Action.String())
	}
	for _, action := range []worker.Action{worker.ActionRetry, worker.ActionSnooze} {
		c.putBack(worker.Verdict{Job: job, Action: action})
		job = c.traced("", "after a "+action.String()+" without one")
		c.putBack(worker.Verdict{Job: job, Action: worker.ActionRetry, Trace: traces[0]})
		job = c.one()
	}
}

func keptTrace(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	c.putBack(worker.Verdict{Job: c.one(), Action: worker.ActionRetry, Trace: traces[0]})
	for _, delay := range []time.Duration{0, aWhile} {
		c.settleAfter(worker.ActionRelease, delay, c.traced(traces[0], "after a retry"))
	}
	c.traced(traces[0], "after a retry and releases")
}

// sinceAbout fails the row unless a job says that it could run since some time between from and to.
func (b *queueBench) sinceAbout(job *worker.Job, from, to time.Time, why string) {
	b.Helper()
	if b.advance != nil {
		from = from.Add(-time.Since(b.start)) // the queue's clock may have stood still all the while
	}
	if job.RunnableAt.Before(from.Add(-imprecise)) || job.RunnableAt.After(to.Add(imprecise)) {
		b.Fatalf("%s: it could run since %v, want from %v to %v", why, job.RunnableAt, from, to)
	}
}

func runnable(b *queueBench) {
	c := b.consume()
	enqueued := b.enqueue(b.job())[0].EnqueuedAt
	b.pass(aWhile)
	b.sinceAbout(c.one(), enqueued, enqueued, "a job without a delay")
	start := b.now()
	b.enqueue(b.job(worker.At(start.Add(aWhile))))
	b.sinceAbout(c.one(), start.Add(aWhile), start.Add(aWhile), "a job with RunAt")
	if b.advance != nil {
		return // when a delay ends may be told by the producer's clock
	}
	start = b.now()
	b.enqueue(b.job(worker.After(aWhile)))
	b.sinceAbout(c.one(), start.Add(aWhile), b.now(), "a job with a delay")
}

func runnableAgain(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	job := c.one()
	for _, action := range []worker.Action{worker.ActionRetry, worker.ActionSnooze, worker.ActionRelease} {
		b.pass(aWhile)
		before := b.now()
		c.settleAfter(action, aWhile, job)
		after := b.now()
		b.pass(2 * aWhile)
		job = c.one()
		b.sinceAbout(job, before.Add(aWhile), after.Add(aWhile), "after a "+action.String())
	}
}

func runnableAfterCrash(b *queueBench) {
	b.mortal()
	b.enqueue(b.job())
	dead, heir := b.consume(), b.consume()
	dead.one()
	dead.kill()
	b.pass(2 * imprecise)
	killed := b.now()
	if job := heir.inherit(); !job.RunnableAt.IsZero() {
		b.sinceAbout(job, killed, b.now(), "after a crash")
	}
}

// stats returns the row's queue's, and skips the row if it isn't a Sampler.
func (b *queueBench) stats() worker.QueueStats {
	b.Helper()
	sampler, ok := b.queue.(worker.Sampler)
	if !ok {
		b.Skipf("the queue is not a Sampler")
	}
	stats, err := sampler.Stats(b.ctx, b.name)
	b.ok(err, "stats")
	return stats
}

// counts fails the row unless the queue has so many jobs of each state.
func (b *queueBench) counts(want worker.QueueStats, why string) {
	b.Helper()
	got := b.stats()
	want.Queue, want.OldestAge = b.name, got.OldestAge
	if got != want {
		b.Fatalf("%s: %+v, want %+v", why, got, want)
	}
}

func statsByState(b *queueBench) {
	b.counts(worker.QueueStats{}, "a queue that nobody has used")
	b.enqueue(b.jobs(6)...)
	b.enqueue(b.job(worker.After(time.Hour)), b.job(worker.After(time.Hour)))
	b.enqueue(b.job(worker.OnQueue(b.name + ".other")))
	b.counts(worker.QueueStats{Waiting: 6, Scheduled: 2}, "before the first claim")
	c, other := b.consume(), b.consume()
	held := c.claim(4)
	other.claim(1)
	b.counts(worker.QueueStats{Waiting: 1, Scheduled: 2, Running: 5, Workers: 2}, "while jobs run")
	c.settle(worker.ActionComplete, held[0])
	c.settle(worker.ActionBury, held[1])
	c.settleAfter(worker.ActionRetry, time.Hour, held[2])
	b.counts(worker.QueueStats{Waiting: 1, Scheduled: 3, Running: 2, Dead: 1, Workers: 2}, "after jobs have ended")
	b.ok(other.Close(b.ctx), "close")
	b.counts(worker.QueueStats{Waiting: 2, Scheduled: 3, Running: 1, Dead: 1, Workers: 1}, "after a session was closed")
	b.enqueue(b.job(worker.After(aWhile)))
	b.pass(2 * aWhile)
	b.counts(worker.QueueStats{Waiting: 3, Scheduled: 3, Running: 1, Dead: 1, Workers: 1}, "after a job has fallen due")
}

func oldestAge(b *queueBench) {
	if age := b.stats().OldestAge; age != 0 {
		b.Fatalf("nothing waits, and the oldest age is %v", age)
	}
	about := func(from, to time.Time, why string) {
		b.Helper()
		before := b.now()
		age := b.stats().OldestAge
		if least, most := before.Sub(to)-imprecise, b.now().Sub(from)+imprecise; age < least || age > most {
			b.Fatalf("%s: the oldest age is %v, want from %v to %v", why, age, least, most)
		}
	}
	first := b.job()
	b.enqueue(first, b.job(worker.After(time.Hour)))
	b.pass(aWhile)
	second := b.enqueue(b.job())[0]
	about(first.EnqueuedAt, first.EnqueuedAt, "two jobs wait")
	c := b.consume()
	job := c.one()
	about(second.EnqueuedAt, second.EnqueuedAt, "the first one runs")
	before := b.now()
	c.settleAfter(worker.ActionRetry, aWhile, job)
	after := b.now()
	c.settle(worker.ActionComplete, c.one())
	b.pass(3 * aWhile)
	about(before.Add(aWhile), after.Add(aWhile), "the first one is due again")
	c.one()
	if age := b.stats().OldestAge; age != 0 {
		b.Fatalf("all that is due runs, and the oldest age is %v", age)
	}
}

func oldestAgeAfterCrash(b *queueBench) {
	b.mortal()
	const crashed = 24
	enqueued := b.now()
	b.enqueue(b.jobs(crashed)...)
	dead, heir := b.consume(), b.consume()
	dead.claim(crashed)
	dead.kill()
	heir.inherit() // of the others none has started again
	inherited := b.now()
	b.pass(aWhile)
	before := b.now()
	age := b.stats().OldestAge
	if least, most := before.Sub(inherited)-imprecise, b.now().Sub(enqueued)+imprecise; age < least || age > most {
		b.Fatalf("the oldest age is %v, want from %v to %v", age, least, most)
	}
}

func ping(b *queueBench) {
	pinger, ok := b.queue.(worker.Pinger)
	if !ok {
		b.Skipf("the queue is not a Pinger")
	}
	b.ok(pinger.Ping(b.ctx), "ping")
	over, cancel := context.WithCancel(b.ctx)
	cancel()
	b.prompt("a ping whose context is over", func() {
		if err := pinger.Ping(over); err == nil {
			b.Fatalf("a ping whose context is over succeeded")
		}
	})
}

func renewalsAreTold(b *queueBench) {
	told := make(chan error, 1000)
	c := b.consumeWith(b.name, worker.ConsumeOptions{OnRenewal: func(err error) { told <- err }})
	leaser, ok := c.Consumer.(worker.Leaser)
	if !ok {
		b.Skipf("the consumer is not a Leaser")
	}
	if b.advance != nil {
		b.Skipf("the clock that is moved is not that of renewals")
	}
	b.pass(leaser.Lease() + imprecise)
	if len(told) == 0 {
		b.Fatalf("no renewal was told of within a lease of %v", leaser.Lease())
	}
	b.ok(<-told, "a renewal")
	b.ok(c.Close(b.ctx), "close")
	before := len(told)
	b.pass(leaser.Lease())
	if len(told) > before {
		b.Fatalf("%d renewals were told of after the session was closed", len(told)-before)
	}
}

func recoveriesAreTold(b *queueBench) {
	b.mortal()
	told := make(chan int, 100)
	opts := worker.ConsumeOptions{OnRecovered: func(jobs int) { told <- jobs }}
	b.enqueue(b.jobs(4)...)
	idle, dead, heir := b.consume(), b.consume(), b.consumeWith(b.name, opts)
	b.consumeWith(b.name, opts)
	dead.claim(3)
	dead.kill()
	idle.kill() // there is nothing to give back
	heir.claimWithin(4, b.takeover+b.patience)
	for jobs := 0; jobs < 3; {
		more := received(b.bench, told, "what was given back")
		if jobs += more; more < 1 || jobs > 3 {
			b.Fatalf("%d jobs are said to be given back, %d were", jobs, 3)
		}
	}
	heir.outlive()
	if len(told) > 0 {
		b.Fatalf("%d jobs are said to be given back once more", <-told)
	}
}
