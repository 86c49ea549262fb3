package workertest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// requeueRows are the promises of worker.Requeuer.
var requeueRows = []row[*queueBench]{
	{name: "draw token of active", run: drawTokenActive,
		promise: "a job that waits or runs cannot be reopened: ErrJobActive"},
	{name: "draw token of dead", run: drawTokenDead,
		promise: "the token of a new round comes with the dead job, and lies between earlier claims and later ones"},
	{name: "draw token of unknown", run: drawTokenUnknown,
		promise: "an id that the queue doesn't know gets a token, and no job"},
	{name: "reopen dead", run: reopenDead,
		promise: "a dead job is reopened with its new body, and starts over with attempt 1"},
	{name: "reopen keeps checkpoint", run: reopenKeepsCheckpoint,
		promise: "a reopened job keeps its checkpoint"},
	{name: "reopen unknown", run: reopenUnknown,
		promise: "reopening an id that the queue doesn't know pushes it"},
	{name: "reopen active", run: reopenActive,
		promise: "reopening a job that waits or is held leaves it as it is, and answers ErrJobActive"},
}

// requeuer returns the queue as a Requeuer, and skips the row if it isn't one.
func (b *queueBench) requeuer() worker.Requeuer {
	requeuer, ok := b.queue.(worker.Requeuer)
	if !ok {
		b.Skipf("the queue is not a Requeuer")
	}
	return requeuer
}

func drawTokenActive(b *queueBench) {
	requeuer := b.requeuer()
	jobs := b.enqueue(b.job(), b.job(), b.job(worker.After(time.Hour)))
	c := b.consume()
	c.one()
	for i, where := range []string{"held", "waiting", "scheduled"} {
		_, _, err := requeuer.DrawToken(b.ctx, b.name, jobs[i].ID)
		if !errors.Is(err, worker.ErrJobActive) {
			b.Fatalf("draw token of a %s job: %v, want ErrJobActive", where, err)
		}
	}
}

func drawTokenDead(b *queueBench) {
	requeuer := b.requeuer()
	want := b.enqueue(b.job(worker.WithHeader("name", "value")))[0]
	c := b.consume()
	before := b.die(c, worker.ActionBury).Token
	job, token, err := requeuer.DrawToken(b.ctx, b.name, want.ID)
	b.ok(err, "draw token")
	if job == nil || job.ID != want.ID || string(job.Payload) != string(want.Payload) || job.Headers["name"] != "value" {
		b.Fatalf("draw token came with job %+v, want the dead one", job)
	}
	b.ok(requeuer.Reopen(b.ctx, job), "reopen")
	after := c.one().Token
	if token <= before || after <= token {
		b.Fatalf("claim, requeue, claim drew the tokens %d, %d, %d", before, token, after)
	}
}

func drawTokenUnknown(b *queueBench) {
	requeuer := b.requeuer()
	b.enqueue(b.job())
	c := b.consume()
	before := c.one()
	c.settle(worker.ActionComplete, before)
	job, token, err := requeuer.DrawToken(b.ctx, b.name, before.ID)
	b.ok(err, "draw token")
	if job != nil || token <= before.Token {
		b.Fatalf("job %v and token %d, want none and one later than %d", job, token, before.Token)
	}
}

func reopenDead(b *queueBench) {
	requeuer := b.requeuer()
	for _, end := range []worker.Action{worker.ActionBury, worker.ActionCancel} {
		job := b.enqueue(b.job())[0]
		c := b.consume()
		c.settle(worker.ActionRetry, c.one())
		b.die(c, end)
		again := b.job(worker.WithID(job.ID), worker.WithHeader("round", "2"))
		again.Payload = json.RawMessage(`{"n": 2}`)
		b.ok(requeuer.Reopen(b.ctx, again), "reopen")
		got := c.one()
		if got.ID != job.ID || got.Attempt != 1 || got.Crashes != 0 {
			b.Fatalf("claimed %s as attempt %d with %d crashes, want %s, 1 and 0", got.ID, got.Attempt, got.Crashes, job.ID)
		}
		if string(got.Payload) != `{"n": 2}` || got.Headers["round"] != "2" {
			b.Fatalf("payload %s, headers %v: want those of the new round", got.Payload, got.Headers)
		}
		c.none("it was reopened once")
		c.settle(worker.ActionComplete, got)
		b.enqueue(b.job(worker.WithID(job.ID))) // alive and completed, so no longer dead
		c.settle(worker.ActionComplete, c.one())
	}
}

func reopenKeepsCheckpoint(b *queueBench) {
	requeuer := b.requeuer()
	c := b.consume()
	keeper := c.keeper()
	b.enqueue(b.job())
	job := c.one()
	b.ok(keeper.Checkpoint(b.ctx, job, []byte("7")), "checkpoint")
	c.settle(worker.ActionBury, job)
	b.ok(requeuer.Reopen(b.ctx, b.job(worker.WithID(job.ID))), "reopen")
	if again := c.one(); string(again.CheckpointData) != "7" {
		b.Fatalf("the checkpoint is %q, want %q", again.CheckpointData, "7")
	}
}

func reopenUnknown(b *queueBench) {
	requeuer := b.requeuer()
	job := b.job()
	b.ok(requeuer.Reopen(b.ctx, job), "reopen")
	c := b.consume()
	if got := c.one(); got.ID != job.ID || got.Attempt != 1 {
		b.Fatalf("claimed %s as attempt %d, want %s as attempt 1", got.ID, got.Attempt, job.ID)
	}
}

func reopenActive(b *queueBench) {
	requeuer := b.requeuer()
	jobs := b.enqueue(b.jobs(2)...)
	c := b.consume()
	held := c.one()
	for _, job := range jobs {
		err := requeuer.Reopen(b.ctx, b.job(worker.WithID(job.ID), worker.WithHeader("again", "yes")))
		if !errors.Is(err, worker.ErrJobActive) {
			b.Fatalf("reopen of an active job: %v, want ErrJobActive", err)
		}
	}
	if got := c.one(); got.ID != jobs[1].ID || got.Headers["again"] != "" {
		b.Fatalf("claimed %s with headers %v, want %s as it was", got.ID, got.Headers, jobs[1].ID)
	}
	c.none("it is held")
	c.settle(worker.ActionRetry, held)
	if again := c.one(); again.ID != held.ID || again.Attempt != 2 {
		b.Fatalf("claimed %s as attempt %d, want %s as attempt 2", again.ID, again.Attempt, held.ID)
	}
}
