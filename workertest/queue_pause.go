package workertest

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// pauseRows are the promises of worker.Pauser.
var pauseRows = []row[*queueBench]{
	{name: "pause", run: pause,
		promise: "of a paused queue nothing is claimed, neither what waits nor what falls due"},
	{name: "pause leaves held", run: pauseLeavesHeld,
		promise: "jobs that were claimed before a pause can be settled and put back"},
	{name: "pause is of one queue", run: pauseIsOfOneQueue,
		promise: "pausing a queue leaves others alone, and pausing twice is pausing once"},
	{name: "pause in stats", run: pauseInStats,
		promise: "stats tell whether a queue is paused"},
	{name: "resume", run: resume,
		promise: "a claim that waits on a paused queue is given its jobs after the pause, and within a second"},
}

// pauser returns the queue as a Pauser, and skips the row if it isn't one.
func (b *queueBench) pauser() worker.Pauser {
	pauser, ok := b.queue.(worker.Pauser)
	if !ok {
		b.Skipf("the queue is not a Pauser")
	}
	return pauser
}

func (b *queueBench) pause(queue string) {
	b.Helper()
	b.ok(b.pauser().Pause(b.ctx, queue), "pause")
}

func (b *queueBench) resume(queue string) {
	b.Helper()
	b.ok(b.pauser().Resume(b.ctx, queue), "resume")
}

func pause(b *queueBench) {
	b.pause(b.name)
	jobs := b.enqueue(b.job(), b.job(worker.After(20*time.Millisecond)))
	c := b.consume()
	c.none("the queue is paused")
	b.pass(50 * time.Millisecond)
	c.none("the queue is paused")
	b.resume(b.name)
	b.sameOrder(c.claim(2), jobs)
}

func pauseLeavesHeld(b *queueBench) {
	b.pauser()
	b.enqueue(b.jobs(3)...)
	c := b.consume()
	jobs := c.claim(3)
	b.pause(b.name)
	c.settle(worker.ActionComplete, jobs[0])
	c.settle(worker.ActionRelease, jobs[1])
	c.settle(worker.ActionBury, jobs[2])
	c.none("the queue is paused")
	b.resume(b.name)
	b.sameOrder(c.claim(1), jobs[1:2])
	c.none("nothing else waits")
}

func pauseIsOfOneQueue(b *queueBench) {
	b.resume(b.name)
	other := b.name + ".other"
	b.pause(other)
	b.pause(other)
	b.enqueue(b.job(worker.OnQueue(other)), b.job())
	b.consume().one()
	c := b.consumeWith(other, worker.ConsumeOptions{})
	c.none("its queue is paused")
	b.resume(other)
	c.one()
}

func pauseInStats(b *queueBench) {
	b.pauser()
	for _, paused := range []bool{false, true, false} {
		if paused {
			b.pause(b.name)
		} else {
			b.resume(b.name)
		}
		if got := b.stats().Paused; got != paused {
			b.Fatalf("stats say paused: %v, want %v", got, paused)
		}
	}
}

func resume(b *queueBench) {
	b.pause(b.name)
	c := b.consume()
	b.enqueue(b.job())
	c.none("the queue is paused")
	var resumed time.Time
	done := make(chan error, 1)
	if b.advance != nil { // the row's clock stands still while a claim waits
		resumed = b.now()
		done <- b.pauser().Resume(b.ctx, b.name)
	} else {
		go func() {
			b.pass(aWhile) // until the claim waits
			resumed = b.now()
			done <- b.pauser().Resume(b.ctx, b.name)
		}()
	}
	c.claimWithin(1, aWhile+b.aSecond()+b.patience)
	claimed := b.now()
	b.ok(received(b.bench, done, "the end of the pause"), "resume")
	if claimed.Before(resumed) {
		b.Fatalf("a job was claimed %v before the end of the pause", resumed.Sub(claimed))
	}
	b.inASecond(claimed.Sub(resumed), "the claim of a job after the pause")
}
