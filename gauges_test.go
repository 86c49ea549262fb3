package worker_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apimetric "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// statsQueue counts how often it is asked for stats.
type statsQueue struct {
	*workertest.MemoryQueue
	asked atomic.Int64
}

func (q *statsQueue) Stats(ctx context.Context, queue string) (worker.QueueStats, error) {
	q.asked.Add(1)
	return q.MemoryQueue.Stats(ctx, queue)
}

// Who collects nothing pays for no samples; who does finds one at the first collection, and none of a pool that has ended.
func TestGaugesAreSampledWhileSomebodyCollects(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		idle := &statsQueue{MemoryQueue: workertest.NewQueue()}
		r := newRig(t, nil, func(c *worker.Config) { c.Queue = idle }).start()
		r.after(time.Hour)
		r.stop()
		assert.Zero(t, idle.asked.Load())

		rec := record()
		watched := &statsQueue{MemoryQueue: workertest.NewQueue()}
		r = newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			return ctx.Err()
		}, rec.by, func(c *worker.Config) { c.Queue, c.Concurrency = watched, 2 }).start()
		for range 5 {
			r.enqueue(1)
		}
		r.enqueue(1, worker.After(time.Hour))
		r.after(20 * time.Second)
		require.EqualValues(t, 1, watched.asked.Load(), "at the start")
		rec.metrics(t)
		r.after(16 * time.Second)
		asked := watched.asked.Load()
		require.EqualValues(t, 3, asked, "at the first collection, and 15 s later")
		got := rec.metrics(t)
		depth := map[string]int64{}
		for _, p := range got["worker.queue.depth"].Data.(metricdata.Gauge[int64]).DataPoints {
			state, _ := p.Attributes.Value("worker.queue.state")
			depth[state.AsString()] = p.Value
		}
		assert.Equal(t, map[string]int64{"waiting": 3, "scheduled": 1, "running": 2, "dead": 0}, depth)
		assert.EqualValues(t, 2, got["worker.pool.active"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		assert.EqualValues(t, 2, got["worker.pool.slots"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		r.after(time.Hour)
		assert.LessOrEqual(t, watched.asked.Load(), asked+9, "nobody has collected for two minutes")
		assert.NotContains(t, rec.metrics(t), "worker.queue.depth", "an hour old")
		assert.Contains(t, rec.metrics(t), "worker.pool.slots", "that is always known")
		r.stop()
		assert.NotContains(t, rec.metrics(t), "worker.queue.depth")
		assert.NotContains(t, rec.metrics(t), "worker.pool.slots")
	})
}

func TestAPausedQueueSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, noop, rec.by).start()
		paused := func() int64 {
			rec.metrics(t)
			r.after(16 * time.Second)
			return rec.metrics(t)["worker.queue.paused"].Data.(metricdata.Gauge[int64]).DataPoints[0].Value
		}
		assert.Zero(t, paused())
		require.NoError(t, r.pool.Client().Pause(t.Context(), worker.DefaultQueue))
		assert.EqualValues(t, 1, paused())
		require.NoError(t, r.pool.Client().Resume(t.Context(), worker.DefaultQueue))
		assert.Zero(t, paused())
		r.stop()
	})
}

func TestARemovedQueueHasNoGauges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, nil, rec.by, serving(1, map[string]worker.QueueConfig{"a": {}, "b": {}})).start()
		queues := func() int {
			return len(rec.metrics(t)["worker.queue.workers"].Data.(metricdata.Gauge[int64]).DataPoints)
		}
		r.after(time.Second)
		assert.Equal(t, 2, queues())
		r.removeQueue("a")
		r.after(16 * time.Second)
		assert.Equal(t, 1, queues())
		r.stop()
	})
}

// Who collects seldom gets samples, too, once the pool has seen how seldom; and it is not asked for ever.
func TestGaugesAreThereForWhoCollectsSeldom(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		q := &statsQueue{MemoryQueue: workertest.NewQueue()}
		r := newRig(t, noop, rec.by, func(c *worker.Config) { c.Queue = q }).start()
		for n := range 10 {
			r.after(5 * time.Minute)
			_, told := rec.metrics(t)["worker.queue.depth"]
			assert.Equal(t, n >= 2, told, n)
		}
		r.after(11 * time.Minute)
		asked := q.asked.Load()
		r.after(3 * time.Hour)
		assert.Equal(t, asked, q.asked.Load())
		for range 2 { // who comes after hours is waited for one hour
			rec.metrics(t)
			r.quiet()
			asked = q.asked.Load()
			r.after(3 * time.Hour)
			assert.LessOrEqual(t, q.asked.Load(), asked+241)
		}
		r.stop()
	})
}

// A host may ask the pool anything while its metrics are collected, also while the pool starts or stops: what the SDK makes
// wait for the collection must not hold what the host asks for.
func TestACollectionMayAskThePool(t *testing.T) {
	rec := record()
	r := newRig(t, nil, rec.by)
	claimed, collecting := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.queue.Fault = func(_ context.Context, call string) error {
		if call == "Claim" {
			once.Do(func() { close(claimed) })
		}
		return nil
	}
	meter := r.cfg.MeterProvider.Meter("host")
	gauge, err := meter.Int64ObservableGauge("host.ready")
	require.NoError(t, err)
	host, err := meter.RegisterCallback(func(ctx context.Context, _ apimetric.Observer) error {
		close(collecting)
		<-claimed // the pool is about to register its gauges
		r.pool.Health(ctx)
		return nil
	}, gauge)
	require.NoError(t, err)
	collected := make(chan error)
	go func() { collected <- rec.reader.Collect(context.Background(), new(metricdata.ResourceMetrics)) }()
	<-collecting
	r.start()
	require.NoError(t, <-collected)
	require.NoError(t, host.Unregister())

	hold, collecting2 := make(chan struct{}), make(chan struct{})
	host, err = meter.RegisterCallback(func(context.Context, apimetric.Observer) error {
		close(collecting2)
		<-hold
		return nil
	}, gauge)
	require.NoError(t, err)
	go func() { collected <- rec.reader.Collect(context.Background(), new(metricdata.ResourceMetrics)) }()
	<-collecting2
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.NoError(t, r.pool.Stop(ctx), "it doesn't wait for the host's callback")
	close(hold)
	require.NoError(t, <-collected)
	require.NoError(t, host.Unregister())
}

// Pools of one process, on one SDK: what each has of its own adds up, what all of them see doesn't.
func TestPoolsOfAProcessAddUp(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		block := func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			return ctx.Err()
		}
		one := newRig(t, block, rec.by)
		two := newRig(t, block, func(c *worker.Config) { *c = one.cfg })
		one.enqueue(1)
		one.start()
		two.start()
		one.after(time.Second)
		rec.metrics(t)
		one.after(time.Second)
		got := rec.metrics(t)
		assert.EqualValues(t, 8, got["worker.pool.slots"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		assert.EqualValues(t, 1, got["worker.pool.active"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		workers := got["worker.queue.workers"].Data.(metricdata.Gauge[int64]).DataPoints
		require.Len(t, workers, 1)
		assert.EqualValues(t, 2, workers[0].Value)
		one.stop()
		got = rec.metrics(t)
		assert.EqualValues(t, 4, got["worker.pool.slots"].Data.(metricdata.Sum[int64]).DataPoints[0].Value)
		two.stop()
	})
}
