package workertest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// claimRows are the promises of Consumer.Claim.
var claimRows = []row[*queueBench]{
	{name: "fifo", run: fifo,
		promise: "jobs are claimed in the order in which they were enqueued"},
	{name: "limit", run: limit,
		promise: "a claim hands out at most Limit jobs"},
	{name: "limit zero claims nothing", run: limitZeroClaimsNothing,
		promise: "a claim with Limit 0 claims nothing"},
	{name: "limit zero returns", run: limitZeroReturns,
		promise: "a claim with Limit 0 returns when there may be something to claim"},
	{name: "empty claim", run: emptyClaim,
		promise: "a claim that finds nothing returns no jobs and no error, soon after Wait"},
	{name: "wake-up", run: wakeUp,
		promise: "a claim that waits returns soon after a job was enqueued"},
	{name: "context", run: claimContext,
		promise: "a claim returns soon after its context ended, and no job is lost by it"},
	{name: "claimed once", run: claimedOnce,
		promise: "a job is held by at most one claimant at a time"},
	{name: "queues are separate", run: queuesAreSeparate,
		promise: "a session gets the jobs of its own queue only"},
	{name: "tokens rise", run: tokensRise,
		promise: "a later claim has a larger token, whichever session makes it"},
	{name: "least token", run: leastToken,
		promise: "a claim's tokens exceed MinToken, and so do all later ones"},
	{name: "expired", run: expired,
		promise: "a job past ExpiresAt is handed out with Reject ErrExpired; one that isn't is to run"},
	{name: "expired meanwhile", run: expiredMeanwhile,
		promise: "a job that expires while it is scheduled or after it was put back is handed out with Reject ErrExpired"},
	{name: "undecodable", run: undecodable,
		promise: "a job that doesn't decode is handed out with Reject a *DecodeError, ID and Payload, and can be settled"},
}

func fifo(b *queueBench) {
	jobs := b.jobs(30)
	for i := 0; i < len(jobs); i += 6 {
		b.enqueue(jobs[i : i+6]...)
	}
	c := b.consume()
	got := c.claim(1)
	got = append(got, c.claim(7)...)
	got = append(got, c.claim(22)...)
	b.sameOrder(got, jobs)
}

func limit(b *queueBench) {
	b.enqueue(b.jobs(10)...)
	c := b.consume()
	for _, n := range []int{1, 3} {
		if got := c.within(n, b.patience); len(got) > n {
			b.Fatalf("a claim with Limit %d handed out %d jobs", n, len(got))
		}
	}
}

func limitZeroClaimsNothing(b *queueBench) {
	jobs := b.enqueue(b.jobs(2)...)
	c := b.consume()
	got, err := c.Claim(b.ctx, worker.ClaimOptions{Wait: b.patience})
	b.ok(err, "claim with Limit 0")
	if len(got) > 0 {
		b.Fatalf("a claim with Limit 0 handed out %s", names(got))
	}
	b.sameOrder(b.consume().claim(2), jobs)
}

func limitZeroReturns(b *queueBench) {
	c := b.consume()
	long := worker.ClaimOptions{Wait: 4 * b.patience}
	done := make(chan error, 1)
	go func() {
		_, err := c.Claim(b.ctx, long)
		done <- err
	}()
	b.pass(20 * time.Millisecond)
	b.enqueue(b.job())
	b.ok(received(b.bench, done, "a claim with Limit 0 after an enqueue"), "claim with Limit 0")
	b.prompt("a claim with Limit 0 while a job waits", func() {
		_, err := c.Claim(b.ctx, long)
		b.ok(err, "claim with Limit 0")
	})
}

func emptyClaim(b *queueBench) {
	c := b.consume()
	for _, wait := range []time.Duration{0, 50 * time.Millisecond} {
		start := time.Now()
		jobs, err := c.Claim(b.ctx, worker.ClaimOptions{Limit: 5, Wait: wait})
		if len(jobs) > 0 || err != nil {
			b.Fatalf("claimed %s from an empty queue, error %v: want nothing and nil", names(jobs), err)
		}
		if took := time.Since(start); took > wait+b.patience {
			b.Fatalf("an empty claim with Wait %v took %v", wait, took)
		}
	}
}

// claimed is what a claim in another goroutine returned.
type claimed struct {
	jobs []*worker.Job
	err  error
}

func (c *consumer) claimAside(ctx context.Context, opts worker.ClaimOptions) <-chan claimed {
	done := make(chan claimed, 1)
	go func() {
		jobs, err := c.Claim(ctx, opts)
		done <- claimed{jobs, err}
	}()
	return done
}

func wakeUp(b *queueBench) {
	c := b.consume()
	done := c.claimAside(b.ctx, worker.ClaimOptions{Limit: 2, Wait: 4 * b.patience})
	b.pass(20 * time.Millisecond)
	job := b.enqueue(b.job())
	got := received(b.bench, done, "a claim that waits while a job is enqueued")
	b.ok(got.err, "claim")
	b.sameOrder(got.jobs, job)
}

func claimContext(b *queueBench) {
	c := b.consume()
	ctx, cancel := context.WithCancel(b.ctx)
	done := c.claimAside(ctx, worker.ClaimOptions{Limit: 2, Wait: 15 * b.patience})
	b.pass(20 * time.Millisecond)
	cancel()
	got := received(b.bench, done, "a claim whose context has ended")
	if len(got.jobs) > 0 {
		b.Fatalf("claimed %s from an empty queue", names(got.jobs))
	}
	job := b.enqueue(b.job())
	b.pass(20 * time.Millisecond) // for a claim that goes on behind the caller's back
	b.sameOrder(c.claim(1), job)
}

func claimedOnce(b *queueBench) {
	const claimants, total = 8, 240
	b.enqueue(b.jobs(total)...)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = make(map[string]int)
		errs []error
	)
	for range claimants {
		c := b.consume()
		wg.Go(func() {
			for {
				jobs, err := c.Claim(b.ctx, worker.ClaimOptions{Limit: 7})
				mu.Lock()
				for _, job := range jobs {
					seen[job.ID]++
				}
				errs = append(errs, err)
				mu.Unlock()
				if len(jobs) == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	b.ok(errors.Join(errs...), "claim")
	for id, n := range seen {
		if n > 1 {
			b.Fatalf("job %s was handed out %d times", id, n)
		}
	}
	if len(seen) != total {
		b.Fatalf("%d of %d jobs were handed out", len(seen), total)
	}
}

func queuesAreSeparate(b *queueBench) {
	here := b.enqueue(b.job())
	other := b.consumeWith(b.name+".other", worker.ConsumeOptions{})
	other.none("it belongs to another queue")
	there := b.job(worker.OnQueue(b.name + ".other"))
	b.enqueue(there)
	c := b.consume()
	b.sameOrder(c.claim(1), here)
	c.none("it belongs to another queue")
	b.sameOrder(other.claim(1), []*worker.Job{there})
}

func tokensRise(b *queueBench) {
	b.enqueue(b.jobs(3)...)
	first, second := b.consume(), b.consume()
	highest := int64(0)
	for round := range 6 {
		c := first
		if round%2 == 1 {
			c = second
		}
		jobs := c.claim(1)
		if round == 3 {
			jobs = append(jobs, c.claim(2)...)
		}
		for _, job := range jobs {
			if job.Token <= highest {
				b.Fatalf("token %d came after token %d", job.Token, highest)
			}
			highest = job.Token
		}
		c.settle(worker.ActionRelease, jobs...)
	}
}

func leastToken(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	least := c.one().Token + 1_000_000
	b.enqueue(b.jobs(2)...)
	jobs, err := c.Claim(b.ctx, worker.ClaimOptions{Limit: 1, Wait: b.patience, MinToken: least})
	b.ok(err, "claim")
	if len(jobs) != 1 || jobs[0].Token <= least {
		b.Fatalf("claimed %d jobs, want one with a token above MinToken %d", len(jobs), least)
	}
	if next := b.consume().one(); next.Token <= jobs[0].Token {
		b.Fatalf("token %d came after token %d", next.Token, jobs[0].Token)
	}
}

func expired(b *queueBench) {
	late := b.job(worker.ExpireAt(b.now().Add(-time.Minute)))
	fresh := b.job(worker.ExpireAt(b.now().Add(time.Hour)))
	b.enqueue(late, fresh)
	c := b.consume()
	got := c.claim(2)
	b.sameOrder(got, []*worker.Job{late, fresh})
	if !errors.Is(got[0].Reject, worker.ErrExpired) {
		b.Fatalf("Reject is %v, want ErrExpired", got[0].Reject)
	}
	if got[1].Reject != nil {
		b.Fatalf("a job that has an hour left is rejected: %v", got[1].Reject)
	}
	c.settle(worker.ActionBury, got...)
}

func expiredMeanwhile(b *queueBench) {
	const left = 2 * time.Second // before they expire, when they are claimed first
	c := b.consume()
	expiry := worker.ExpireAt(b.now().Add(left))
	scheduled := b.job(expiry, worker.After(left+100*time.Millisecond))
	jobs := []*worker.Job{b.job(expiry), b.job(expiry), b.job(expiry)}
	b.enqueue(append(jobs, scheduled)...)
	got := c.claim(3)
	b.sameOrder(got, jobs)
	for i, action := range []worker.Action{worker.ActionRetry, worker.ActionSnooze, worker.ActionRelease} {
		if got[i].Reject != nil {
			b.Fatalf("a job that has time left is rejected: %v", got[i].Reject)
		}
		c.settleAfter(action, left+100*time.Millisecond, got[i])
	}
	b.pass(left)
	got = c.claim(4)
	for _, job := range got {
		if !errors.Is(job.Reject, worker.ErrExpired) {
			b.Fatalf("a job that has expired by now is to run: Reject is %v", job.Reject)
		}
	}
	c.settle(worker.ActionBury, got...)
}

func undecodable(b *queueBench) {
	if b.enqueueRaw == nil {
		b.Skipf("it takes the option WithRaw")
	}
	const body = "no header\x00\xff"
	id := b.job().ID
	b.ok(b.enqueueRaw(b.name, id, []byte(body)), "enqueue what does not decode")
	next := b.enqueue(b.job())
	c := b.consume()
	bad := c.claim(1)[0]
	var reason *worker.DecodeError
	if !errors.As(bad.Reject, &reason) || bad.ID != id || string(bad.Payload) != body {
		b.Fatalf("claimed %s, payload %q, Reject %v: want %s, the raw body and a *DecodeError",
			bad.ID, bad.Payload, bad.Reject, id)
	}
	c.settle(worker.ActionBury, bad)
	b.sameOrder(c.claim(1), next)
	c.none("what doesn't decode was buried")
}
