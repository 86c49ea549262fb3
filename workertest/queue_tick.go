package workertest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// tickRows are the promises of worker.Ticker.
var tickRows = []row[*queueBench]{
	{name: "tick", run: tick,
		promise: "the job of a tick is enqueued as it is, and the tick is the schedule's last one then"},
	{name: "tick twice", run: tickTwice,
		promise: "a tick is enqueued once, also after its job was settled and forgotten"},
	{name: "older ticks", run: olderTicks,
		promise: "a tick before the last one is not enqueued"},
	{name: "ticks at once", run: ticksAtOnce,
		promise: "of replicas that enqueue the same tick at the same time one does"},
	{name: "schedules apart", run: schedulesApart,
		promise: "schedules of other names, and of other queues, have last ticks of their own"},
	{name: "schedule begins", run: scheduleBegins,
		promise: "a schedule that is not known begins when it is told to, but no later than now, and that is remembered"},
	{name: "queue's clock", run: queuesClock,
		promise: "the last tick comes with the time by the queue's clock"},
	{name: "early ticks", run: earlyTicks,
		promise: "a tick that is more than a minute ahead of the queue's clock is refused and not remembered"},
	{name: "tick of an active job", run: tickOfActive,
		promise: "an id that waits or is held stays as it is, and the tick is remembered"},
	{name: "tick of a dead job", run: tickOfDead,
		promise: "a dead job is not enqueued: a *FinishedError in an *EnqueueError says so, and the tick is remembered"},
	{name: "unique ticks", run: uniqueTicks,
		promise: "a tick's job takes its unique key; one whose key another job has is not enqueued, with a *DuplicateError, and the tick is remembered"},
	{name: "delayed ticks", run: delayedTicks,
		promise: "the job of a tick waits for its time"},
}

// ticker returns the queue as a Ticker, and skips the row if it isn't one.
func (b *queueBench) ticker() worker.Ticker {
	ticker, ok := b.queue.(worker.Ticker)
	if !ok {
		b.Skipf("the queue is not a Ticker")
	}
	return ticker
}

// someTick is a tick that has come by the clocks of all.
func (b *queueBench) someTick() time.Time { return b.now().Add(-time.Hour).Truncate(time.Second).UTC() }

// ticked enqueues the job of a tick of the schedule "s", and fails the row unless the queue says that it did, or did not.
func (b *queueBench) ticked(at time.Time, job *worker.Job, want bool) {
	b.Helper()
	enqueued, err := b.ticker().EnqueueTick(b.ctx, "s", at, job)
	b.ok(err, "enqueue tick")
	if enqueued != want {
		b.Fatalf("enqueue tick %s: %v, want %v", at, enqueued, want)
	}
}

// lastTicked fails the row unless the schedule "s" of a queue has the wanted last tick. It would begin long before.
func (b *queueBench) lastTicked(queue, name string, want time.Time) {
	b.Helper()
	last, _, err := b.ticker().LastTick(b.ctx, queue, name, time.UnixMilli(1000))
	b.ok(err, "last tick")
	if !last.Equal(want) {
		b.Fatalf("the last tick of %q is %s, want %s", name, last, want)
	}
}

func tick(b *queueBench) {
	at := b.someTick().Add(7 * time.Millisecond)
	job := b.job(worker.WithHeader("name", "value"), worker.At(at))
	job.Payload = []byte(awkwardPayload)
	b.ticked(at, job, true)
	b.lastTicked(b.name, "s", at)
	got := b.consume().one()
	if got.ID != job.ID || string(got.Payload) != awkwardPayload || got.Headers["name"] != "value" || !got.RunAt.Equal(at) {
		b.Fatalf("claimed %s\nwant    %s", describe(got), describe(job))
	}
}

func tickTwice(b *queueBench) {
	at := b.someTick()
	job := b.job()
	b.ticked(at, job, true)
	b.ticked(at, job, false)
	b.ticked(at, b.job(), false)
	c := b.consume()
	c.settle(worker.ActionComplete, c.one())
	b.ticked(at, job, false)
	c.none("its tick was enqueued before")
}

func olderTicks(b *queueBench) {
	at := b.someTick()
	b.ticked(at, b.job(), true)
	b.ticked(at.Add(-time.Millisecond), b.job(), false)
	b.ticked(at.Add(-time.Hour), b.job(), false)
	b.lastTicked(b.name, "s", at)
	b.ticked(at.Add(time.Millisecond), b.job(), true)
	c := b.consume()
	c.claim(2)
	c.none("older ticks were enqueued")
}

func ticksAtOnce(b *queueBench) {
	const replicas, total = 6, 20
	ticker := b.ticker()
	first := b.someTick()
	jobs := b.jobs(total)
	var enqueued [total]atomic.Int32
	var wg sync.WaitGroup
	errs := make([]error, replicas)
	for r := range replicas {
		wg.Go(func() {
			for i, job := range jobs {
				did, err := ticker.EnqueueTick(b.ctx, "s", first.Add(time.Duration(i)*time.Second), job)
				errs[r] = errors.Join(errs[r], err)
				if did {
					enqueued[i].Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.ok(errors.Join(errs...), "enqueue ticks beside others")
	for i := range enqueued {
		if n := enqueued[i].Load(); n != 1 {
			b.Fatalf("tick %d was enqueued by %d replicas, want 1", i, n)
		}
	}
	c := b.consume()
	b.sameOrder(c.claim(total), jobs)
	c.none("enqueued by several, it came more than once")
}

func schedulesApart(b *queueBench) {
	at := b.someTick()
	b.ticked(at, b.job(), true)
	enqueued, err := b.ticker().EnqueueTick(b.ctx, "t", at.Add(-time.Minute), b.job())
	b.ok(err, "enqueue tick")
	elsewhere, err := b.ticker().EnqueueTick(b.ctx, "s", at.Add(-time.Minute), b.job(worker.OnQueue(b.name+".other")))
	b.ok(err, "enqueue tick")
	if !enqueued || !elsewhere {
		b.Fatalf("enqueued %v for another name, %v on another queue: want both", enqueued, elsewhere)
	}
	b.lastTicked(b.name, "s", at)
	b.lastTicked(b.name, "t", at.Add(-time.Minute))
	b.lastTicked(b.name+".other", "s", at.Add(-time.Minute))
	b.consume().claim(2)
}

func scheduleBegins(b *queueBench) {
	begin := b.someTick()
	for _, later := range []time.Duration{0, time.Minute, -time.Minute} {
		last, _, err := b.ticker().LastTick(b.ctx, b.name, "s", begin.Add(later))
		b.ok(err, "last tick")
		if !last.Equal(begin) {
			b.Fatalf("the schedule began at %s, want %s", last, begin)
		}
	}
	b.ticked(begin, b.job(), false)
	b.ticked(begin.Add(time.Second), b.job(), true)
	last, now, err := b.ticker().LastTick(b.ctx, b.name, "fast", b.now().Add(time.Hour))
	b.ok(err, "last tick")
	if last.After(now) {
		b.Fatalf("the schedule began at %s, after the queue's time, %s", last, now)
	}
}

func queuesClock(b *queueBench) {
	ask := func() time.Time {
		_, now, err := b.ticker().LastTick(b.ctx, b.name, "s", b.now())
		b.ok(err, "last tick")
		return now
	}
	first := ask()
	b.pass(50 * time.Millisecond)
	if second := ask(); second.Sub(first) < 40*time.Millisecond {
		b.Fatalf("the queue's clock went from %s to %s while 50ms passed", first, second)
	}
}

func earlyTicks(b *queueBench) {
	_, now, err := b.ticker().LastTick(b.ctx, b.name, "s", b.someTick())
	b.ok(err, "last tick")
	if enqueued, err := b.ticker().EnqueueTick(b.ctx, "s", now.Add(time.Hour), b.job()); enqueued || !errors.Is(err, worker.ErrRefused) {
		b.Fatalf("enqueue a tick of the next hour: %v, %v: want false and an error that wraps ErrRefused", enqueued, err)
	}
	b.consume().none("its tick has not come")
	b.ticked(now, b.job(), true)
}

func tickOfActive(b *queueBench) {
	at := b.someTick()
	waiting, held := b.job(), b.job()
	b.enqueue(held)
	c := b.consume()
	c.one()
	b.enqueue(waiting)
	b.ticked(at, waiting, true)
	b.ticked(at.Add(time.Second), held, true)
	b.lastTicked(b.name, "s", at.Add(time.Second))
	b.sameOrder(c.claim(1), []*worker.Job{waiting})
	c.none("a tick made it a second job")
}

func tickOfDead(b *queueBench) {
	at := b.someTick()
	job := b.enqueue(b.job())[0]
	c := b.consume()
	b.die(c, worker.ActionBury)
	_, err := b.ticker().EnqueueTick(b.ctx, "s", at, job)
	b.finished(err, job.ID, worker.StateFailed)
	b.lastTicked(b.name, "s", at)
	c.none("it is dead")
}

func uniqueTicks(b *queueBench) {
	b.uniquer()
	at := b.someTick()
	first, second, third := b.unique(), b.unique(), b.unique()
	b.ticked(at, first, true)
	b.keptOut(second, first)
	_, err := b.ticker().EnqueueTick(b.ctx, "s", at.Add(time.Second), second)
	b.duplicate(err, second, first)
	b.lastTicked(b.name, "s", at.Add(time.Second))
	c := b.consume()
	c.settle(worker.ActionComplete, c.one())
	c.none("the second tick was turned away")
	b.ticked(at.Add(2*time.Second), third, true)
	b.sameOrder(c.claim(1), []*worker.Job{third})
}

func delayedTicks(b *queueBench) {
	c := b.consume()
	at := b.someTick()
	b.ticked(at, b.job(worker.After(time.Hour)), true)
	b.ticked(at.Add(time.Second), b.job(worker.At(b.now().Add(time.Hour))), true)
	late := b.job(worker.After(time.Second)) // not so soon that it is due before anybody has looked
	b.ticked(at.Add(2*time.Second), late, true)
	c.none("all wait for their time")
	b.sameOrder(c.claim(1), []*worker.Job{late})
	c.none("it waits for an hour")
}
