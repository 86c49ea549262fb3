package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// Whatever a seed makes go wrong, no invariant is broken.
func TestSimulation(t *testing.T) {
	first, last := uint64(1), *seeds
	if *oneSeed >= 0 {
		first, last = uint64(*oneSeed), uint64(*oneSeed)
	}
	t.Logf("seeds %d to %d, %d jobs each", first, last, *jobs)
	var all tally
	t.Cleanup(func() { // the seeds run beside each other, after this function
		ran := last - first + 1
		if ran >= defaultSeeds {
			all.complete(t)
		}
		all.heard.judge(t, ran)
		all.met.judge(t, ran)
		all.done.judge(t, ran)
		all.report(t)
	})
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, newPlan(seed, *jobs), &all) })
			if t.Failed() {
				t.Logf("again: go test ./internal/simulation -run TestSimulation -seed %d -jobs %d", seed, *jobs)
			}
		})
	}
}

// simulate runs a plan from its first job until the pools have stopped, judges, and adds its figures to those of all.
func simulate(t *testing.T, p *plan, all *tally) {
	w := newWorld(t, p)
	w.run()
	wrong := w.judge()
	w.mu.Lock()
	struck := w.struck
	w.mu.Unlock()
	all.add(w.figures, p.faults, struck)
	all.heard.add(w.events.Events())
	all.met.add(w)
	all.done.add(w)
	for _, how := range wrong {
		t.Error(how)
	}
	if len(wrong) > 0 {
		w.explain(strings.Join(wrong, "\n"))
	}
}

// explain logs the plan's faults, and the history of every job that something went wrong with.
func (w *world) explain(wrong string) {
	for _, f := range w.plan.faults {
		w.t.Logf("fault %v", f)
	}
	for _, e := range w.events.Events() {
		if e.Job == "" || strings.Contains(wrong, e.Job) {
			line, _ := json.Marshal(e)
			w.t.Logf("%v: %s", time.Unix(0, e.At).Sub(w.began), line)
		}
	}
}

const (
	maxDrain  = 10 * time.Minute // until all has drained after the last fault
	drainLook = 5 * time.Second
)

func (w *world) run() {
	watching, endWatch := context.WithCancel(context.Background())
	for i := range w.plan.pools {
		w.spawn(workerSlot(i))
	}
	for i := range producers {
		w.spawn(producerSlot(i))
		w.tasks.Go(func() { w.produce(producerSlot(i)) })
	}
	for _, b := range w.plan.bulks {
		w.tasks.Go(func() { w.bulk(b) })
	}
	for i, id := range w.plan.viewed {
		w.tasks.Go(func() { w.watch(watching, fmt.Sprintf("v%d", i+1), id) })
	}
	w.strikes()
	time.Sleep(10 * time.Second)
	w.drain()
	w.mu.Lock()
	w.drained = true
	w.mu.Unlock()
	w.stopAll()
	endWatch()
	w.end()
}

// drain waits until nothing waits or runs any more.
func (w *world) drain() {
	w.mu.Lock()
	w.calm = true
	offset := w.offsets
	w.mu.Unlock()
	w.lasting.Wait()
	if offset > 0 { // what was scheduled while Redis's clock was ahead would wait as long
		w.setClock(offset)
	}
	w.tell(nil, "calm")
	var waiting []string
	for start, quiet, ahead := time.Now(), 0, false; time.Since(start) < maxDrain; time.Sleep(drainLook) {
		if waiting = w.unfinished(); len(waiting) > 0 {
			quiet = 0
			if !ahead && time.Since(start) > time.Minute && w.areOver(waiting) {
				w.setClock(offset + never)
				ahead = true
			}
		} else if quiet++; quiet == 4 { // long enough for a sweep
			return
		}
	}
	w.blame("after %v still unfinished: %s", maxDrain, strings.Join(waiting, " "))
}

// areOver reports whether jobs have ended by their rows: they were enqueued again by a call that was late, perhaps to wait for
// long, and their next claim will find that out.
func (w *world) areOver(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return !w.stateOf(id).Final() })
}

// unfinished returns the ids of jobs that are not at rest, by Redis and by the store.
func (w *world) unfinished() []string {
	ids := append(busy(w.left()), w.unfinishedTicks()...)
	for _, o := range w.plan.orders {
		if row := w.rowOf(o.id); row != nil && !row.State.Final() {
			ids = append(ids, o.id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (w *world) left() (left history.Redis) {
	w.direct(func(ctx context.Context, c *inspector) {
		var err error
		if left, err = c.read(ctx); err != nil {
			w.blame("inspect: %v", err)
		}
	})
	return left
}

// stopAll stops the pools as a deploy would.
func (w *world) stopAll() {
	for _, p := range w.processes() {
		if err := p.stop(); err != nil {
			w.blame("%s: %v", p.name, err)
		}
	}
}

// end waits for all goroutines, and closes Redis.
func (w *world) end() {
	w.tasks.Wait()
	w.remains.Wait()
	w.redisLeft = w.left()
	if w.turns == nil { // else a worker that died may have had no heir
		w.leaks()
	}
	w.redis.mini.Close()
}

// endOf returns the state that a job has to end in, empty when there are several.
func (w *world) endOf(o *order) worker.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	if (o.kind == reopened || o.kind == revived) && !w.memoryOf(o.id).opened { // it ran though its producer had given up
		return worker.StateFailed
	}
	return ends[o.kind]
}

// judge returns all that is wrong.
func (w *world) judge() []string {
	checker := &history.Checker{
		Events: w.events.Events(), Redis: w.redisLeft, Rows: make(map[string]history.Row),
		Ends: make(map[string]worker.State), MaxCrashes: w.plan.maxCrashes, Swept: true,
		Timing: history.Timing{Lease: w.plan.lease, Tolerance: time.Second, Busy: true},
	}
	if !w.plan.oneByOne {
		checker.Timing.Slack = time.Minute // whoever takes over may be in trouble, too
	}
	if w.turns != nil {
		checker.Timing = history.Timing{} // who waits for a turn is late
	}
	wrong := w.wrong
	for _, o := range w.plan.orders {
		row := w.rowOf(o.id)
		if row == nil {
			continue
		}
		checker.Rows[o.id] = history.Row{State: row.State, Token: row.Token()}
		if row.Job != nil {
			checker.Rows[o.id] = history.Row{State: row.State, Token: row.Token(), Sum: history.Sum(row.Job.Payload)}
		}
		if end := w.endOf(o); row.Token() > 0 && end != "" {
			checker.Ends[o.id] = end
		}
	}
	wrong = append(wrong, w.judgeTicks(checker)...)
	wrong = append(wrong, w.overwritten()...)
	verdict := checker.Check()
	w.figures = verdict.Figures
	for _, v := range verdict.Violations {
		wrong = append(wrong, v.String())
	}
	return wrong
}
