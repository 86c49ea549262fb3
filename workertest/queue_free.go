package workertest

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// freeingRows are the promises about unique keys that somebody else frees than the job that has them.
var freeingRows = []row[*queueBench]{
	{name: "replace what starts", run: replaceWhatStarts,
		promise: "a held job that has its key until it starts is not replaced, but gives the key up to one that would replace it"},
	{name: "release unique", run: releaseUnique,
		promise: "a key is freed whoever has it, held jobs and periods included, and it is told who had it; no other key is, nor the job ended"},
}

func replaceWhatStarts(b *queueBench) {
	b.uniquer()
	c := b.consume()
	started := worker.UniqueBy("key", worker.UniquePolicy{Until: worker.UntilStarted})
	held := b.enqueue(b.unique(started))[0]
	claimed := c.one()
	b.replaces(b.successor(held, started), b.successor(held, started), worker.PlaceUnknown)
	b.keptOut(b.unique(), held)
	b.replaces(held, b.successor(held, started), worker.PlaceUnknown)
	next := b.enqueue(b.unique())[0]
	b.replaces(held, b.successor(held, started), worker.PlaceUnknown)
	b.keptOut(b.unique(), next)
	c.settle(worker.ActionRelease, claimed)
	got := c.claim(2)
	b.sameOrder(got, []*worker.Job{held, next})
	if got[0].Headers["name"] == "new" {
		b.Fatalf("job %s was replaced while it was held", held.ID)
	}
	c.settle(worker.ActionComplete, got[0])
	b.keptOut(b.unique(), next)
}

// releaser returns the queue as a UniqueReleaser, and skips the row if it isn't one.
func (b *queueBench) releaser() worker.UniqueReleaser {
	releaser, ok := b.queue.(worker.UniqueReleaser)
	if !ok {
		b.Skipf("the queue is not a UniqueReleaser")
	}
	return releaser
}

// releases fails the row unless the key is free afterwards, and the holder is told.
func (b *queueBench) releases(key, want string) {
	b.Helper()
	holder, err := b.releaser().ReleaseUnique(b.ctx, b.name, key)
	b.ok(err, "release a unique key")
	if holder != want {
		b.Fatalf("key %q was released from %q, want %q", key, holder, want)
	}
}

func releaseUnique(b *queueBench) {
	b.uniquer()
	b.releaser()
	period := worker.UniqueBy("period", worker.UniquePolicy{Until: worker.ForPeriod, For: time.Hour})
	elsewhere := b.unique(worker.OnQueue(b.name + ".other"))
	b.enqueue(elsewhere)
	c := b.consume()
	ended := b.enqueue(b.job(period))[0]
	c.settle(worker.ActionComplete, c.one())
	held := b.enqueue(b.unique())[0]
	claimed := c.one()
	waits := b.enqueue(b.unique(worker.UniqueBy("waits", worker.UniquePolicy{})))[0]

	b.releases("nobody's", "")
	b.releases("waits", waits.ID)
	b.releases("period", ended.ID)
	b.keptOut(b.unique(), held)
	b.releases("key", held.ID)
	b.releases("key", "")
	b.keptOut(b.unique(worker.OnQueue(b.name+".other")), elsewhere)
	next := b.enqueue(b.job(period), b.unique())
	c.settle(worker.ActionRelease, claimed)
	got := c.claim(4)
	b.sameOrder(got, []*worker.Job{held, waits, next[0], next[1]})
	c.settle(worker.ActionComplete, got[0])
	b.keptOut(b.unique(), next[1])
}
