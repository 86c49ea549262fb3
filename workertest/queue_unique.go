package workertest

import (
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// uniqueRows are the promises of worker.Uniquer and worker.Unlocker about who has a key.
var uniqueRows = []row[*queueBench]{
	{name: "unique", run: unique,
		promise: "a job whose unique key another one has, which waits or is held, is refused with a *DuplicateError; others of the call are not"},
	{name: "unique in a call", run: uniqueInACall,
		promise: "of several jobs of a call the first one has the key"},
	{name: "unique on a queue", run: uniqueOnAQueue,
		promise: "keys of different queues are different, and so are different keys of one queue"},
	{name: "unique id again", run: uniqueIDAgain,
		promise: "an id that waits or is held is enqueued again without an error, whoever has its key"},
	{name: "unique until final", run: uniqueUntilFinal,
		promise: "the key is free once the job is completed, buried or canceled, and not before"},
	{name: "unique and canceled", run: uniqueAndCanceled,
		promise: "the key of a job that waits is free once it was canceled and removed"},
	{name: "unique for a period", run: uniqueForAPeriod,
		promise: "a key that is taken for a period outlives its job, and no longer than that; it keeps out others, not its own id"},
	{name: "unique key runs out", run: uniqueKeyRunsOut,
		promise: "a key runs out though its job waits; its end then leaves the key to the job that took it"},
	{name: "unique and delayed", run: uniqueAndDelayed,
		promise: "the key of a delayed job runs out only after the job is due"},
	{name: "unlock", run: unlock,
		promise: "a held job's key can be freed, also twice; not under a token that isn't its claim's"},
	{name: "unlock leaves others", run: unlockLeavesOthers,
		promise: "freeing a held job's key, or ending the job, leaves the key to the job that has it by now"},
	{name: "reopen unique", run: reopenUnique,
		promise: "a job is reopened with its key, and not while another one has that: a *DuplicateError, and it stays dead"},
}

// uniquer returns the queue as a Uniquer, and skips the row if it isn't one.
func (b *queueBench) uniquer() worker.Uniquer {
	uniquer, ok := b.queue.(worker.Uniquer)
	if !ok {
		b.Skipf("the queue is not a Uniquer")
	}
	return uniquer
}

// unique makes a job with the row's usual key.
func (b *queueBench) unique(opts ...worker.JobOption) *worker.Job {
	b.Helper()
	return b.job(append([]worker.JobOption{worker.UniqueBy("key", worker.UniquePolicy{})}, opts...)...)
}

// keptOut fails the row unless the job is refused as its key is the holder's.
func (b *queueBench) keptOut(job, holder *worker.Job) {
	b.Helper()
	err := b.queue.Enqueue(b.ctx, job)
	b.duplicate(err, job, holder)
}

func (b *queueBench) duplicate(err error, job, holder *worker.Job) {
	b.Helper()
	duplicate := (*worker.DuplicateError)(nil)
	if !errors.As(err, &duplicate) {
		b.Fatalf("a job whose key another one has: %v, want a *DuplicateError", err)
	}
	if duplicate.Key != job.Unique.Key || duplicate.Holder != holder.ID {
		b.Fatalf("the key is %q and the holder %q, want %q and %q", duplicate.Key, duplicate.Holder, job.Unique.Key, holder.ID)
	}
}

func unique(b *queueBench) {
	b.uniquer()
	first, second, plain := b.unique(), b.unique(), b.job()
	b.enqueue(first)
	err := b.queue.Enqueue(b.ctx, second, plain)
	b.duplicate(err, second, first)
	if failed := (*worker.EnqueueError)(nil); !errors.As(err, &failed) || len(failed.Failed) != 1 {
		b.Fatalf("enqueue: %v, want an *EnqueueError about one job", err)
	}
	c := b.consume()
	got := c.claim(2)
	b.sameOrder(got, []*worker.Job{first, plain})
	b.keptOut(second, first)
	c.settle(worker.ActionComplete, got...)
	b.enqueue(second) // nothing of it was left
	if job := c.one(); job.ID != second.ID || job.Unique == nil || job.Unique.Key != "key" {
		b.Fatalf("claimed %s, want %s with its key", job.ID, second.ID)
	}
}

func uniqueInACall(b *queueBench) {
	b.uniquer()
	jobs := []*worker.Job{b.job(), b.unique(), b.unique(), b.job(), b.unique()}
	b.duplicate(b.queue.Enqueue(b.ctx, jobs...), jobs[2], jobs[1])
	c := b.consume()
	b.sameOrder(c.claim(3), []*worker.Job{jobs[0], jobs[1], jobs[3]})
	c.none("they are duplicates")
}

func uniqueOnAQueue(b *queueBench) {
	b.uniquer()
	b.enqueue(b.unique(), b.unique(worker.OnQueue(b.name+".other")),
		b.unique(worker.UniqueBy("key:2", worker.UniquePolicy{})), b.unique(worker.UniqueBy("{key}", worker.UniquePolicy{})))
}

func uniqueIDAgain(b *queueBench) {
	b.uniquer()
	job := b.unique(worker.UniqueBy("key", worker.UniquePolicy{For: 30 * time.Millisecond}))
	b.enqueue(job)
	b.enqueue(job)
	b.pass(40 * time.Millisecond)
	b.enqueue(b.unique()) // has the key by now
	b.enqueue(job)
	c := b.consume()
	c.claim(2)
	b.enqueue(job)
	c.none("it is held")
}

func uniqueUntilFinal(b *queueBench) {
	b.uniquer()
	c := b.consume()
	for _, end := range []worker.Action{worker.ActionComplete, worker.ActionBury, worker.ActionCancel} {
		job := b.enqueue(b.unique())[0]
		for _, back := range []worker.Action{worker.ActionRetry, worker.ActionSnooze, worker.ActionRelease} {
			c.settle(back, c.one())
			b.keptOut(b.unique(), job)
		}
		c.settle(end, c.one())
	}
	b.enqueue(b.unique())
}

func uniqueAndCanceled(b *queueBench) {
	b.uniquer()
	canceler := b.canceler()
	for _, delay := range []time.Duration{0, time.Hour} {
		job := b.enqueue(b.unique(worker.After(delay)))[0]
		_, err := canceler.MarkCanceled(b.ctx, b.name, job.ID)
		b.ok(err, "mark")
		_, err = canceler.RemoveCanceled(b.ctx, b.name, job.ID)
		b.ok(err, "remove")
	}
	b.enqueue(b.unique())
}

func uniqueForAPeriod(b *queueBench) {
	b.uniquer()
	c := b.consume()
	policy := worker.UniquePolicy{Until: worker.ForPeriod, For: time.Hour}
	for _, end := range []worker.Action{worker.ActionComplete, worker.ActionBury, worker.ActionCancel} {
		job := b.enqueue(b.job(worker.UniqueBy(end.String(), policy)))[0]
		c.settle(end, c.one())
		b.keptOut(b.job(worker.UniqueBy(end.String(), policy)), job)
		if end == worker.ActionComplete {
			b.enqueue(job)
			c.settle(end, c.one())
		}
	}
	if canceler, ok := b.queue.(worker.Canceler); ok {
		job := b.enqueue(b.job(worker.UniqueBy("removed", policy)))[0]
		_, err := canceler.MarkCanceled(b.ctx, b.name, job.ID)
		b.ok(err, "mark")
		_, err = canceler.RemoveCanceled(b.ctx, b.name, job.ID)
		b.ok(err, "remove")
		b.keptOut(b.job(worker.UniqueBy("removed", policy)), job)
	}
	policy.For = 30 * time.Millisecond
	b.enqueue(b.job(worker.UniqueBy("short", policy)))
	b.pass(40 * time.Millisecond)
	b.enqueue(b.job(worker.UniqueBy("short", policy)))
}

func uniqueKeyRunsOut(b *queueBench) {
	b.uniquer()
	short := worker.UniqueBy("key", worker.UniquePolicy{For: 30 * time.Millisecond})
	first := b.enqueue(b.unique(short))[0]
	b.pass(40 * time.Millisecond)
	second := b.enqueue(b.unique())[0]
	c := b.consume()
	got := c.claim(2)
	b.sameOrder(got, []*worker.Job{first, second})
	c.settle(worker.ActionComplete, got[0])
	b.keptOut(b.unique(), second)
}

func uniqueAndDelayed(b *queueBench) {
	b.uniquer()
	policy := worker.UniquePolicy{For: 30 * time.Millisecond}
	after := b.enqueue(b.job(worker.After(time.Hour), worker.UniqueBy("after", policy)))[0]
	at := b.enqueue(b.job(worker.At(b.now().Add(time.Hour)), worker.UniqueBy("at", policy)))[0]
	b.pass(60 * time.Millisecond)
	b.keptOut(b.job(worker.UniqueBy("after", policy)), after)
	b.keptOut(b.job(worker.UniqueBy("at", policy)), at)
}

// unlocker returns the session as an Unlocker, and skips the row if it isn't one.
func (c *consumer) unlocker() worker.Unlocker {
	unlocker, ok := c.Consumer.(worker.Unlocker)
	if !ok {
		c.b.Skipf("the consumer is not an Unlocker")
	}
	return unlocker
}

func unlock(b *queueBench) {
	b.uniquer()
	c := b.consume()
	unlocker := c.unlocker()
	b.enqueue(b.unique(), b.unique(worker.UniqueBy("other", worker.UniquePolicy{})), b.job())
	held := c.claim(3)
	wrong := stale(held[0])
	wrong.Unique, wrong.Token = held[0].Unique, held[0].Token+1
	b.ok(unlocker.Unlock(b.ctx, wrong), "unlock under another token")
	b.keptOut(b.unique(), held[0])
	b.ok(unlocker.Unlock(b.ctx, held[0], held[2]), "unlock")
	b.ok(unlocker.Unlock(b.ctx, held[0]), "unlock again")
	b.enqueue(b.unique())
	b.keptOut(b.job(worker.UniqueBy("other", worker.UniquePolicy{})), held[1])
	b.ok(unlocker.Unlock(b.ctx), "unlock nothing")
}

func unlockLeavesOthers(b *queueBench) {
	b.uniquer()
	c := b.consume()
	unlocker := c.unlocker()
	b.enqueue(b.unique())
	held := c.one()
	b.ok(unlocker.Unlock(b.ctx, held), "unlock")
	next := b.enqueue(b.unique())[0]
	b.ok(unlocker.Unlock(b.ctx, held), "unlock again")
	b.keptOut(b.unique(), next)
	c.settle(worker.ActionComplete, held)
	b.keptOut(b.unique(), next)
}

func reopenUnique(b *queueBench) {
	b.uniquer()
	requeuer := b.requeuer()
	c := b.consume()
	dead := b.enqueue(b.unique())[0]
	c.settle(worker.ActionBury, c.one())
	next := b.enqueue(b.unique())[0]
	b.duplicate(requeuer.Reopen(b.ctx, dead), dead, next)
	c.settle(worker.ActionComplete, c.one())
	c.none("what was not reopened stays dead")
	b.ok(requeuer.Reopen(b.ctx, dead), "reopen")
	b.keptOut(b.unique(), dead)
	if job := c.one(); job.ID != dead.ID {
		b.Fatalf("claimed %s, want the one that was reopened", job.ID)
	}
}
