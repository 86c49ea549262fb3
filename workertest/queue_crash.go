package workertest

import (
	"errors"

	"github.com/real-staging-ai/go-worker"
)

// crashRows are the promises about workers that die, and about those that don't.
var crashRows = []row[*queueBench]{
	{name: "alive", run: alive,
		promise: "a session that lives is never robbed, however long it holds a job"},
	{name: "takeover", run: takeover,
		promise: "a dead session's jobs go back to the head of the queue, in the order of its claims, each with a crash more"},
	{name: "lost", run: lost,
		promise: "a session that was robbed hears of it, settles nothing, and answers ErrLeaseLost"},
	{name: "crash loop", run: crashLoop,
		promise: "a job that took down MaxCrashes workers is handed out with Reject ErrCrashLoop"},
	{name: "last chance", run: lastChance,
		promise: "a job that may crash only once more is claimed with nothing beside it"},
	{name: "checkpoint outlives worker", run: checkpointOutlives,
		promise: "the claim after a takeover finds the dead worker's checkpoint"},
	{name: "cancel outlives worker", run: cancelOutlives,
		promise: "a job marked while a worker held it that died comes with Reject ErrCanceled"},
}

// kill makes a session stop renewing.
func (c *consumer) kill() {
	c.b.Helper()
	c.b.crash(c.Consumer)
}

// mortal skips the row if no worker can be made to die.
func (b *queueBench) mortal() {
	b.Helper()
	if b.crash == nil {
		b.Skipf("it takes the option WithCrash")
	}
}

// inherit claims one job as soon as the dead were robbed.
func (c *consumer) inherit() *worker.Job {
	c.b.Helper()
	return c.claimWithin(1, c.b.takeover+c.b.patience)[0]
}

// outlive lets the time pass until the dead must have been robbed, without claiming anything.
func (c *consumer) outlive() {
	c.b.Helper()
	for start := c.b.now(); c.b.now().Sub(start) <= c.b.takeover && c.b.ctx.Err() == nil; c.b.pass(c.b.takeover / 20) {
		_, err := c.Claim(c.b.ctx, worker.ClaimOptions{})
		c.b.ok(err, "claim with Limit 0")
	}
}

func alive(b *queueBench) {
	b.mortal()
	b.enqueue(b.job())
	holder, other := b.consume(), b.consume()
	job := holder.one()
	if got := other.within(1, b.takeover+b.takeover/4); len(got) > 0 {
		b.Fatalf("claimed %s, which a live session holds", names(got))
	}
	select {
	case <-holder.Lost():
		b.Fatalf("a live session lost its lease")
	default:
	}
	holder.settle(worker.ActionRetry, job)
	if again := other.one(); again.Attempt != 2 || again.Crashes != 0 {
		b.Fatalf("attempt %d with %d crashes, want 2 and 0", again.Attempt, again.Crashes)
	}
}

func takeover(b *queueBench) {
	b.mortal()
	jobs := b.enqueue(b.jobs(4)...)
	dead, heir := b.consume(), b.consume()
	held := dead.claim(3)
	dead.kill()
	heir.outlive()
	got := heir.claim(4)
	b.sameOrder(got, jobs)
	for i, job := range got[:3] {
		if job.Attempt != 1 || job.Crashes != 1 || job.Reject != nil {
			b.Fatalf("attempt %d, crashes %d, Reject %v: want 1, 1 and none", job.Attempt, job.Crashes, job.Reject)
		}
		if job.Token <= held[i].Token {
			b.Fatalf("token %d came after token %d", job.Token, held[i].Token)
		}
	}
	if got[3].Crashes != 0 {
		b.Fatalf("a job that no worker held has %d crashes", got[3].Crashes)
	}
}

func lost(b *queueBench) {
	b.mortal()
	b.enqueue(b.job())
	dead, heir := b.consume(), b.consume()
	job := dead.one()
	dead.kill()
	again := heir.inherit()
	received(b.bench, dead.Lost(), "the loss of the lease")
	if err := dead.Settle(b.ctx, verdicts(worker.ActionComplete, 0, job)...); !errors.Is(err, worker.ErrLeaseLost) {
		b.Fatalf("settle after the lease was lost: %v, want ErrLeaseLost", err)
	}
	if keeper, ok := dead.Consumer.(worker.Checkpointer); ok {
		b.refused(keeper.Checkpoint(b.ctx, job, []byte("1")), "after the lease was lost")
	}
	_ = dead.Close(b.ctx)
	heir.none("it is held by the heir")
	heir.settle(worker.ActionRetry, again)
	if next := heir.one(); next.Attempt != 2 {
		b.Fatalf("attempt is %d, want 2: a session without a lease settled the job", next.Attempt)
	}
}

// brittle opens a session that hands out jobs which took down two workers as rejected.
func (b *queueBench) brittle() *consumer {
	b.Helper()
	return b.consumeWith(b.name, worker.ConsumeOptions{MaxCrashes: 2})
}

func crashLoop(b *queueBench) {
	b.mortal()
	b.enqueue(b.job())
	c := b.brittle()
	job := c.one()
	for crashes := 1; crashes <= 2; crashes++ {
		heir := b.brittle()
		c.kill()
		job, c = heir.inherit(), heir
		if job.Crashes != crashes || job.Attempt != 1 {
			b.Fatalf("crashes %d, attempt %d: want %d and 1", job.Crashes, job.Attempt, crashes)
		}
		if rejected := errors.Is(job.Reject, worker.ErrCrashLoop); rejected != (crashes == 2) {
			b.Fatalf("after %d crashes of 2 Reject is %v", crashes, job.Reject)
		}
	}
	c.settle(worker.ActionBury, job)
	c.none("it was buried")
}

func lastChance(b *queueBench) {
	b.mortal()
	suspects := b.enqueue(b.jobs(2)...)
	dead, heir := b.brittle(), b.brittle()
	dead.claim(len(suspects))
	dead.kill()
	heir.outlive()
	b.enqueue(b.jobs(3)...)
	for range suspects {
		got := heir.within(10, b.patience)
		if len(got) != 1 || got[0].Crashes != 1 {
			b.Fatalf("claimed %s at once, want one job with a crash, alone", names(got))
		}
		heir.settle(worker.ActionComplete, got...)
	}
	for _, job := range heir.claim(3) {
		if job.Crashes != 0 {
			b.Fatalf("a job that no worker held has %d crashes", job.Crashes)
		}
	}
}

func checkpointOutlives(b *queueBench) {
	b.mortal()
	b.enqueue(b.job())
	dead, heir := b.consume(), b.consume()
	keeper := dead.keeper()
	job := dead.one()
	b.ok(keeper.Checkpoint(b.ctx, job, []byte("7")), "checkpoint")
	dead.kill()
	if again := heir.inherit(); string(again.CheckpointData) != "7" {
		b.Fatalf("the checkpoint is %q, want %q", again.CheckpointData, "7")
	}
}

func cancelOutlives(b *queueBench) {
	b.mortal()
	b.canceler()
	b.enqueue(b.job())
	dead, heir := b.consume(), b.consume()
	job := dead.one()
	b.mark(job.ID, worker.PlaceHeld)
	dead.kill()
	if again := heir.inherit(); again.ID != job.ID || !errors.Is(again.Reject, worker.ErrCanceled) {
		b.Fatalf("claimed %s with Reject %v, want %s with ErrCanceled", again.ID, again.Reject, job.ID)
	}
}
