package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// producers is how many goroutines enqueue at once where many do.
const producers = 64

// spec says what a process is to measure.
type spec struct {
	Scenario string    `json:"scenario"`
	System   string    `json:"system"`
	Jobs     int       `json:"jobs"`
	At       endpoints `json:"at"`
}

// rig is a system set up for one measurement.
type rig struct {
	kind     kind
	scenario scenario
	jobs     int
	at       endpoints
	systems  []system // one for each pool; the first one enqueues
	meter    meter
	out      map[string]float64 // the metrics, as they become known
	measured int                // jobs that the timed part took; 0: as many as rig.jobs
}

// measure does one measurement in this process. The stores are empty.
func measure(ctx context.Context, s spec) (m results.Measurement, err error) {
	r, err := newRig(ctx, s)
	if err != nil {
		return m, fmt.Errorf("set up: %w", err)
	}
	defer r.close(ctx)
	if err := r.scenario.run(ctx, r); err != nil {
		return m, err
	}
	if r.measured == 0 {
		r.measured = r.jobs
	}
	return results.Measurement{Scenario: s.Scenario, System: s.System, Jobs: r.measured, Metrics: r.out}, nil
}

func newRig(ctx context.Context, s spec) (*rig, error) {
	k, err := kindOf(s.System)
	if err != nil {
		return nil, err
	}
	sc, err := scenarioOf(s.Scenario)
	if err != nil {
		return nil, err
	}
	r := &rig{kind: k, scenario: sc, jobs: s.Jobs, at: s.At, out: make(map[string]float64)}
	for range max(sc.pools, 1) {
		sys, err := k.open(ctx, s.At)
		if err != nil {
			r.close(ctx)
			return nil, err
		}
		r.systems = append(r.systems, sys)
	}
	if err := r.attach(ctx); err != nil {
		r.close(ctx)
		return nil, err
	}
	return r, nil
}

// attach makes the gauges of the servers that the system uses.
func (r *rig) attach(ctx context.Context) (err error) {
	if r.kind.on&onRedis != 0 {
		if r.meter.redis, err = newRedisGauge(r.at.Redis, r.kind.sends); err != nil {
			return err
		}
	}
	if r.kind.on&onPostgres != 0 {
		r.meter.postgres, err = newPostgresGauge(ctx, r.at.Postgres)
	}
	return err
}

func (r *rig) close(ctx context.Context) {
	for _, sys := range r.systems {
		sys.Close()
	}
	if r.meter.redis != nil {
		r.meter.redis.client.Close()
	}
	if r.meter.postgres != nil {
		_ = r.meter.postgres.conn.Close(ctx)
	}
}

// start starts the workers of all pools.
func (r *rig) start(ctx context.Context, concurrency int, handle func(staging)) error {
	for _, sys := range r.systems {
		if err := sys.Start(ctx, concurrency, handle); err != nil {
			return fmt.Errorf("start: %w", err)
		}
	}
	return nil
}

// stop stops the workers of all pools at once.
func (r *rig) stop(ctx context.Context) error {
	errs := make([]error, len(r.systems))
	var wg sync.WaitGroup
	for i, sys := range r.systems {
		wg.Go(func() { errs[i] = sys.Stop(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}

// settled returns an error if jobs are left of a queue that can tell.
func (r *rig) settled(ctx context.Context) error {
	if s, ok := r.systems[0].(settler); ok {
		return s.Settled(ctx)
	}
	return nil
}

// fill enqueues n jobs in the fastest way there is, and brings the stores to rest.
func (r *rig) fill(ctx context.Context, n int) error {
	var err error
	if batch := r.batch(); batch > 0 {
		err = r.produce(ctx, n, 4, batch)
	} else {
		err = r.produce(ctx, n, producers, 0)
	}
	if err == nil && r.meter.postgres != nil {
		err = r.meter.postgres.settle(ctx)
	}
	return err
}

// batch is how many jobs a bulk call takes: what the system is given, or fewer when payloads are large. 0: it has none.
func (r *rig) batch() int {
	const most = 2 << 20 // bytes
	return min(r.kind.bulk, most/(256+r.scenario.extra))
}

// produce enqueues n jobs from some goroutines: batch jobs a call, or each by a call of its own if batch is 0.
func (r *rig) produce(ctx context.Context, n, goroutines, batch int) error {
	var next atomic.Int64
	step := max(batch, 1)
	return each(goroutines, func() error {
		for {
			first := int(next.Add(int64(step))) - step
			if first >= n {
				return nil
			}
			if err := r.enqueue(ctx, first, min(step, n-first), batch > 0); err != nil {
				return err
			}
		}
	})
}

// enqueue enqueues the jobs from number first on, in one call.
func (r *rig) enqueue(ctx context.Context, first, n int, bulk bool) error {
	sys := r.systems[0]
	if !bulk {
		if err := sys.Enqueue(ctx, payload(first, r.scenario.extra)); err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
		return nil
	}
	ps := make([]staging, n)
	for i := range ps {
		ps[i] = payload(first+i, r.scenario.extra)
	}
	if err := sys.EnqueueMany(ctx, ps); err != nil {
		return fmt.Errorf("enqueue %d jobs: %w", n, err)
	}
	return nil
}

// each runs do in n goroutines and returns their errors when all have returned.
func each(n int, do func() error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
