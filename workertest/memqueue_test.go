package workertest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// What MemoryQueue promises beyond the contract.

func memoryBench(t *testing.T) (*queueBench, *MemoryQueue) {
	t.Helper()
	c := newConfig(nil)
	q := soundQueue(&c)
	return newQueueBench(t, c, q), q
}

// crashed enqueues n jobs that took down so many workers, up to three.
func crashed(b *queueBench, n, crashes int) []*worker.Job {
	b.Helper()
	jobs := b.enqueue(b.jobs(n)...)
	for range crashes {
		c := b.sturdy()
		c.claim(n)
		c.kill()
		b.pass(b.takeover)
	}
	return jobs
}

// sturdy opens a session for jobs that may take down four workers.
func (b *queueBench) sturdy() *consumer {
	b.Helper()
	return b.consumeWith(b.name, worker.ConsumeOptions{MaxCrashes: 4})
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func (c *consumer) session() *session { return c.Consumer.(*session) }

func TestMemoryQueueHandsOutSuspectsOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := memoryBench(t)
		suspects := crashed(b, 2, 2)
		fresh := b.enqueue(b.jobs(2)...)
		first, second := b.sturdy(), b.sturdy()
		got := first.within(10, 0)
		assert.Len(t, got, 3, "one suspect, and what is innocent")
		b.sameOrder(got, []*worker.Job{suspects[0], fresh[0], fresh[1]})
		first.none("it holds a suspect, and nothing else waits")
		b.sameOrder(second.claim(1), suspects[1:])
		second.settle(worker.ActionRetry, got[0]) // not its own: ignored
		first.settle(worker.ActionComplete, got...)
		second.none("nothing is left")
	})
}

func TestMemoryQueueLastChanceIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := memoryBench(t)
		poison := crashed(b, 1, 3)
		c := b.sturdy()
		innocent := b.enqueue(b.job())
		got := c.within(10, 0)
		assert.Len(t, got, 1)
		b.sameOrder(got, poison)
		c.none("it holds a job with its last crash to spend")

		waiting := c.claimAside(b.ctx, worker.ClaimOptions{Limit: 1, Wait: time.Minute})
		synctest.Wait()
		c.settle(worker.ActionComplete, got...)
		next := <-waiting
		require.NoError(t, next.err)
		b.sameOrder(next.jobs, innocent)
	})
}

func TestMemoryQueueRevokesAllInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, q := memoryBench(t)
		const many = 200 // more than the channel takes
		jobs := b.enqueue(b.jobs(many)...)
		c := b.consume()
		c.claim(many)
		for _, job := range jobs {
			b.mark(job.ID, worker.PlaceHeld)
		}
		heard := make(map[string]bool)
		start := time.Now()
		for range many {
			heard[(<-c.session().Revoked()).ID] = true
		}
		assert.LessOrEqual(t, time.Since(start), time.Second)
		assert.Len(t, heard, many)
		assert.Equal(t, many, q.Count(b.name, worker.PlaceHeld))
	})
}

func TestMemoryQueueShowsWhatItHolds(t *testing.T) {
	b, q := memoryBench(t)
	jobs := b.enqueue(b.jobs(3)...)
	c := b.consume()
	held := c.claim(2)
	c.settle(worker.ActionBury, held[0])
	c.settle(worker.ActionBury, held[0])
	for i, want := range []worker.Place{worker.PlaceDead, worker.PlaceHeld, worker.PlaceWaiting} {
		assert.Equal(t, want, q.Place(b.name, jobs[i].ID))
		assert.Equal(t, 1, q.Count(b.name, want))
	}
	assert.Equal(t, worker.PlaceUnknown, q.Place(b.name, "nobody"))
	assert.Equal(t, 1, q.Ignored())
	assert.Equal(t, []worker.Consumer{c.Consumer}, q.Consumers(b.name))
	b.ok(c.Close(b.ctx), "close")
	assert.Empty(t, q.Consumers(b.name))
}

func TestMemoryQueueFaults(t *testing.T) {
	b, q := memoryBench(t)
	c := b.consume()
	down := errors.New("down")
	var calls []string
	q.Fault = func(_ context.Context, call string) error {
		calls = append(calls, call)
		return fmt.Errorf("%s: %w", call, down)
	}
	job := b.job()
	require.ErrorIs(t, q.Enqueue(b.ctx, job), down)
	_, err := q.Consume(b.ctx, b.name, worker.ConsumeOptions{})
	require.ErrorIs(t, err, down)
	_, err = c.Claim(b.ctx, worker.ClaimOptions{Limit: 1})
	require.ErrorIs(t, err, down)
	require.ErrorIs(t, c.Settle(b.ctx), down)
	require.ErrorIs(t, c.keeper().Checkpoint(b.ctx, job, nil), down)
	_, err = q.MarkCanceled(b.ctx, b.name, job.ID)
	require.ErrorIs(t, err, down)
	_, err = q.RemoveCanceled(b.ctx, b.name, job.ID)
	require.ErrorIs(t, err, down)
	_, _, err = q.DrawToken(b.ctx, b.name, job.ID)
	require.ErrorIs(t, err, down)
	require.ErrorIs(t, q.Reopen(b.ctx, job), down)
	require.NoError(t, c.Close(b.ctx))
	assert.Equal(t, []string{"Enqueue", "Consume", "Claim", "Settle", "Checkpoint", "MarkCanceled", "RemoveCanceled",
		"DrawToken", "Reopen"}, calls)
	assert.Equal(t, worker.PlaceUnknown, q.Place(b.name, job.ID))
}

func TestMemoryQueueRefuses(t *testing.T) {
	b, q := memoryBench(t)
	bad := b.job()
	bad.Payload = []byte("{")
	err := q.Enqueue(b.ctx, bad)
	var failed *worker.EnqueueError
	require.ErrorAs(t, err, &failed)
	require.ErrorIs(t, failed.Failed[bad.ID], worker.ErrRefused)
	require.ErrorIs(t, q.Reopen(b.ctx, bad), worker.ErrRefused)
	_, err = q.Consume(b.ctx, "no queue", worker.ConsumeOptions{})
	require.Error(t, err)
	c := b.consume()
	require.Error(t, c.Settle(b.ctx, worker.Verdict{Job: b.job()}))
	require.Error(t, c.Settle(b.ctx, worker.Verdict{Action: worker.ActionComplete}))
	assert.PanicsWithValue(t, "workertest: crash: <nil> is not a session of a MemoryQueue", func() { q.Crash(nil) })
}

func TestMemoryStatusStoreHistory(t *testing.T) {
	s := NewStatusStore()
	rows := []worker.Status{status("a", worker.StateQueued, 0), status("a", worker.StateRunning, 1)}
	for _, row := range append(rows, rows[1], rows[0]) {
		must(s.Save(t.Context(), row))
	}
	assert.Equal(t, rows, s.History("a"))
	assert.Equal(t, []worker.State{worker.StateQueued, worker.StateRunning}, s.States("a"))
	assert.Empty(t, s.History("b"))
	s.Fault = func(context.Context, []worker.Status) error { return errors.New("down") }
	_, err := s.Save(t.Context(), rows...)
	require.EqualError(t, err, "down")
}

func TestRecorderRemembers(t *testing.T) {
	r := NewNotifier()
	newer, older, other := status("a", worker.StateRunning, 2), status("a", worker.StateQueued, 0), status("b", worker.StateQueued, 0)
	require.NoError(t, r.Notify(t.Context(), newer, other))
	require.NoError(t, r.Notify(t.Context(), older))
	assert.Equal(t, []worker.Status{newer, other, older}, r.Statuses())
	assert.Equal(t, []worker.Status{newer, older}, r.Of("a"), "what was told too late is remembered, too")
	r.Publish(newer.Topic, []byte("hello"))

	ctx, cancel := context.WithCancel(t.Context())
	events := must(r.Subscribe(ctx, newer.Topic, ""))
	assert.Equal(t, newer.Version, (<-events).Status.Version)
	assert.Equal(t, worker.Event{Position: "2", Plain: []byte("hello")}, <-events)
	assert.Equal(t, worker.Event{Position: "2", CaughtUp: true}, <-events)
	cancel()
	_, open := <-events
	assert.False(t, open)
	events = must(r.Subscribe(t.Context(), newer.Topic, "99"))
	assert.Equal(t, worker.Event{Reset: true}, <-events)
	r.Fault = func(context.Context, []worker.Status) error { return errors.New("down") }
	require.EqualError(t, r.Notify(t.Context(), newer), "down")
}
