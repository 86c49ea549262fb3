package workertest

import (
	"encoding/json"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// replacingRows are the promises of worker.Uniquer about jobs that take another's place.
var replacingRows = []row[*queueBench]{
	{name: "holders", run: holders,
		promise: "it is told which job keeps another one out, with the job for one that replaces, and nothing for ids that wait or are held"},
	{name: "replace", run: replace,
		promise: "a waiting job is replaced under its id: payload and headers, without its checkpoint, in its place in line"},
	{name: "replace moves", run: replaceMoves,
		promise: "a replaced job is due when its successor says, earlier or later"},
	{name: "replace what waits", run: replaceWhatWaits,
		promise: "a job that is held, dead, to be canceled, changed or without its key is not replaced, and which it is is told"},
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
