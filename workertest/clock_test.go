package workertest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestClock(t *testing.T) {
	before := time.Now()
	clock := workertest.NewClock()
	start := clock.Now()
	assert.False(t, start.Before(before.Round(0)))

	var at []time.Time
	var by []time.Duration
	clock.OnMove(func(now time.Time, d time.Duration) { at, by = append(at, now), append(by, d) })
	clock.Advance(time.Hour)
	assert.Equal(t, start.Add(time.Hour), clock.Now())
	clock.Set(start.Add(3 * time.Hour))
	assert.Equal(t, []time.Time{start, start.Add(time.Hour), start.Add(3 * time.Hour)}, at)
	assert.Equal(t, []time.Duration{0, time.Hour, 2 * time.Hour}, by)

	assert.PanicsWithValue(t, "workertest: a clock moves forward only", func() { clock.Set(start) })
	assert.PanicsWithValue(t, "workertest: a clock moves forward only", func() { clock.Advance(-1) })
	assert.Equal(t, start.Add(3*time.Hour), clock.Now())
	clock.Advance(0)
}

func TestAZeroClockCanBeSet(t *testing.T) {
	clock, now := workertest.Clock{}, time.Now().Round(0)
	clock.Set(now)
	clock.Advance(time.Hour)
	assert.Equal(t, now.Add(time.Hour), clock.Now())
}

// A worker that waits is woken by the clock; package time need not pass.
func TestClockWakesAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := workertest.NewClock()
		queue := &workertest.MemoryQueue{Clock: clock}
		ran := make(chan int)
		pool, err := worker.NewPool(config(queue, greetings(func(_ context.Context, job *worker.Job, _ greeting) error {
			ran <- job.Attempt
			if job.Attempt == 1 {
				return worker.RetryAfter(time.Hour, errors.New("not yet"))
			}
			return nil
		})))
		require.NoError(t, err)
		require.NoError(t, pool.Start(t.Context()))
		job := enqueue(t, queue, "a", worker.After(24*time.Hour))
		start := time.Now()
		synctest.Wait()
		clock.Advance(24*time.Hour - 1)
		synctest.Wait()
		assert.Equal(t, worker.PlaceWaiting, queue.Place("default", job.ID))
		clock.Advance(1)
		assert.Equal(t, 1, <-ran)
		synctest.Wait()
		clock.Advance(time.Hour)
		assert.Equal(t, 2, <-ran)
		assert.Zero(t, time.Since(start))
		require.NoError(t, pool.Stop(context.Background()))
	})
}

// A lease runs out by the clock, and not without it.
func TestClockEndsLeases(t *testing.T) {
	clock := workertest.NewClock()
	queue := &workertest.MemoryQueue{Clock: clock, Lease: time.Minute}
	job, err := worker.NewJob(greeting{"Ada"})
	require.NoError(t, err)
	require.NoError(t, queue.Enqueue(t.Context(), job))
	first, closed := consume(t, queue), consume(t, queue)
	queue.Crash(closed)
	require.NoError(t, closed.Close(t.Context()))
	claimed, err := first.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(t, err)
	require.Len(t, claimed, 1)

	queue.Crash(first)
	clock.Advance(time.Minute - 1)
	assert.Equal(t, worker.PlaceHeld, queue.Place("default", job.ID))
	clock.Advance(time.Hour)
	<-first.Lost()
	select {
	case <-closed.Lost():
		assert.Fail(t, "a closed session has no lease to lose")
	default:
	}
	claimed, err = consume(t, queue).Claim(t.Context(), worker.ClaimOptions{Limit: 1})
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	assert.Equal(t, 1, claimed[0].Crashes)
}

func consume(t *testing.T, q worker.Queue) worker.Consumer {
	t.Helper()
	c, err := q.Consume(t.Context(), "default", worker.ConsumeOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close(context.Background())) })
	return c
}
