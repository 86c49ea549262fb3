package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// enqueueRows are the promises of Queue.Enqueue.
var enqueueRows = []row[*queueBench]{
	{name: "payload bytes", run: payloadBytes,
		promise: "the payload reaches the consumer byte for byte"},
	{name: "exported fields", run: exportedFields,
		promise: "all exported fields above Attempt reach the consumer unchanged, Delay apart"},
	{name: "first claim", run: firstClaim,
		promise: "a new job's first claim is attempt 1, without crashes, checkpoint and Reject"},
	{name: "private jobs", run: jobsStayCallers,
		promise: "the jobs of a call are the caller's again when Enqueue returns"},
	{name: "twice while waiting", run: twiceWaiting,
		promise: "enqueueing the id of a job that waits leaves it as it is, without an error"},
	{name: "twice while held", run: twiceHeld,
		promise: "enqueueing the id of a job that runs leaves it as it is, without an error"},
	{name: "twice while scheduled", run: twiceScheduled,
		promise: "enqueueing the id of a scheduled job leaves it as it is, without an error"},
	{name: "twice at once", run: twiceAtOnce,
		promise: "producers that enqueue the same ids at the same time enqueue each once"},
	{name: "dead ids", run: deadIDs,
		promise: "a dead job is not enqueued: a *FinishedError in an *EnqueueError says so"},
	{name: "others of a call", run: othersOfCall,
		promise: "jobs that can be enqueued are, whatever becomes of the others of the call"},
	{name: "completed ids", run: completedIDs,
		promise: "a completed job is forgotten: its id may be enqueued again, as a new job"},
	{name: "many in a call", run: manyInCall,
		promise: "a call may carry any number of jobs"},
	{name: "nothing to do", run: nothingToDo,
		promise: "calls without jobs or verdicts are harmless"},
}

// awkwardPayload is JSON that every re-encoding changes.
const awkwardPayload = "{ \"b\":1.0,\t\"a\" : \"<&>\\u00e9\\/é\u2028\",\"a\":12345678901234567890,\n" +
	"\"e\":[ ],\"o\":{} }\r\n"

func payloadBytes(b *queueBench) {
	job := b.job()
	job.Payload = json.RawMessage(awkwardPayload)
	b.enqueue(job)
	if got := b.consume().one(); string(got.Payload) != awkwardPayload {
		b.Fatalf("payload is %q, want %q", got.Payload, awkwardPayload)
	}
}

func exportedFields(b *queueBench) {
	want := b.job(
		worker.WithTopic("user:7/ü"), worker.WithKey("tenant \"7\""),
		worker.UniqueBy("ünique \"7\"", worker.UniquePolicy{Until: worker.ForPeriod, For: time.Minute + 7, Replace: true}),
		worker.WithHeader("traceparent", "00-ab-cd-01"),
		worker.WithHeader("naïve\n", "<\\>"), worker.Timeout(90*time.Second+7),
		worker.WithRetry(worker.RetryPolicy{MaxAttempts: 7, Base: 3, Max: time.Hour, Window: 48 * time.Hour}),
		worker.ExpireAt(b.now().Add(time.Hour)), worker.At(b.now().Add(-time.Minute)),
	)
	// Delay wins over RunAt, which travels all the same.
	want.Delay = time.Millisecond
	b.enqueue(want)
	got := b.consume().one()
	same := got.ID == want.ID && got.Type == want.Type && got.Queue == want.Queue && got.Topic == want.Topic &&
		got.Key == want.Key && got.Unique != nil && *got.Unique == *want.Unique && maps.Equal(got.Headers, want.Headers) && got.Retry == want.Retry &&
		got.Timeout == want.Timeout && got.RunAt.Equal(want.RunAt) && got.ExpiresAt.Equal(want.ExpiresAt) &&
		got.EnqueuedAt.Equal(want.EnqueuedAt) && got.Delay == 0
	if !same {
		b.Fatalf("claimed %s\nwant    %s\nwith Delay 0", describe(got), describe(want))
	}
}

// describe shows the fields of a job that travel.
func describe(job *worker.Job) []byte {
	text, _ := json.Marshal(map[string]any{
		"ID": job.ID, "Type": job.Type, "Queue": job.Queue, "Topic": job.Topic, "Key": job.Key, "Unique": job.Unique, "Headers": job.Headers,
		"Retry": job.Retry, "Timeout": job.Timeout, "RunAt": job.RunAt, "ExpiresAt": job.ExpiresAt,
		"EnqueuedAt": job.EnqueuedAt, "Delay": job.Delay, "Payload": string(job.Payload),
	})
	return text
}

func firstClaim(b *queueBench) {
	b.enqueue(b.job())
	job := b.consume().one()
	if job.Attempt != 1 || job.Crashes != 0 || job.CheckpointData != nil {
		b.Fatalf("attempt %d, crashes %d, checkpoint %q: want 1, 0 and none", job.Attempt, job.Crashes, job.CheckpointData)
	}
}

func jobsStayCallers(b *queueBench) {
	job := b.job(worker.WithHeader("name", "before"))
	want := bytes.Clone(job.Payload)
	b.enqueue(job)
	copy(job.Payload, "XXXXXXXX")
	job.Headers["name"] = "after"
	got := b.consume().one()
	if !bytes.Equal(got.Payload, want) || got.Headers["name"] != "before" {
		b.Fatalf("payload %s, header %q: the caller's later changes came through", got.Payload, got.Headers["name"])
	}
}

func twiceWaiting(b *queueBench) {
	first, second := b.job(), b.job()
	b.enqueue(first, second)
	again := b.job(worker.WithID(first.ID), worker.WithHeader("again", "yes"))
	b.enqueue(again)
	c := b.consume()
	got := c.claim(2)
	b.sameOrder(got, []*worker.Job{first, second})
	if got[0].Headers["again"] != "" {
		b.Fatalf("the second enqueue replaced the job")
	}
	c.none("enqueued twice, it came twice")
}

func twiceHeld(b *queueBench) {
	b.enqueue(b.job())
	c := b.consume()
	held := c.one()
	b.enqueue(b.job(worker.WithID(held.ID)))
	c.none("it is held already")
	c.settle(worker.ActionRetry, held)
	if again := c.one(); again.Attempt != 2 {
		b.Fatalf("attempt is %d, want 2: the held job was replaced", again.Attempt)
	}
	c.none("enqueued twice, it came twice")
}

func twiceScheduled(b *queueBench) {
	job := b.enqueue(b.job(worker.After(time.Hour)))[0]
	b.enqueue(b.job(worker.WithID(job.ID)))
	b.consume().none("it is scheduled in an hour")
}

func twiceAtOnce(b *queueBench) {
	const producers, total = 6, 20
	jobs := b.jobs(total)
	var wg sync.WaitGroup
	errs := make([]error, producers)
	for i := range producers {
		wg.Go(func() {
			for _, job := range jobs {
				errs[i] = errors.Join(errs[i], b.queue.Enqueue(b.ctx, job))
			}
		})
	}
	wg.Wait()
	b.ok(errors.Join(errs...), "enqueue beside others")
	c := b.consume()
	c.claim(total)
	c.none("enqueued by several, it came more than once")
}

// die claims and ends the only job of the queue, and returns it.
func (b *queueBench) die(c *consumer, action worker.Action) *worker.Job {
	b.Helper()
	job := c.claim(1)[0]
	c.settle(action, job)
	return job
}

func deadIDs(b *queueBench) {
	c := b.consume()
	for action, state := range map[worker.Action]worker.State{
		worker.ActionBury: worker.StateFailed, worker.ActionCancel: worker.StateCanceled,
	} {
		job := b.enqueue(b.job())[0]
		b.die(c, action)
		b.finished(b.queue.Enqueue(b.ctx, b.job(worker.WithID(job.ID))), job.ID, state)
		c.none("it is dead")
	}
}

// finished fails the row unless err says that the job has ended.
func (b *queueBench) finished(err error, id string, state worker.State) {
	b.Helper()
	var failed *worker.EnqueueError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 {
		b.Fatalf("enqueue of a dead id: %v, want an *EnqueueError with that job", err)
	}
	var finished *worker.FinishedError
	if !errors.As(failed.Failed[id], &finished) || finished.ID != id {
		b.Fatalf("enqueue of a dead id: %v, want a *FinishedError with its id", failed.Failed[id])
	}
	if finished.State != "" && finished.State != state {
		b.Fatalf("finished as %q, want %q or nothing", finished.State, state)
	}
}

func othersOfCall(b *queueBench) {
	dead := b.enqueue(b.job())[0]
	c := b.consume()
	b.die(c, worker.ActionBury)
	before, after := b.job(), b.job()
	err := b.queue.Enqueue(b.ctx, before, b.job(worker.WithID(dead.ID)), after)
	b.finished(err, dead.ID, worker.StateFailed)
	b.sameOrder(c.claim(2), []*worker.Job{before, after})
}

func completedIDs(b *queueBench) {
	job := b.enqueue(b.job())[0]
	c := b.consume()
	c.settle(worker.ActionRetry, c.one())
	held := c.one()
	if keeper, ok := c.Consumer.(worker.Checkpointer); ok {
		b.ok(keeper.Checkpoint(b.ctx, held, []byte("1")), "checkpoint")
	}
	c.settle(worker.ActionComplete, held)
	b.enqueue(b.job(worker.WithID(job.ID)))
	again := c.one()
	if again.ID != job.ID || again.Attempt != 1 || again.CheckpointData != nil {
		b.Fatalf("claimed %s, attempt %d, checkpoint %q: want %s, 1 and none",
			again.ID, again.Attempt, again.CheckpointData, job.ID)
	}
}

func manyInCall(b *queueBench) {
	const many = 1200
	jobs := b.enqueue(b.jobs(many)...)
	c := b.consume()
	got := c.claim(many)
	b.sameOrder(got, jobs)
	c.settle(worker.ActionComplete, got...)
	b.ok(c.Close(b.ctx), "close")
	b.consume().none("it was completed in one call with many others")
}

func nothingToDo(b *queueBench) {
	b.ok(b.queue.Enqueue(b.ctx), "enqueue nothing")
	c := b.consume()
	b.ok(c.Settle(b.ctx), "settle nothing")
	if err := c.Close(context.WithoutCancel(b.ctx)); err != nil {
		b.Fatalf("close a session that held nothing: %v", err)
	}
}
