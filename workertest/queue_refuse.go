package workertest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// refuseRows are the promises about calls that make no sense: they are errors, not empty answers.
var refuseRows = []row[*queueBench]{
	{name: "names of queues", run: refuseNames,
		promise: "no call takes for a queue's name what CheckQueueName refuses"},
	{name: "list nowhere", run: refusePlaces,
		promise: "listing a place that no job can be in is an error"},
	{name: "list from a strange cursor", run: refuseCursors,
		promise: "a cursor that is no page's Next is an error, in every place"},
	{name: "crashes below zero", run: refuseNegativeCrashes,
		promise: "a session whose MaxCrashes is negative is not opened"},
	{name: "reopen no job", run: refuseNoJob,
		promise: "reopening what no job can be made of is refused with ErrRefused"},
	{name: "release no key", run: refuseNoKey,
		promise: "releasing an empty unique key is an error"},
	{name: "schedule without a name", run: refuseNoSchedule,
		promise: "a schedule's name that is empty is an error, and its ticks are refused with ErrRefused"},
}

// namedCall is a call that is given a queue's name, by itself or within a job.
type namedCall struct {
	name string
	do   func(ctx context.Context, q worker.Queue, queue string) error
}

// named is a call that only queues with a power have; of others it answers errors.ErrUnsupported.
func named[P any](name string, do func(ctx context.Context, power P, queue string) error) namedCall {
	return namedCall{name, func(ctx context.Context, q worker.Queue, queue string) error {
		power, ok := q.(P)
		if !ok {
			return errors.ErrUnsupported
		}
		return do(ctx, power, queue)
	}}
}

var namedCalls = []namedCall{
	named("Enqueue", func(ctx context.Context, q worker.Queue, queue string) error {
		return q.Enqueue(ctx, jobOn(queue))
	}),
	named("Consume", func(ctx context.Context, q worker.Queue, queue string) error {
		c, err := q.Consume(ctx, queue, worker.ConsumeOptions{})
		if err == nil {
			_ = c.Close(ctx)
		}
		return err
	}),
	named("MarkCanceled", func(ctx context.Context, q worker.Canceler, queue string) error {
		_, err := q.MarkCanceled(ctx, queue, "id")
		return err
	}),
	named("RemoveCanceled", func(ctx context.Context, q worker.Canceler, queue string) error {
		_, err := q.RemoveCanceled(ctx, queue, "id")
		return err
	}),
	named("DrawToken", func(ctx context.Context, q worker.Requeuer, queue string) error {
		_, _, err := q.DrawToken(ctx, queue, "id")
		return err
	}),
	named("Reopen", func(ctx context.Context, q worker.Requeuer, queue string) error {
		return q.Reopen(ctx, jobOn(queue))
	}),
	named("Know", func(ctx context.Context, q worker.Knower, queue string) error {
		_, err := q.Know(ctx, queue, "id")
		return err
	}),
	named("Pause", func(ctx context.Context, q worker.Pauser, queue string) error { return q.Pause(ctx, queue) }),
	named("Resume", func(ctx context.Context, q worker.Pauser, queue string) error { return q.Resume(ctx, queue) }),
	named("Holders", func(ctx context.Context, q worker.Uniquer, queue string) error {
		_, err := q.Holders(ctx, jobOn(queue))
		return err
	}),
	named("Replace", func(ctx context.Context, q worker.Uniquer, queue string) error {
		job := jobOn(queue)
		_, _, err := q.Replace(ctx, job, job)
		return err
	}),
	named("ReleaseUnique", func(ctx context.Context, q worker.UniqueReleaser, queue string) error {
		_, err := q.ReleaseUnique(ctx, queue, "key")
		return err
	}),
	named("Activity", func(ctx context.Context, q worker.Inspector, queue string) error {
		_, err := q.Activity(ctx, queue)
		return err
	}),
	named("List", func(ctx context.Context, q worker.Inspector, queue string) error {
		_, err := q.List(ctx, queue, worker.ListOptions{Place: worker.PlaceWaiting})
		return err
	}),
	named("Find", func(ctx context.Context, q worker.Inspector, queue string) error {
		_, err := q.Find(ctx, queue, "id")
		return err
	}),
	named("Edit", func(ctx context.Context, q worker.Editor, queue string) error {
		job := jobOn(queue)
		_, err := q.Edit(ctx, job, job, worker.MoveNone)
		return err
	}),
	named("Forget", func(ctx context.Context, q worker.Editor, queue string) error {
		_, err := q.Forget(ctx, queue, "id")
		return err
	}),
	named("LastTick", func(ctx context.Context, q worker.Ticker, queue string) error {
		_, _, err := q.LastTick(ctx, queue, "s", time.UnixMilli(1000))
		return err
	}),
	named("EnqueueTick", func(ctx context.Context, q worker.Ticker, queue string) error {
		_, err := q.EnqueueTick(ctx, "s", time.UnixMilli(1000), jobOn(queue))
		return err
	}),
	named("Stats", func(ctx context.Context, q worker.Sampler, queue string) error {
		_, err := q.Stats(ctx, queue)
		return err
	}),
}

// jobOn makes a unique job of any queue, whatever its name.
func jobOn(queue string) *worker.Job {
	return &worker.Job{
		ID: "id", Type: note{}.JobType(), Queue: queue, Topic: "job:id", Payload: []byte(`{"n":0}`),
		EnqueuedAt: time.UnixMilli(1000).UTC(), Unique: &worker.Unique{Key: "key"},
	}
}

func refuseNames(b *queueBench) {
	for _, queue := range []string{"", "a b", "a/b", "{a}", "ä", strings.Repeat("a", worker.MaxQueueLength+1)} {
		for _, call := range namedCalls {
			// That there is no such job is true of every name, and hides what is wrong with this one.
			if err := call.do(b.ctx, b.queue, queue); err == nil || notFound(err) {
				b.Fatalf("%s on queue %q: %v, want an error about the name", call.name, queue, err)
			}
		}
	}
}

func refusePlaces(b *queueBench) {
	for _, place := range []worker.Place{worker.PlaceUnknown, -1, worker.PlaceScheduled + 1} {
		if _, err := b.inspector().List(b.ctx, b.name, worker.ListOptions{Place: place}); err == nil {
			b.Fatalf("place %d was listed, want an error", place)
		}
	}
}

func refuseCursors(b *queueBench) {
	places := []worker.Place{worker.PlaceWaiting, worker.PlaceScheduled, worker.PlaceHeld, worker.PlaceDead}
	for _, place := range places {
		for _, cursor := range []string{"nonsense", "no cursor", "-1"} {
			if _, err := b.inspector().List(b.ctx, b.name, worker.ListOptions{Place: place, Cursor: cursor}); err == nil {
				b.Fatalf("place %d was listed from cursor %q, want an error", place, cursor)
			}
		}
	}
}

func refuseNegativeCrashes(b *queueBench) {
	c, err := b.queue.Consume(b.ctx, b.name, worker.ConsumeOptions{MaxCrashes: -1})
	if err == nil {
		_ = c.Close(b.ctx)
		b.Fatalf("MaxCrashes -1 was accepted, want an error")
	}
}

func refuseNoJob(b *queueBench) {
	job := b.job()
	job.Payload = []byte("{")
	if err := b.requeuer().Reopen(b.ctx, job); !errors.Is(err, worker.ErrRefused) {
		b.Fatalf("reopen a job whose payload is no JSON: %v, want ErrRefused", err)
	}
	b.consume().none("there is no job")
}

func refuseNoKey(b *queueBench) {
	if holder, err := b.releaser().ReleaseUnique(b.ctx, b.name, ""); err == nil {
		b.Fatalf("an empty key was released from %q, want an error", holder)
	}
}

func refuseNoSchedule(b *queueBench) {
	ticker := b.ticker()
	if last, _, err := ticker.LastTick(b.ctx, b.name, "", b.someTick()); err == nil {
		b.Fatalf("the last tick of a schedule without a name is %s, want an error", last)
	}
	if _, err := ticker.EnqueueTick(b.ctx, "", b.someTick(), b.job()); !errors.Is(err, worker.ErrRefused) {
		b.Fatalf("enqueue a tick of a schedule without a name: %v, want ErrRefused", err)
	}
	b.consume().none("its schedule has no name")
}
