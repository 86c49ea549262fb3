package simulation

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// A job that kills its process takes down as many as it may, by default, and is then failed with its payload kept. The
// long-running jobs that die with it all succeed.
func TestPoisonAmongNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &plan{lease: 10 * time.Second, sweep: 10 * time.Second, pools: []int{16, 16}})
		w.poison = "poison"
		host := newProcess(w, setupSlot, 1)
		host.produce()
		enqueue := func(o *order) {
			w.plan.orders = append(w.plan.orders, o)
			job := o.job()
			require.NoError(t, host.client().EnqueueMany(context.Background(), job))
			w.scribe.Write(history.Event{Proc: host.name, Op: history.OpEnqueue, Job: job.ID, Result: history.ResultOK,
				Sum: history.Sum(job.Payload)})
		}
		for i := range 15 {
			enqueue(&order{id: fmt.Sprintf("neighbour-%d", i), kind: slow, takes: time.Minute})
		}
		enqueue(&order{id: w.poison, kind: poisonous, takes: 5 * time.Second})
		w.spawn(workerSlot(0))
		time.Sleep(3 * time.Second) // it holds all of them by now
		w.tasks.Go(func() { w.supervise(2) })
		w.drain()
		w.mu.Lock()
		w.over = true
		w.mu.Unlock()
		w.stopAll()
		require.NoError(t, host.stop())
		w.end()

		require.Empty(t, w.judge())
		assert.Equal(t, 3, w.deaths, "workers that it took down")
		row := w.rowOf(w.poison)
		assert.Equal(t, worker.StateFailed, row.State)
		assert.Equal(t, 3, row.Crashes)
		assert.Contains(t, row.Error, "worker lost")
		assert.Contains(t, w.redisLeft.Keys["jobs"], w.poison, "its payload is kept")
		assert.Contains(t, w.redisLeft.Keys["dead"], w.poison)
	})
}
