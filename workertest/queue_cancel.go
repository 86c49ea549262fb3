package workertest

import (
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// cancelRows are the promises of worker.Canceler and worker.CancelWatcher.
var cancelRows = []row[*queueBench]{
	{name: "cancel waiting", run: cancelWaiting,
		promise: "a waiting job that was marked comes with Reject ErrCanceled"},
	{name: "cancel scheduled", run: cancelScheduled,
		promise: "a scheduled job that is marked falls due at once"},
	{name: "cancel held", run: cancelHeld,
		promise: "a held job that was marked comes with Reject ErrCanceled when it is put back, and at once"},
	{name: "remove canceled", run: removeCanceled,
		promise: "a marked job that waits is moved among the dead"},
	{name: "remove leaves held", run: removeLeavesHeld,
		promise: "removing leaves a held job to its holder"},
	{name: "cancel unknown", run: cancelUnknown,
		promise: "canceling a job that the queue doesn't know only draws a token"},
	{name: "cancel dead", run: cancelDead,
		promise: "canceling a dead job only draws a token"},
	{name: "cancel tokens", run: cancelTokens,
		promise: "a cancel's token is later than those of earlier claims and earlier than those of later ones"},
	{name: "revoked", run: revoked,
		promise: "a session hears of the held jobs that are canceled, within a second"},
}

// canceler returns the queue as a Canceler, and skips the row if it isn't one.
func (b *queueBench) canceler() worker.Canceler {
	canceler, ok := b.queue.(worker.Canceler)
	if !ok {
		b.Skipf("the queue is not a Canceler")
	}
	return canceler
}

// mark marks a job and checks where it was found.
func (b *queueBench) mark(id string, want worker.Place) worker.CancelMark {
	b.Helper()
	mark, err := b.canceler().MarkCanceled(b.ctx, b.name, id)
	b.ok(err, "mark canceled")
	if mark.Place != want {
		b.Fatalf("the job to mark was found in place %d, want %d", mark.Place, want)
	}
	if mark.Token <= 0 {
		b.Fatalf("the cancel's token is %d", mark.Token)
	}
	if want == worker.PlaceUnknown {
		if mark.Job != nil {
			b.Fatalf("an unknown job came with its mark")
		}
	} else if mark.Job == nil || mark.Job.ID != id || mark.Job.Type != (note{}).JobType() {
		b.Fatalf("the mark came without the job: %+v", mark)
	}
	return mark
}

// remove removes a marked job and checks where it was found.
func (b *queueBench) remove(id string, want worker.Place) {
	b.Helper()
	place, err := b.canceler().RemoveCanceled(b.ctx, b.name, id)
	b.ok(err, "remove canceled")
	if place != want {
		b.Fatalf("the job to remove was found in place %d, want %d", place, want)
	}
}

// canceled claims one job, which must be rejected as canceled.
func (c *consumer) canceled(id string) *worker.Job {
	c.b.Helper()
	job := c.claim(1)[0]
	if job.ID != id || !errors.Is(job.Reject, worker.ErrCanceled) {
		c.b.Fatalf("claimed %s with Reject %v, want %s with ErrCanceled", job.ID, job.Reject, id)
	}
	return job
}

func cancelWaiting(b *queueBench) {
	b.canceler()
	jobs := b.enqueue(b.jobs(2)...)
	b.mark(jobs[0].ID, worker.PlaceWaiting)
	c := b.consume()
	c.settle(worker.ActionCancel, c.canceled(jobs[0].ID))
	if next := c.one(); next.ID != jobs[1].ID {
		b.Fatalf("claimed %s, want %s", next.ID, jobs[1].ID)
	}
	b.finished(b.queue.Enqueue(b.ctx, b.job(worker.WithID(jobs[0].ID))), jobs[0].ID, worker.StateCanceled)
}

func cancelScheduled(b *queueBench) {
	b.canceler()
	job := b.enqueue(b.job(worker.After(time.Hour)))[0]
	b.mark(job.ID, worker.PlaceWaiting)
	b.consume().canceled(job.ID)
}

func cancelHeld(b *queueBench) {
	b.canceler()
	for _, action := range []worker.Action{worker.ActionRelease, worker.ActionRetry, worker.ActionSnooze} {
		b.enqueue(b.job())
		c := b.consume()
		held := c.one()
		b.mark(held.ID, worker.PlaceHeld)
		c.none("it is held, canceled or not")
		delay := time.Hour
		if action == worker.ActionRelease {
			delay = 0
		}
		c.settleAfter(action, delay, held)
		c.settle(worker.ActionCancel, c.canceled(held.ID))
	}
}

func removeCanceled(b *queueBench) {
	b.canceler()
	jobs := b.enqueue(b.job(), b.job(worker.After(time.Hour)), b.job())
	c := b.consume()
	for _, job := range jobs[:2] {
		b.mark(job.ID, worker.PlaceWaiting)
		b.remove(job.ID, worker.PlaceWaiting)
	}
	if next := c.one(); next.ID != jobs[2].ID {
		b.Fatalf("claimed %s, want %s: removed jobs still wait", next.ID, jobs[2].ID)
	}
	c.none("it was removed")
	for _, job := range jobs[:2] {
		b.finished(b.queue.Enqueue(b.ctx, b.job(worker.WithID(job.ID))), job.ID, worker.StateCanceled)
		b.remove(job.ID, worker.PlaceDead)
	}
	b.remove(b.job().ID, worker.PlaceUnknown)
}

func removeLeavesHeld(b *queueBench) {
	b.canceler()
	b.enqueue(b.job())
	c := b.consume()
	job := c.one()
	b.mark(job.ID, worker.PlaceHeld)
	b.remove(job.ID, worker.PlaceHeld)
	c.settle(worker.ActionComplete, job)
	b.enqueue(b.job(worker.WithID(job.ID))) // free again: it was completed, not removed
	if again := c.one(); again.ID != job.ID {
		b.Fatalf("claimed %s, want %s", again.ID, job.ID)
	}
}

func cancelUnknown(b *queueBench) {
	b.canceler()
	id := b.job().ID
	b.mark(id, worker.PlaceUnknown)
	b.enqueue(b.job(worker.WithID(id)))
	b.consume().one()
}

func cancelDead(b *queueBench) {
	b.canceler()
	job := b.enqueue(b.job())[0]
	c := b.consume()
	b.die(c, worker.ActionBury)
	b.mark(job.ID, worker.PlaceDead)
	c.none("it is dead")
	b.finished(b.queue.Enqueue(b.ctx, b.job(worker.WithID(job.ID))), job.ID, worker.StateFailed)
}

func cancelTokens(b *queueBench) {
	b.canceler()
	b.enqueue(b.jobs(2)...)
	c := b.consume()
	before := c.one()
	cancel := b.mark(before.ID, worker.PlaceHeld).Token
	after := c.one()
	if cancel <= before.Token || after.Token <= cancel {
		b.Fatalf("claim, cancel, claim drew the tokens %d, %d, %d", before.Token, cancel, after.Token)
	}
}

func revoked(b *queueBench) {
	b.canceler()
	c := b.consume()
	watcher, ok := c.Consumer.(worker.CancelWatcher)
	if !ok {
		b.Skipf("the consumer is not a CancelWatcher")
	}
	b.enqueue(b.jobs(3)...)
	jobs := c.claim(3)
	want := make(map[string]int64)
	marked := make(map[string]time.Time)
	for _, job := range jobs[1:] {
		b.mark(job.ID, worker.PlaceHeld)
		marked[job.ID] = b.now()
		want[job.ID] = job.Token
	}
	check := func(got worker.Revocation) {
		token, known := want[got.ID]
		if got.ID == jobs[0].ID {
			b.Fatalf("a job that nobody canceled was revoked")
		}
		if known && (got.Token != token || !errors.Is(got.Cause, worker.ErrCanceled)) {
			b.Fatalf("revoked token %d for %v, want %d for ErrCanceled", got.Token, got.Cause, token)
		}
		if known {
			b.inASecond(b.now().Sub(marked[got.ID]), "the revocation of a canceled job")
		}
		delete(want, got.ID)
	}
	for len(want) > 0 {
		check(receivedWithin(b.bench, watcher.Revoked(), b.aSecond()+b.patience, "revocations of canceled jobs"))
	}
	b.pass(20 * time.Millisecond)
	for {
		select {
		case again := <-watcher.Revoked():
			check(again)
			continue
		default:
		}
		break
	}
	c.settle(worker.ActionCancel, jobs...)
}
