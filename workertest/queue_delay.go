package workertest

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// delayRows are the promises about jobs that wait for their time.
var delayRows = []row[*queueBench]{
	{name: "delay", run: delay,
		promise: "a delayed job is claimed after its Delay, never before"},
	{name: "run at", run: runAt,
		promise: "a job with RunAt is claimed at that time, never before"},
	{name: "retry later", run: retryLater,
		promise: "a retried job runs again after the verdict's Delay, never before"},
	{name: "snooze later", run: snoozeLater,
		promise: "a snoozed job runs again after the verdict's Delay, never before"},
	{name: "release later", run: releaseLater,
		promise: "a job released with a Delay runs again after it, never before"},
	{name: "scheduled order", run: scheduledOrder,
		promise: "jobs that fall due are claimed in the order of their times"},
	{name: "others overtake", run: othersOvertake,
		promise: "a job that waits for its time holds up no other"},
}

// aWhile is the delay of these rows: long against what a call takes, short for who waits. Clocks may differ a little.
const (
	aWhile    = 200 * time.Millisecond
	imprecise = 20 * time.Millisecond
)

// notBefore claims the next job and fails the row if it comes sooner than a while after the start.
func (b *queueBench) notBefore(c *consumer, start time.Time) {
	b.Helper()
	c.one()
	if waited := b.now().Sub(start); waited < aWhile-imprecise {
		b.Fatalf("claimed %v after the start, it is due after %v", waited, aWhile)
	}
}

func delay(b *queueBench) {
	c := b.consume()
	start := b.now()
	b.enqueue(b.job(worker.After(aWhile)))
	b.notBefore(c, start)
}

func runAt(b *queueBench) {
	c := b.consume()
	start := b.now()
	b.enqueue(b.job(worker.At(start.Add(aWhile))))
	b.notBefore(c, start)
}

func retryLater(b *queueBench)   { b.againLater(worker.ActionRetry) }
func snoozeLater(b *queueBench)  { b.againLater(worker.ActionSnooze) }
func releaseLater(b *queueBench) { b.againLater(worker.ActionRelease) }

func (b *queueBench) againLater(action worker.Action) {
	b.Helper()
	b.enqueue(b.job())
	c := b.consume()
	job := c.one()
	start := b.now()
	c.settleAfter(action, aWhile, job)
	b.notBefore(c, start)
}

func scheduledOrder(b *queueBench) {
	c := b.consume()
	last, first, second := b.job(worker.After(3*aWhile/2)), b.job(worker.After(aWhile/2)), b.job(worker.After(aWhile))
	b.enqueue(last, first, second)
	b.pass(2 * aWhile)
	b.sameOrder(c.claim(3), []*worker.Job{first, second, last})
}

func othersOvertake(b *queueBench) {
	later, now := b.job(worker.After(time.Hour)), b.job()
	b.enqueue(later, now)
	c := b.consume()
	b.sameOrder(c.claim(1), []*worker.Job{now})
	c.none("it is due in an hour")
}
