package workertest

import (
	"context"
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// sessionRows are the promises of Consumer.Close and of the lease.
var sessionRows = []row[*queueBench]{
	{name: "session outlives its opening", run: outlivesOpening,
		promise: "the context of Consume bounds the call, not the session"},
	{name: "close gives back", run: closeGivesBack,
		promise: "what a closed session held goes back to the head of the queue, in the order of its claims"},
	{name: "close is free", run: closeDoesNotCount,
		promise: "a job given back by Close has no attempt and no crash more"},
	{name: "close twice", run: closeTwice,
		promise: "closing twice is closing once"},
	{name: "close without time", run: closeWithoutTime,
		promise: "Close returns soon also when its context has ended, and the session is over"},
	{name: "over after close", run: overAfterClose,
		promise: "a closed session settles nothing, answers ErrLeaseLost, and hands out nothing"},
	{name: "lease", run: leaseIsPositive,
		promise: "a session that tells its lease tells a positive one"},
}

func outlivesOpening(b *queueBench) {
	ctx, cancel := context.WithCancel(b.ctx)
	opened, err := b.queue.Consume(ctx, b.name, worker.ConsumeOptions{})
	b.ok(err, "consume")
	b.Cleanup(func() { _ = opened.Close(context.WithoutCancel(ctx)) })
	cancel()
	b.pass(20 * time.Millisecond)
	b.enqueue(b.job())
	c := &consumer{Consumer: opened, b: b}
	c.settle(worker.ActionComplete, c.one())
}

func closeGivesBack(b *queueBench) {
	jobs := b.enqueue(b.jobs(5)...)
	c := b.consume()
	held := c.claim(4)
	c.settle(worker.ActionComplete, held[1])
	b.ok(c.Close(b.ctx), "close")
	b.sameOrder(b.consume().claim(4), []*worker.Job{jobs[0], jobs[2], jobs[3], jobs[4]})
}

func closeDoesNotCount(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	c.settle(worker.ActionRetry, c.one())
	c.one()
	b.ok(c.Close(b.ctx), "close")
	if job := b.consume().one(); job.Attempt != 2 || job.Crashes != 0 {
		b.Fatalf("attempt %d with %d crashes, want 2 and 0", job.Attempt, job.Crashes)
	}
}

func closeTwice(b *queueBench) {
	b.enqueue(b.job())
	first, second := b.consume(), b.consume()
	first.one()
	b.ok(first.Close(b.ctx), "close")
	job := second.one()
	b.ok(first.Close(b.ctx), "close again")
	second.none("it is held")
	second.settle(worker.ActionRetry, job)
	if again := second.one(); again.Attempt != 2 {
		b.Fatalf("attempt is %d, want 2: the second Close took the job from its new holder", again.Attempt)
	}
}

func closeWithoutTime(b *queueBench) {
	c := b.consume()
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	b.prompt("a close whose context has ended", func() { _ = c.Close(ctx) })
	b.enqueue(b.job())
	jobs, _ := c.Claim(b.ctx, worker.ClaimOptions{Limit: 1})
	if len(jobs) > 0 {
		b.Fatalf("a closed session handed out %s", names(jobs))
	}
}

func overAfterClose(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	job := c.one()
	b.ok(c.Close(b.ctx), "close")
	if err := c.Settle(b.ctx, verdicts(worker.ActionComplete, 0, job)...); !errors.Is(err, worker.ErrLeaseLost) {
		b.Fatalf("settle after Close: %v, want ErrLeaseLost", err)
	}
	b.prompt("a claim after Close", func() {
		jobs, _ := c.Claim(b.ctx, worker.ClaimOptions{Limit: 1, Wait: 10 * time.Millisecond})
		if len(jobs) > 0 {
			b.Fatalf("a closed session handed out %s", names(jobs))
		}
	})
	if again := b.consume().one(); again.ID != job.ID {
		b.Fatalf("claimed %s, want %s", again.ID, job.ID)
	}
}

func leaseIsPositive(b *queueBench) {
	c := b.consume()
	leaser, ok := c.Consumer.(worker.Leaser)
	if !ok {
		b.Skipf("the consumer is not a Leaser")
	}
	if leaser.Lease() <= 0 {
		b.Fatalf("the lease is %v", leaser.Lease())
	}
}
