package workertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// TestQueue checks a worker.Queue against its contract. open is called for each promise and may use t.Cleanup; the
// queues that it returns may share a server, as each promise is checked with queue names and job ids of its own. Of the
// optional powers those are checked that the queue and its consumers have.
//
// Rows that need a worker to die or a job that doesn't decode are skipped without WithCrash and WithRaw.
func TestQueue(t *testing.T, open func(t *testing.T) worker.Queue, opts ...Option) {
	c := newConfig(opts)
	runRows(t, c, queueRows(), func(t *testing.T) *queueBench { return newQueueBench(t, c, open(t)) })
}

// queueRows is the contract of a worker.Queue.
func queueRows() []row[*queueBench] {
	return slices.Concat(enqueueRows, claimRows, delayRows, settleRows, sessionRows,
		checkpointRows, cancelRows, requeueRows, knowRows, pauseRows, uniqueRows, replacingRows, freeingRows,
		inspectRows, editRows, tickRows, refuseRows,
		crashRows, telemetryRows)
}

// queueBench is what a queue's row works with.
type queueBench struct {
	bench
	queue worker.Queue
	name  string // of a queue that is this row's own
}

func newQueueBench(t tb, c config, q worker.Queue) *queueBench {
	return &queueBench{bench: newBench(t, c), queue: q, name: "workertest." + rand.Text()}
}

// note is the payload of the suites' jobs.
type note struct {
	N int `json:"n"`
}

func (note) JobType() string { return "workertest:note" }

// job makes a job for the row's queue.
func (b *queueBench) job(opts ...worker.JobOption) *worker.Job {
	b.Helper()
	job, err := worker.NewJob(note{}, append([]worker.JobOption{worker.OnQueue(b.name)}, opts...)...)
	b.ok(err, "new job")
	return job
}

func (b *queueBench) jobs(n int) []*worker.Job {
	b.Helper()
	jobs := make([]*worker.Job, n)
	for i := range jobs {
		jobs[i] = b.job()
	}
	return jobs
}

// enqueue enqueues jobs in one call and returns them.
func (b *queueBench) enqueue(jobs ...*worker.Job) []*worker.Job {
	b.Helper()
	b.ok(b.queue.Enqueue(b.ctx, jobs...), "enqueue")
	return jobs
}

// consumer is one worker's session.
type consumer struct {
	worker.Consumer
	b *queueBench
}

// consume opens a session on the row's queue; the row's end closes it.
func (b *queueBench) consume() *consumer {
	b.Helper()
	return b.consumeWith(b.name, worker.ConsumeOptions{})
}

func (b *queueBench) consumeWith(queue string, opts worker.ConsumeOptions) *consumer {
	b.Helper()
	c, err := b.queue.Consume(b.ctx, queue, opts)
	b.ok(err, "consume")
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), b.patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	return &consumer{Consumer: c, b: b}
}

// within claims up to limit jobs and waits up to d for the first.
func (c *consumer) within(limit int, d time.Duration) []*worker.Job {
	c.b.Helper()
	for start := c.b.now(); ; c.b.pass(min(d/20, 20*time.Millisecond)) {
		rest := d - c.b.now().Sub(start)
		wait := max(rest, 0)
		if c.b.advance != nil {
			wait = 0
		}
		jobs, err := c.Claim(c.b.ctx, worker.ClaimOptions{Limit: limit, Wait: wait})
		c.b.ok(err, "claim")
		if len(jobs) > 0 || rest <= 0 {
			return jobs
		}
	}
}

// claim claims exactly n jobs, in as many calls as it takes.
func (c *consumer) claim(n int) []*worker.Job {
	c.b.Helper()
	return c.claimWithin(n, c.b.patience)
}

func (c *consumer) claimWithin(n int, d time.Duration) []*worker.Job {
	c.b.Helper()
	var jobs []*worker.Job
	for len(jobs) < n {
		more := c.within(n-len(jobs), d)
		if len(more) == 0 {
			c.b.Fatalf("claimed %d jobs within %v, want %d", len(jobs), d, n)
		}
		jobs = append(jobs, more...)
	}
	if len(jobs) > n {
		c.b.Fatalf("claimed %d jobs, want %d", len(jobs), n)
	}
	return jobs
}

// one claims one job that is to run.
func (c *consumer) one() *worker.Job {
	c.b.Helper()
	job := c.claim(1)[0]
	if job.Reject != nil {
		c.b.Fatalf("job %s was rejected: %v", job.ID, job.Reject)
	}
	return job
}

// none fails the row if there is a job to claim.
func (c *consumer) none(why string) {
	c.b.Helper()
	jobs, err := c.Claim(c.b.ctx, worker.ClaimOptions{Limit: 10})
	c.b.ok(err, "claim")
	if len(jobs) > 0 {
		c.b.Fatalf("claimed %s: %s", names(jobs), why)
	}
}

// settle ends claims with one action.
func (c *consumer) settle(action worker.Action, jobs ...*worker.Job) {
	c.b.Helper()
	c.settleAfter(action, 0, jobs...)
}

func (c *consumer) settleAfter(action worker.Action, delay time.Duration, jobs ...*worker.Job) {
	c.b.Helper()
	c.b.ok(c.Settle(c.b.ctx, verdicts(action, delay, jobs...)...), "settle: "+action.String())
}

func verdicts(action worker.Action, delay time.Duration, jobs ...*worker.Job) []worker.Verdict {
	vs := make([]worker.Verdict, len(jobs))
	for i, job := range jobs {
		vs[i] = worker.Verdict{Job: job, Action: action, Delay: delay}
	}
	return vs
}

// stale is a claim as it was: enough of a job to settle it.
func stale(job *worker.Job) *worker.Job {
	return &worker.Job{ID: job.ID, Type: job.Type, Queue: job.Queue, Token: job.Token}
}

// sameOrder fails the row if got are not the wanted jobs in the wanted order.
func (b *queueBench) sameOrder(got, want []*worker.Job) {
	b.Helper()
	for i := range want {
		if i >= len(got) || got[i].ID != want[i].ID {
			b.Fatalf("claimed %s, want %s", names(got), names(want))
		}
	}
}

// names shortens job ids to what tells them apart in a message.
func names(jobs []*worker.Job) string {
	var short []string
	for i, job := range jobs {
		if i == 12 {
			short = append(short, fmt.Sprintf("and %d more", len(jobs)-i))
			break
		}
		short = append(short, job.ID[max(0, len(job.ID)-6):])
	}
	return "[" + strings.Join(short, " ") + "]"
}
