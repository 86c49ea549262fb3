package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// workload is what a scenario does with a rig. It fills rig.out.
type workload func(ctx context.Context, r *rig) error

// enqueueing times enqueueing alone, by so many goroutines, one job a call.
func enqueueing(goroutines int) workload {
	return func(ctx context.Context, r *rig) error { return r.timeEnqueue(ctx, goroutines, 0) }
}

// enqueueingBulk times bulk calls from one goroutine, or the best that a system without them has.
func enqueueingBulk(ctx context.Context, r *rig) error {
	if r.batch() == 0 {
		return r.timeEnqueue(ctx, producers, 0)
	}
	return r.timeEnqueue(ctx, 1, r.batch())
}

func (r *rig) timeEnqueue(ctx context.Context, goroutines, batch int) error {
	from, err := r.meter.begin(ctx)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, r.jobs, goroutines, batch); err != nil {
		return err
	}
	to, err := r.meter.end(ctx)
	if err != nil {
		return err
	}
	r.meter.perJob(r.out, from, to, r.jobs)
	r.meter.perWaiting(r.out, from, to, r.jobs)
	return nil
}

// countdown tells when so many jobs were handled.
type countdown struct {
	left atomic.Int64
	zero chan struct{} // closed then
}

func newCountdown(n int) *countdown {
	c := &countdown{zero: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *countdown) done() {
	if c.left.Add(-1) == 0 {
		close(c.zero)
	}
}

func (c *countdown) wait(ctx context.Context) error {
	select {
	case <-c.zero:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d jobs were never handled: %w", c.left.Load(), context.Cause(ctx))
	}
}

// draining times workers that start on a full queue, each handler taking so long, until it is empty.
func draining(concurrency int, handler time.Duration) workload {
	return func(ctx context.Context, r *rig) error {
		if err := r.fill(ctx, r.jobs); err != nil {
			return err
		}
		left := newCountdown(r.jobs)
		from, err := r.meter.begin(ctx)
		if err != nil {
			return err
		}
		if err := r.start(ctx, concurrency, slowed(handler, left)); err != nil {
			return err
		}
		return r.finish(ctx, from, left)
	}
}

// slowed is a handler that takes d.
func slowed(d time.Duration, left *countdown) func(staging) {
	return func(staging) {
		if d > 0 {
			time.Sleep(d)
		}
		left.done()
	}
}

// finish waits for the last job, ends the timed part when the system's kind says, stops it, and checks that each job
// was handled once and that none is left.
func (r *rig) finish(ctx context.Context, from reading, left *countdown) error {
	if err := left.wait(ctx); err != nil {
		return err
	}
	to, err := r.endAround(ctx, func() error { return r.stop(ctx) })
	if err != nil {
		return err
	}
	if n := left.left.Load(); n != 0 {
		return fmt.Errorf("%d jobs were handled twice", -n)
	}
	r.meter.perJob(r.out, from, to, r.jobs)
	return r.settled(ctx)
}

// endAround stops the workers and ends the timed part: after that for a system that is timed to settlement, before it for
// others.
func (r *rig) endAround(ctx context.Context, stop func() error) (reading, error) {
	if r.kind.toSettlement {
		if err := stop(); err != nil {
			return reading{}, err
		}
		return r.meter.end(ctx)
	}
	to, err := r.meter.end(ctx)
	return to, errors.Join(err, stop())
}

// storming times idle workers that producers wake: all enqueue at once, one job a call, until the last one is handled.
func storming(concurrency int) workload {
	return func(ctx context.Context, r *rig) error {
		left := newCountdown(r.jobs)
		if err := r.start(ctx, concurrency, slowed(0, left)); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond) // until they are idle
		from, err := r.meter.begin(ctx)
		if err != nil {
			return err
		}
		if err := r.produce(ctx, r.jobs, producers, 0); err != nil {
			return err
		}
		return r.finish(ctx, from, left)
	}
}

// backlogged times workers on a queue in which so many jobs wait all the time: for each batch that was handled another
// one is enqueued, so that short and long backlogs are the same work.
func backlogged(concurrency, waiting int) workload {
	return func(ctx context.Context, r *rig) error {
		if err := r.fill(ctx, waiting); err != nil {
			return err
		}
		f, left := newFeeder(r, waiting), newCountdown(r.jobs)
		from, err := r.meter.begin(ctx)
		if err != nil {
			return err
		}
		fed := make(chan error, 1)
		go func() { fed <- f.run(ctx) }()
		if err := r.start(ctx, concurrency, func(staging) { f.handled(); left.done() }); err != nil {
			return err
		}
		if err := left.wait(ctx); err != nil {
			return err
		}
		close(f.stop)
		to, err := r.endAround(ctx, func() error { return errors.Join(<-fed, r.stop(ctx)) })
		if err != nil {
			return err
		}
		if r.kind.toSettlement { // jobs went on until the workers had stopped
			r.measured = r.jobs - int(left.left.Load())
		}
		r.meter.perJob(r.out, from, to, max(r.measured, r.jobs))
		return nil
	}
}

// feeder enqueues a batch for each batch that is handled.
type feeder struct {
	rig    *rig
	batch  int // 0: one by one
	next   atomic.Int64
	count  atomic.Int64
	wanted chan struct{} // one entry for each batch to enqueue
	stop   chan struct{} // closed when no more are needed
}

func newFeeder(r *rig, from int) *feeder {
	f := &feeder{rig: r, batch: min(r.batch(), 100), wanted: make(chan struct{}, 1<<20), stop: make(chan struct{})}
	f.next.Store(int64(from))
	return f
}

func (f *feeder) handled() {
	if f.count.Add(1)%int64(max(f.batch, 1)) == 0 {
		select {
		case f.wanted <- struct{}{}:
		default: // far behind: enough are asked for
		}
	}
}

func (f *feeder) run(ctx context.Context) error {
	goroutines := producers
	if f.batch > 0 {
		goroutines = 4
	}
	return each(goroutines, func() error {
		for {
			select {
			case <-f.stop:
				return nil
			case <-f.wanted:
			}
			n := max(f.batch, 1)
			if err := f.rig.enqueue(ctx, int(f.next.Add(int64(n)))-n, n, f.batch > 0); err != nil {
				return err
			}
		}
	})
}

// pickingUp times, rig.jobs times, a job from its enqueue to the start of its handler by idle workers. They have been idle
// for 3 ms, and for a random part of their poll interval when they poll, lest all samples meet the same phase of it.
func pickingUp(concurrency int) workload {
	return func(ctx context.Context, r *rig) error {
		started := make(chan time.Time, 1)
		if err := r.start(ctx, concurrency, func(staging) { started <- time.Now() }); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		took := make([]float64, r.jobs) // ms
		for i := range took {
			time.Sleep(3*time.Millisecond + rand.N(r.kind.poll+1))
			began := time.Now()
			if err := r.enqueue(ctx, i, 1, false); err != nil {
				return err
			}
			select {
			case at := <-started:
				took[i] = float64(at.Sub(began).Microseconds()) / 1e3
			case <-ctx.Done():
				return fmt.Errorf("a job was never handled: %w", context.Cause(ctx))
			}
		}
		slices.Sort(took)
		r.out[results.PickupP50] = took[len(took)/2]
		if len(took) >= 100 { // of fewer it would be the greatest
			r.out[results.PickupP99] = took[len(took)*99/100]
		}
		return r.stop(ctx)
	}
}

// idling counts for rig.jobs seconds what idle workers cost.
func idling(concurrency int) workload {
	return func(ctx context.Context, r *rig) error {
		if err := r.start(ctx, concurrency, func(staging) {}); err != nil {
			return err
		}
		time.Sleep(2 * time.Second) // until they are idle, and have said so
		from, err := r.meter.begin(ctx)
		if err != nil {
			return err
		}
		sent, err := r.idle(ctx, time.Duration(r.jobs)*time.Second)
		if err != nil {
			return err
		}
		to, err := r.meter.end(ctx)
		if err != nil {
			return err
		}
		r.meter.perSecond(r.out, from, to, sent)
		return r.stop(ctx)
	}
}

// idle lets d pass and returns how many commands reached Redis meanwhile.
func (r *rig) idle(ctx context.Context, d time.Duration) (sent int, err error) {
	if r.meter.redis == nil {
		time.Sleep(d)
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	seen, err := watch(ctx, r.at.Redis, func(string) {})
	for _, n := range seen {
		sent += n
	}
	return sent, err
}
