package workertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// knowRows are the promises of worker.Knower.
var knowRows = []row[*queueBench]{
	{name: "know", run: know,
		promise: "a job is known where it is: waiting, due or not, held, dead, or not at all"},
	{name: "know many", run: knowMany,
		promise: "a call may ask about thousands of jobs, and about none; the answers are in the order of the ids"},
	{name: "know one queue", run: knowOneQueue,
		promise: "a queue knows its own jobs only"},
}

// knower returns the queue as a Knower, and skips the row if it isn't one.
func (b *queueBench) knower() worker.Knower {
	knower, ok := b.queue.(worker.Knower)
	if !ok {
		b.Skipf("the queue is not a Knower")
	}
	return knower
}

// knows fails the row unless the queue has the jobs in these places.
func (b *queueBench) knows(queue string, ids []string, want ...worker.Place) {
	b.Helper()
	got, err := b.knower().Know(b.ctx, queue, ids...)
	b.ok(err, "know")
	if !slices.Equal(got, want) {
		b.Fatalf("the places of %d jobs are %v, want %v", len(ids), got, want)
	}
}

func know(b *queueBench) {
	b.knower()
	jobs := b.enqueue(b.job(), b.job(), b.job(), b.job(), b.job(), b.job(worker.After(time.Hour)))
	var ids []string
	for _, job := range jobs {
		ids = append(ids, job.ID)
	}
	ids = append(ids, "nobody's")
	c := b.consume()
	held := c.claim(4)
	c.settle(worker.ActionComplete, held[0])
	c.settle(worker.ActionBury, held[1])
	c.settle(worker.ActionCancel, held[2])
	places := []worker.Place{worker.PlaceUnknown, worker.PlaceDead, worker.PlaceDead, worker.PlaceHeld,
		worker.PlaceWaiting, worker.PlaceWaiting, worker.PlaceUnknown}
	b.knows(b.name, ids, places...)
	other := b.consume() // sessions come and go
	b.knows(b.name, ids, places...)
	b.ok(other.Close(b.ctx), "close")
	b.knows(b.name, ids, places...)
}

func knowMany(b *queueBench) {
	b.knower()
	var ids []string
	var want []worker.Place
	for i, job := range b.enqueue(b.jobs(700)...) {
		ids = append(ids, job.ID, fmt.Sprint("nobody's-", i))
		want = append(want, worker.PlaceWaiting, worker.PlaceUnknown)
	}
	b.knows(b.name, ids, want...)
	b.knows(b.name, nil)
}

func knowOneQueue(b *queueBench) {
	b.knower()
	job := b.enqueue(b.job())[0]
	b.knows(b.name+".other", []string{job.ID}, worker.PlaceUnknown)
}
