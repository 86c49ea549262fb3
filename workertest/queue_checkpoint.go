package workertest

import (
	"bytes"
	"errors"

	"github.com/real-staging-ai/go-worker"
)

// checkpointRows are the promises of worker.Checkpointer.
var checkpointRows = []row[*queueBench]{
	{name: "checkpoint", run: checkpointKept,
		promise: "the next claim finds the last checkpoint, byte for byte, whichever session makes it"},
	{name: "checkpoint is fenced", run: checkpointFenced,
		promise: "a checkpoint of a job that is no longer held under its token is refused with ErrLeaseLost"},
}

// keeper returns the session as a Checkpointer, and skips the row if it isn't one.
func (c *consumer) keeper() worker.Checkpointer {
	keeper, ok := c.Consumer.(worker.Checkpointer)
	if !ok {
		c.b.Skipf("the consumer is not a Checkpointer")
	}
	return keeper
}

func checkpointKept(b *queueBench) {
	c := b.consume()
	keeper := c.keeper()
	other := b.enqueue(b.jobs(2)...)[1]
	job := c.one()
	b.ok(keeper.Checkpoint(b.ctx, job, []byte(`{"step":1}`)), "checkpoint")
	data := []byte("{ \"step\":\t2.0, \"x\":\"\u2028é<&>\" }\x00\xff")
	kept := bytes.Clone(data)
	b.ok(keeper.Checkpoint(b.ctx, job, data), "checkpoint again")
	clear(data)
	c.settle(worker.ActionRelease, job)
	if again := c.one(); !bytes.Equal(again.CheckpointData, kept) {
		b.Fatalf("after a release the checkpoint is %q, want %q", again.CheckpointData, kept)
	}
	b.ok(c.Close(b.ctx), "close")
	c = b.consume()
	job = c.one()
	c.settle(worker.ActionRetry, job)
	for _, again := range c.claim(2) {
		if again.ID == other.ID && again.CheckpointData != nil {
			b.Fatalf("a job without a checkpoint came with %q", again.CheckpointData)
		}
		if again.ID != other.ID && !bytes.Equal(again.CheckpointData, kept) {
			b.Fatalf("after Close and a retry the checkpoint is %q, want %q", again.CheckpointData, kept)
		}
	}
}

func checkpointFenced(b *queueBench) {
	first, second := b.consume(), b.consume()
	keeper, other := first.keeper(), second.keeper()
	b.enqueue(b.job())
	old := first.one()
	b.ok(keeper.Checkpoint(b.ctx, old, []byte("1")), "checkpoint")
	first.settle(worker.ActionRelease, old)
	b.refused(keeper.Checkpoint(b.ctx, stale(old), []byte("2")), "of a job that is not held")
	now := first.one()
	b.refused(keeper.Checkpoint(b.ctx, stale(old), []byte("3")), "under an old token")
	b.refused(other.Checkpoint(b.ctx, stale(now), []byte("4")), "of a job that another session holds")
	first.settle(worker.ActionRelease, now)
	if again := second.one(); string(again.CheckpointData) != "1" {
		b.Fatalf("the checkpoint is %q, want %q: a refused one was kept", again.CheckpointData, "1")
	}
}

func (b *queueBench) refused(err error, what string) {
	b.Helper()
	if !errors.Is(err, worker.ErrLeaseLost) {
		b.Fatalf("checkpoint %s: %v, want ErrLeaseLost", what, err)
	}
}
