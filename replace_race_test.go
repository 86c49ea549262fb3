package worker_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// overtaken is a queue on which others do something before the first Enqueue, and after each one.
type overtaken struct {
	*workertest.MemoryQueue
	before, after func()
	calls         int
}

func (q *overtaken) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	if q.calls++; q.calls == 1 {
		q.before()
	}
	err := q.MemoryQueue.Enqueue(ctx, jobs...)
	q.after()
	return err
}

// A job that replaces finds the key free, is kept out by one that takes it then, and tries again. What is enqueued by
// another try is no duplicate, and is enqueued once: without a store a job that has run meanwhile would run again.
func TestAJobThatIsEnqueuedAtLastIsNoDuplicate(t *testing.T) {
	for name, change := range map[string]func(*worker.Config){"with a store": func(*worker.Config) {}, "without": withoutStore} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				q := &overtaken{MemoryQueue: workertest.NewQueue()}
				r := newRig(t, noop, func(c *worker.Config) { c.Queue = q }, change)
				c, err := q.Consume(t.Context(), worker.DefaultQueue, worker.ConsumeOptions{})
				require.NoError(t, err)
				defer c.Close(t.Context())
				claim := func() []*worker.Job {
					jobs, err := c.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
					require.NoError(t, err)
					return jobs
				}
				q.before = func() {
					first, err := worker.NewJob(ping{1}, one(untilStarted))
					require.NoError(t, err)
					require.NoError(t, q.MemoryQueue.Enqueue(t.Context(), first))
				}
				ran := 0
				q.after = func() {
					for _, job := range claim() {
						if string(job.Payload) == `{"n":2}` { // the first one gives up its key for it
							require.NoError(t, c.Settle(t.Context(), worker.Verdict{Job: job, Action: worker.ActionComplete}))
							ran++
						}
					}
				}
				job, err := r.pool.Client().Enqueue(t.Context(), ping{2}, one(replacing, untilStarted))
				require.NoError(t, err)
				assert.Equal(t, 2, q.calls)
				assert.Equal(t, 1, ran)
				assert.Equal(t, worker.PlaceUnknown, q.Place(worker.DefaultQueue, job.ID), "it is over")
			})
		})
	}
}
