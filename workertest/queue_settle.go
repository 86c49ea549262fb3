package workertest

import (
	"errors"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// settleRows are the promises of Consumer.Settle.
var settleRows = []row[*queueBench]{
	{name: "complete", run: complete,
		promise: "a completed job never comes again"},
	{name: "retry counts", run: retryCounts,
		promise: "a retry counts one attempt"},
	{name: "snooze is free", run: snoozeDoesNotCount,
		promise: "a snooze counts no attempt"},
	{name: "release is free", run: releaseDoesNotCount,
		promise: "a release counts no attempt"},
	{name: "release to the head", run: releaseToHead,
		promise: "released jobs go to the head of their queue, in the order in which they were claimed"},
	{name: "settle twice", run: settleTwice,
		promise: "repeating a settle is safe: it changes nothing and is no error"},
	{name: "old token", run: oldToken,
		promise: "a verdict under the token of an earlier claim is ignored"},
	{name: "foreign claim", run: foreignClaim,
		promise: "a verdict for a job that another session holds is ignored"},
	{name: "verdicts of a call", run: verdictsOfCall,
		promise: "each verdict of a call does its own"},
	{name: "settle beside claim", run: settleBesideClaim,
		promise: "settling beside claiming loses no job and runs none twice"},
}

func complete(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	c.settle(worker.ActionComplete, c.one())
	c.none("it was completed")
	b.ok(c.Close(b.ctx), "close")
	b.consume().none("it was completed")
}

func retryCounts(b *queueBench)         { b.attempts(worker.ActionRetry, 1, 2, 3) }
func snoozeDoesNotCount(b *queueBench)  { b.attempts(worker.ActionSnooze, 1, 1, 1) }
func releaseDoesNotCount(b *queueBench) { b.attempts(worker.ActionRelease, 1, 1, 1) }

// attempts settles a job again and again, and compares the attempts of its claims.
func (b *queueBench) attempts(action worker.Action, want ...int) {
	b.Helper()
	b.enqueue(b.job())
	c := b.consume()
	for i, attempt := range want {
		job := c.one()
		if job.Attempt != attempt || job.Crashes != 0 {
			b.Fatalf("claim %d is attempt %d with %d crashes, want %d and 0", i+1, job.Attempt, job.Crashes, attempt)
		}
		c.settle(action, job)
	}
}

func releaseToHead(b *queueBench) {
	jobs := b.enqueue(b.jobs(6)...)
	c := b.consume()
	held := c.claim(4)
	c.settle(worker.ActionRelease, held[1], held[3], held[0], held[2])
	b.sameOrder(c.claim(6), jobs)
}

func settleTwice(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	for _, action := range []worker.Action{worker.ActionRetry, worker.ActionComplete} {
		job := c.one()
		c.settle(action, job)
		c.settle(action, stale(job))
		if action == worker.ActionRetry {
			again := c.one()
			if again.Attempt != 2 {
				b.Fatalf("attempt is %d, want 2: the repeated retry counted", again.Attempt)
			}
			c.settle(worker.ActionSnooze, again)
		}
	}
	c.none("it was settled twice")
}

func oldToken(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	old := c.one()
	c.settle(worker.ActionSnooze, old)
	now := c.one()
	for _, action := range []worker.Action{worker.ActionComplete, worker.ActionRetry, worker.ActionBury} {
		c.settle(action, stale(old))
	}
	c.none("a verdict under an old token ended the claim")
	c.settle(worker.ActionRetry, now)
	if again := c.one(); again.Attempt != 2 {
		b.Fatalf("attempt is %d, want 2", again.Attempt)
	}
}

func foreignClaim(b *queueBench) {
	b.enqueue(b.job())
	holder, other := b.consume(), b.consume()
	job := holder.one()
	for _, action := range []worker.Action{worker.ActionComplete, worker.ActionRetry, worker.ActionRelease} {
		other.settle(action, stale(job))
	}
	other.none("a foreign verdict ended the claim")
	holder.settle(worker.ActionRelease, job)
	if again := other.one(); again.ID != job.ID || again.Attempt != 1 {
		b.Fatalf("claimed %s as attempt %d, want %s as attempt 1", again.ID, again.Attempt, job.ID)
	}
}

func verdictsOfCall(b *queueBench) {
	b.enqueue(b.jobs(5)...)
	c := b.consume()
	jobs := c.claim(5)
	b.ok(c.Settle(b.ctx,
		worker.Verdict{Job: jobs[0], Action: worker.ActionComplete},
		worker.Verdict{Job: jobs[1], Action: worker.ActionRetry, Cause: errors.New("try again")},
		worker.Verdict{Job: stale(&worker.Job{ID: b.job().ID, Queue: b.name, Token: 1}), Action: worker.ActionRetry},
		worker.Verdict{Job: jobs[2], Action: worker.ActionBury, Cause: errors.New("no\x00good")},
		worker.Verdict{Job: jobs[3], Action: worker.ActionSnooze},
		worker.Verdict{Job: jobs[4], Action: worker.ActionRelease},
	), "settle")
	b.finished(b.queue.Enqueue(b.ctx, b.job(worker.WithID(jobs[2].ID))), jobs[2].ID, worker.StateFailed)
	want := map[string]int{jobs[1].ID: 2, jobs[3].ID: 1, jobs[4].ID: 1}
	for _, job := range c.claim(3) {
		if want[job.ID] != job.Attempt {
			b.Fatalf("claimed %s as attempt %d, want the retried as 2, the snoozed and the released as 1", job.ID, job.Attempt)
		}
	}
	c.none("it was completed or buried")
}

func settleBesideClaim(b *queueBench) {
	const total, settlers = 200, 4
	b.enqueue(b.jobs(total)...)
	c := b.consume()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		todo = make(chan *worker.Job, 2*total)
		runs = make(map[string]int)
	)
	for range settlers {
		wg.Go(func() {
			for job := range todo {
				action := worker.ActionComplete
				if job.Attempt == 1 {
					action = worker.ActionRetry
				}
				err := c.Settle(b.ctx, worker.Verdict{Job: job, Action: action})
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	claims := 0
	for claims < 2*total {
		jobs, err := c.Claim(b.ctx, worker.ClaimOptions{Limit: 9, Wait: b.patience})
		if err != nil || len(jobs) == 0 {
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			break
		}
		for _, job := range jobs {
			claims++
			runs[job.ID]++
			todo <- job
		}
	}
	close(todo)
	wg.Wait()
	b.ok(errors.Join(errs...), "settle beside claim")
	for id, n := range runs {
		if n != 2 {
			b.Fatalf("job %s was claimed %d times, want 2", id, n)
		}
	}
	if len(runs) != total {
		b.Fatalf("%d of %d jobs came", len(runs), total)
	}
	b.ok(c.Close(b.ctx), "close")
	b.consume().none("all were completed")
}
