package workertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// laxQueue is a MemoryQueue one of whose calls takes every name for that of a queue.
type laxQueue struct {
	*MemoryQueue
	call string
}

func (q laxQueue) name(call, queue string) string {
	if call == q.call && worker.CheckQueueName(queue) != nil {
		return "lax"
	}
	return queue
}

// job renames the queue in a job, which no caller needs any more.
func (q laxQueue) job(call string, job *worker.Job) *worker.Job {
	job.Queue = q.name(call, job.Queue)
	return job
}

func (q laxQueue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	all := make([]*worker.Job, len(jobs))
	for i, job := range jobs {
		all[i] = q.job("Enqueue", job)
	}
	return q.MemoryQueue.Enqueue(ctx, all...)
}

func (q laxQueue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	return q.MemoryQueue.Consume(ctx, q.name("Consume", queue), opts)
}

func (q laxQueue) MarkCanceled(ctx context.Context, queue, id string) (worker.CancelMark, error) {
	return q.MemoryQueue.MarkCanceled(ctx, q.name("MarkCanceled", queue), id)
}

func (q laxQueue) RemoveCanceled(ctx context.Context, queue, id string) (worker.Place, error) {
	return q.MemoryQueue.RemoveCanceled(ctx, q.name("RemoveCanceled", queue), id)
}

func (q laxQueue) DrawToken(ctx context.Context, queue, id string) (*worker.Job, int64, error) {
	return q.MemoryQueue.DrawToken(ctx, q.name("DrawToken", queue), id)
}

func (q laxQueue) Reopen(ctx context.Context, job *worker.Job) error {
	return q.MemoryQueue.Reopen(ctx, q.job("Reopen", job))
}

func (q laxQueue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	return q.MemoryQueue.Know(ctx, q.name("Know", queue), ids...)
}

func (q laxQueue) Pause(ctx context.Context, queue string) error {
	return q.MemoryQueue.Pause(ctx, q.name("Pause", queue))
}

func (q laxQueue) Resume(ctx context.Context, queue string) error {
	return q.MemoryQueue.Resume(ctx, q.name("Resume", queue))
}

func (q laxQueue) Holders(ctx context.Context, jobs ...*worker.Job) ([]worker.Holder, error) {
	all := make([]*worker.Job, len(jobs))
	for i, job := range jobs {
		all[i] = q.job("Holders", job)
	}
	return q.MemoryQueue.Holders(ctx, all...)
}

func (q laxQueue) Replace(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
	return q.MemoryQueue.Replace(ctx, q.job("Replace", before), q.job("Replace", after))
}

func (q laxQueue) ReleaseUnique(ctx context.Context, queue, key string) (string, error) {
	return q.MemoryQueue.ReleaseUnique(ctx, q.name("ReleaseUnique", queue), key)
}

func (q laxQueue) Activity(ctx context.Context, queue string) (worker.Activity, error) {
	return q.MemoryQueue.Activity(ctx, q.name("Activity", queue))
}

func (q laxQueue) List(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
	return q.MemoryQueue.List(ctx, q.name("List", queue), opts)
}

func (q laxQueue) Find(ctx context.Context, queue, id string) (worker.JobInfo, error) {
	return q.MemoryQueue.Find(ctx, q.name("Find", queue), id)
}

func (q laxQueue) Edit(ctx context.Context, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
	return q.MemoryQueue.Edit(ctx, q.job("Edit", before), q.job("Edit", after), move)
}

func (q laxQueue) Forget(ctx context.Context, queue string, ids ...string) (int, error) {
	return q.MemoryQueue.Forget(ctx, q.name("Forget", queue), ids...)
}

func (q laxQueue) LastTick(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
	return q.MemoryQueue.LastTick(ctx, q.name("LastTick", queue), name, begin)
}

func (q laxQueue) EnqueueTick(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
	return q.MemoryQueue.EnqueueTick(ctx, name, tick, q.job("EnqueueTick", job))
}

func (q laxQueue) Stats(ctx context.Context, queue string) (worker.QueueStats, error) {
	return q.MemoryQueue.Stats(ctx, q.name("Stats", queue))
}

// laxAboutNames are as many broken backends as there are calls with a queue's name.
func laxAboutNames() (all []broken[worker.Queue]) {
	for _, call := range namedCalls {
		all = append(all, broken[worker.Queue]{
			what: "takes any name in " + call.name,
			open: func(c *config) worker.Queue { return laxQueue{soundQueue(c), call.name} },
		})
	}
	return all
}

// listsWhen makes a backend that answers with nothing, instead of an error, where forgives says so.
func listsWhen(what string, forgives func(worker.ListOptions) bool) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
			page, err := q.MemoryQueue.List(ctx, queue, opts)
			if err != nil && forgives(opts) {
				return worker.JobPage{}, nil
			}
			return page, err
		}
	})
}

// listsStrangeCursors makes one that forgives the cursors of a place.
func listsStrangeCursors(what string, place worker.Place) broken[worker.Queue] {
	return listsWhen("has no jobs after strange cursors, of "+what, func(opts worker.ListOptions) bool {
		return opts.Place == place
	})
}

var badAtRefuse = map[string][]broken[worker.Queue]{
	"names of queues": laxAboutNames(),
	"list nowhere": {
		listsWhen("has no jobs in no place", func(opts worker.ListOptions) bool { return opts.Place == worker.PlaceUnknown }),
		listsWhen("has no jobs in places to come", func(opts worker.ListOptions) bool { return opts.Place > worker.PlaceScheduled }),
		listsWhen("has no jobs in negative places", func(opts worker.ListOptions) bool { return opts.Place < 0 }),
	},
	"list from a strange cursor": {
		listsStrangeCursors("waiting ones", worker.PlaceWaiting),
		listsStrangeCursors("scheduled ones", worker.PlaceScheduled),
		listsStrangeCursors("held ones", worker.PlaceHeld),
		listsStrangeCursors("dead ones", worker.PlaceDead),
	},
	"crashes below zero": {
		faulty("takes a negative MaxCrashes for none", func(q *faultyQueue) {
			q.consume = func(queue string, opts *worker.ConsumeOptions) string {
				opts.MaxCrashes = max(opts.MaxCrashes, 0)
				return queue
			}
		}),
	},
	"reopen no job": {
		faulty("does not say that it refuses", func(q *faultyQueue) {
			q.reopen = func(ctx context.Context, job *worker.Job) error {
				if err := q.MemoryQueue.Reopen(ctx, job); err != nil {
					return errors.New(err.Error())
				}
				return nil
			}
		}),
		faulty("enqueues it all the same", func(q *faultyQueue) {
			q.reopen = func(ctx context.Context, job *worker.Job) error {
				err := q.MemoryQueue.Reopen(ctx, job)
				q.EnqueueRaw(job.Queue, job.ID, job.Payload)
				return err
			}
		}),
	},
	"release no key": {
		faulty("takes an empty key for a free one", func(q *faultyQueue) {
			q.release = func(ctx context.Context, queue, key string) (string, error) {
				if key == "" {
					return "", nil
				}
				return q.MemoryQueue.ReleaseUnique(ctx, queue, key)
			}
		}),
	},
	"schedule without a name": {
		faulty("remembers a schedule without a name", func(q *faultyQueue) {
			q.last = func(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
				return q.MemoryQueue.LastTick(ctx, queue, "lax"+name, begin)
			}
		}),
		faulty("enqueues ticks of a schedule without a name", func(q *faultyQueue) {
			q.tick = func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
				return q.MemoryQueue.EnqueueTick(ctx, "lax"+name, tick, job)
			}
		}),
		faulty("enqueues the job when it refuses the tick", func(q *faultyQueue) {
			q.tick = func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
				ok, err := q.MemoryQueue.EnqueueTick(ctx, name, tick, job)
				_ = q.Enqueue(ctx, job)
				return ok, err
			}
		}),
	},
}

// A cursor among one worker's jobs is none among another's.
func TestMemoryQueueKnowsWhoseCursorItIs(t *testing.T) {
	b, q := memoryBench(t)
	b.enqueue(b.jobs(2)...)
	b.consume().claim(2)
	opts := worker.ListOptions{Place: worker.PlaceHeld, Worker: "session1", Limit: 1}
	first, err := q.List(b.ctx, b.name, opts)
	require.NoError(t, err)
	require.NotEmpty(t, first.Next)
	opts.Cursor = first.Next
	second, err := q.List(b.ctx, b.name, opts)
	require.NoError(t, err)
	assert.Len(t, second.Jobs, 1)
	opts.Worker = "session2"
	_, err = q.List(b.ctx, b.name, opts)
	require.ErrorContains(t, err, "cursor")
}

// What a client goes through queues with tells of a bad name, too.
func TestMemoryQueueRefusesNamesInBulk(t *testing.T) {
	client, err := worker.NewClient(worker.Backend{Queue: NewQueue()})
	require.NoError(t, err)
	_, err = client.Purge(t.Context(), "a b", worker.PlaceDead, nil)
	require.ErrorContains(t, err, "contains")
	_, err = client.RequeueDead(t.Context(), "a b", nil)
	require.ErrorContains(t, err, "contains")
}
