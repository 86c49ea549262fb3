package worker

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	sampleInterval = 15 * time.Second // between two looks at the queues while somebody collects
	sampleLife     = 4 * sampleInterval
	sampleTimeout  = 3 * time.Second

	// How long after a collection there may be another one: twice the last pause between two, within these bounds.
	minCollectorLife = 2 * time.Minute
	maxCollectorLife = time.Hour
)

// gauges tell how full the pool and its queues are. A collection reads the last sample of the queues, which the pool
// takes anew while somebody collects: who installs no SDK pays nothing.
type gauges struct {
	pool    *Pool
	sampler Sampler // nil if the queue isn't one
	asked   chan struct{}

	mu        sync.Mutex
	stop      metric.Registration // nil if there is none
	over      bool                // end was called
	collected time.Time
	life      time.Duration     // after which nobody seems to collect any more
	samples   map[string]sample // by queue
}

type sample struct {
	stats QueueStats
	at    time.Time
}

func newGauges(p *Pool) *gauges {
	g := &gauges{pool: p, asked: make(chan struct{}, 1), life: minCollectorLife, samples: make(map[string]sample)}
	g.sampler, _ = p.cfg.Queue.(Sampler)
	return g
}

// begin registers them, until end. A pool runs without those that its meter refuses. The meter may let either wait for
// a collection that is under way, and with it for callbacks of the host's: neither is called with a lock held.
func (g *gauges) begin() {
	stop, err := g.register(g.pool.tel.meter)
	if err != nil {
		g.pool.log.Warn("the meter refuses the pool's gauges", "error", err)
		return
	}
	g.mu.Lock()
	g.stop = stop
	over := g.over
	g.mu.Unlock()
	if over { // the pool was stopped meanwhile
		g.end()
	}
}

// end unregisters them.
func (g *gauges) end() {
	g.mu.Lock()
	stop := g.stop
	g.stop, g.over = nil, true
	g.mu.Unlock()
	if stop == nil {
		return
	}
	if err := stop.Unregister(); err != nil {
		g.pool.log.Warn("the meter does not let go of the pool's gauges", "error", err)
	}
}

func (g *gauges) register(m metric.Meter) (metric.Registration, error) {
	active, err1 := m.Int64ObservableUpDownCounter(metricActive, metric.WithUnit("{job}"),
		metric.WithDescription("Handlers that run."))
	slots, err2 := m.Int64ObservableUpDownCounter(metricSlots, metric.WithUnit("{job}"),
		metric.WithDescription("Handlers that may run at once."))
	depth, err3 := m.Int64ObservableGauge(metricDepth, metric.WithUnit("{job}"),
		metric.WithDescription("Jobs in the queue, by state. The same from every pool: aggregate by max."))
	age, err4 := m.Float64ObservableGauge(metricOldestAge, metric.WithUnit("s"),
		metric.WithDescription("For how long the job that is next in line could have run. Aggregate by max."))
	workers, err5 := m.Int64ObservableGauge(metricWorkers, metric.WithUnit("{worker}"),
		metric.WithDescription("Sessions that are open on the queue. Aggregate by max."))
	paused, err6 := m.Int64ObservableGauge(metricPaused, metric.WithUnit("{queue}"),
		metric.WithDescription("1 while the queue is paused, else 0. Aggregate by max."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	return m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(active, int64(g.pool.slots.inUse()))
		o.ObserveInt64(slots, int64(g.pool.cfg.Concurrency))
		for _, s := range g.collect() {
			queue := attribute.String(attrDestination, s.Queue)
			for state, n := range map[string]int64{
				"waiting": s.Waiting, "scheduled": s.Scheduled, "running": s.Running, "dead": s.Dead,
			} {
				o.ObserveInt64(depth, n, metric.WithAttributes(queue, attribute.String(attrQueueState, state)))
			}
			o.ObserveFloat64(age, s.OldestAge.Seconds(), metric.WithAttributes(queue))
			o.ObserveInt64(workers, int64(s.Workers), metric.WithAttributes(queue))
			o.ObserveInt64(paused, oneIf(s.Paused), metric.WithAttributes(queue))
		}
		return nil
	}, active, slots, depth, age, workers, paused)
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// collect returns the samples that are not too old to tell, and sees that they are taken anew.
func (g *gauges) collect() (fresh []QueueStats) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	pause := now.Sub(g.collected)
	if pause > g.life {
		select {
		case g.asked <- struct{}{}:
		default:
		}
	}
	if !g.collected.IsZero() {
		g.life = min(max(2*pause, minCollectorLife), maxCollectorLife)
	}
	g.collected = now
	for _, s := range g.samples {
		if now.Sub(s.at) <= sampleLife {
			fresh = append(fresh, s.stats)
		}
	}
	return fresh
}

// run takes samples until the pool stops claiming: at its start when there is an SDK, so that the first collection finds
// some, and then for as long as there are collections.
func (g *gauges) run() {
	if g.sampler == nil {
		return
	}
	ctx := g.pool.claimCtx
	if g.pool.tel.finished.Enabled(ctx) {
		g.take(ctx)
	}
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.asked:
		case <-ticker.C:
			if !g.watched() {
				continue
			}
		}
		g.take(ctx)
	}
}

// watched reports whether somebody collects.
func (g *gauges) watched() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Since(g.collected) <= g.life
}

// take samples each queue. One that cannot be asked keeps its last sample until that is too old, one that was removed
// has none.
func (g *gauges) take(ctx context.Context) {
	feeds := g.pool.served()
	g.mu.Lock()
	maps.DeleteFunc(g.samples, func(queue string, _ sample) bool { return findFeed(feeds, queue) == nil })
	g.mu.Unlock()
	for _, f := range feeds {
		stats, err := g.ask(ctx, f.queue)
		if err != nil {
			continue // claims fail, too, and say so
		}
		stats.Queue = f.queue
		g.mu.Lock()
		g.samples[f.queue] = sample{stats, time.Now()}
		g.mu.Unlock()
	}
}

func (g *gauges) ask(ctx context.Context, queue string) (stats QueueStats, err error) {
	defer catch(&err)
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	return g.sampler.Stats(ctx, queue)
}
