package workertest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// uniqueRows are the promises of worker.Uniquer and worker.Unlocker.
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
		promise: "a key that is taken for a period outlives its job, and no longer than that"},
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
	{name: "holders", run: holders,
		promise: "it is told which job keeps another one out, with the job for one that replaces, and nothing for ids that wait or are held"},
	{name: "replace", run: replace,
		promise: "a waiting job is replaced under its id: payload and headers, without its checkpoint, in its place in line"},
	{name: "replace moves", run: replaceMoves,
		promise: "a replaced job is due when its successor says, earlier or later"},
	{name: "replace what waits", run: replaceWhatWaits,
		promise: "a job that is held, dead, to be canceled, changed or without its key is not replaced, and which it is is told"},
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

func holders(b *queueBench) {
	uniquer := b.uniquer()
	asks := b.unique(worker.UniqueBy("key", worker.UniquePolicy{Replace: true}))
	free := b.unique(worker.UniqueBy("free", worker.UniquePolicy{}))
	waiting := b.unique(worker.UniqueBy("key", worker.UniquePolicy{For: 30 * time.Millisecond}))
	b.enqueue(waiting)
	b.pass(40 * time.Millisecond)
	has := b.enqueue(b.unique(worker.WithHeader("name", "value")))[0]
	c := b.consume()
	dead := b.enqueue(b.unique(worker.UniqueBy("dead", worker.UniquePolicy{})))[0]
	claimed := c.claim(3)
	c.settle(worker.ActionRelease, claimed[:2]...)
	c.settle(worker.ActionBury, claimed[2])
	heir := b.enqueue(b.unique(worker.UniqueBy("dead", worker.UniquePolicy{})))[0]
	got, err := uniquer.Holders(b.ctx, b.unique(), free, asks, has, waiting, dead)
	b.ok(err, "holders")
	if len(got) == 6 && got[5].ID != heir.ID {
		b.Fatalf("the holder of a dead job's key is %q, want %q", got[5].ID, heir.ID)
	}
	if len(got) != 6 || got[0].ID != has.ID || got[1].ID != "" || got[2].ID != has.ID || got[3].ID != "" || got[4].ID != "" {
		b.Fatalf("the holders are %+v, want %s for the first and the third", got, has.ID)
	}
	if got[0].Job != nil || got[2].Job == nil || got[2].Job.ID != has.ID || got[2].Job.Headers["name"] != "value" {
		b.Fatalf("the jobs are %+v and %+v, want none and the holder", got[0].Job, got[2].Job)
	}
}

// successor makes what a job is to be replaced by.
func (b *queueBench) successor(of *worker.Job, opts ...worker.JobOption) *worker.Job {
	b.Helper()
	job := b.unique(append([]worker.JobOption{worker.WithID(of.ID), worker.WithHeader("name", "new")}, opts...)...)
	job.Payload = json.RawMessage(`{"n": 2}`)
	return job
}

// replaces fails the row unless replacing ends so, and returns the token that was drawn.
func (b *queueBench) replaces(before, after *worker.Job, want worker.Place) int64 {
	b.Helper()
	place, token, err := b.uniquer().Replace(b.ctx, before, after)
	b.ok(err, "replace")
	if place != want {
		b.Fatalf("replaced in place %d, want %d", place, want)
	}
	return token
}

func replace(b *queueBench) {
	b.uniquer()
	c := b.consume()
	first := b.enqueue(b.unique())[0]
	held := c.one()
	if keeper, ok := c.Consumer.(worker.Checkpointer); ok {
		b.ok(keeper.Checkpoint(b.ctx, held, []byte("1")), "checkpoint")
	}
	c.settle(worker.ActionRetry, held)
	held = c.one()
	c.settle(worker.ActionRelease, held)
	next := b.enqueue(b.job())[0]
	token := b.replaces(first, b.successor(first), worker.PlaceWaiting)
	got := c.claim(2)
	if token <= held.Token || token >= got[0].Token {
		b.Fatalf("the token is %d, want one between those of the claims, %d and %d", token, held.Token, got[0].Token)
	}
	b.sameOrder(got, []*worker.Job{first, next})
	if string(got[0].Payload) != `{"n": 2}` || got[0].Headers["name"] != "new" || got[0].CheckpointData != nil || got[0].Attempt != 2 {
		b.Fatalf("payload %s, headers %v, checkpoint %q, attempt %d: want those of the successor, and attempt 2",
			got[0].Payload, got[0].Headers, got[0].CheckpointData, got[0].Attempt)
	}
	c.none("it was replaced once")
	b.keptOut(b.unique(), first)
}

func replaceMoves(b *queueBench) {
	b.uniquer()
	c := b.consume()
	job := b.enqueue(b.unique())[0]
	later := b.successor(job, worker.After(time.Hour))
	b.replaces(job, later, worker.PlaceWaiting)
	c.none("it is due later")
	again := b.successor(job, worker.After(2*time.Hour))
	b.replaces(later, again, worker.PlaceWaiting)
	c.none("it is due later")
	soon := b.successor(job, worker.After(30*time.Millisecond))
	b.replaces(again, soon, worker.PlaceWaiting)
	if got := c.one(); got.ID != job.ID || string(got.Payload) != `{"n": 2}` {
		b.Fatalf("claimed %s with %s, want what replaced it last", got.ID, got.Payload)
	}
	c.none("it is held")
}

func replaceWhatWaits(b *queueBench) {
	b.uniquer()
	c := b.consume()
	held := b.enqueue(b.unique())[0]
	claimed := c.one()
	b.replaces(held, b.successor(held), worker.PlaceHeld)
	b.keptOut(b.unique(), held)
	c.settle(worker.ActionBury, claimed)
	b.replaces(held, b.successor(held), worker.PlaceDead)
	waiting := b.enqueue(b.unique(worker.WithHeader("name", "old")))[0]
	b.replaces(b.successor(waiting), b.successor(waiting), worker.PlaceUnknown)
	b.replaces(b.unique(worker.WithID("nobody")), b.unique(worker.WithID("nobody")), worker.PlaceUnknown)
	other := worker.UniqueBy("other", worker.UniquePolicy{For: 30 * time.Millisecond})
	late := b.enqueue(b.unique(other))[0]
	b.pass(40 * time.Millisecond)
	b.replaces(late, b.successor(late, other), worker.PlaceUnknown)
	if canceler, ok := b.queue.(worker.Canceler); ok {
		_, err := canceler.MarkCanceled(b.ctx, b.name, waiting.ID)
		b.ok(err, "mark")
		b.replaces(waiting, b.successor(waiting), worker.PlaceDead)
	}
	for _, job := range c.claim(2) {
		if job.Headers["name"] == "new" {
			b.Fatalf("job %s was replaced", job.ID)
		}
	}
}
