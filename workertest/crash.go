package workertest

import (
	"context"
	"errors"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// CrashPoint is when a worker dies whose handler has done its work.
type CrashPoint int

const (
	// BeforeSave is before the outcome is in the status store: nobody knows that the handler has returned, and the job
	// runs again, as one claim more. This is what a handler must be idempotent for.
	BeforeSave CrashPoint = iota + 1
	// BeforeSettle is after the outcome is in the status store and before the queue is told. A job that is over is not
	// run again; one that is to be retried or was put off is claimed again at once, as the queue knows no delay.
	BeforeSettle
)

var errDied = errors.New("the worker has died")

// RunThroughCrash runs a job as Run does, lets the worker die at a point after its handler returned, and lets another
// worker take the job over. It returns what became of the job there: Job.Crashes counts the death, no attempt is counted,
// and Ran tells whether the handler was called once more. Whether the work was done twice is for the test to see, where
// the handler leaves its traces.
//
// The dead worker's lease is over at once, so this takes no longer than its handlers do.
func RunThroughCrash(
	t T, r *worker.Registry, at CrashPoint, payload worker.Payload, opts ...worker.JobOption,
) *Result {
	t.Helper()
	if at != BeforeSave && at != BeforeSettle {
		t.Fatalf("run through crash: there is no crash point %d", at)
	}
	re := rehearse(t, r, payload, opts)
	d := &death{at: at, dying: make(chan struct{}), dead: make(chan struct{})}
	re.queue.Fault, re.store.Fault = d.call, d.save
	d.kill(t, re, startWatched(t, re.queue, re.config()))
	d.past()
	return re.result(t, startWatched(t, re.queue, re.config()))
}

// death keeps a worker from getting past a point. Then it fails all that the worker does.
type death struct {
	at    CrashPoint
	once  sync.Once
	dying chan struct{} // closed when the worker has come to the point
	dead  chan struct{} // closed when its lease is over

	mu   sync.Mutex
	over bool // whoever calls now is another worker
}

// kill waits until the worker has come to the point, ends its lease and clears it away.
func (d *death) kill(t T, re *rehearsal, pool *watched) {
	t.Helper()
	for alive := true; alive; {
		now := pool.look()
		if now.problem != nil {
			_ = pool.stop(re.queue)
			t.Fatalf("run %s: %v", re.job.Type, now.problem)
		}
		select {
		case <-d.dying:
			alive = false
		case <-now.changed:
		}
	}
	for _, c := range re.queue.Consumers(re.job.Queue) {
		re.queue.Crash(c)
	}
	close(d.dead)
	re.queue.Clock.Advance(re.queue.lease())
	_ = pool.stop(re.queue) // it complains of what a dead worker can't do
}

// call is the queue's Fault.
func (d *death) call(ctx context.Context, call string) error {
	return d.fault(ctx, d.at == BeforeSettle && call == "Settle")
}

// save is the store's Fault. What a worker saves is either that a job runs or its outcome.
func (d *death) save(ctx context.Context, statuses []worker.Status) error {
	return d.fault(ctx, d.at == BeforeSave && statuses[0].State != worker.StateRunning)
}

func (d *death) fault(ctx context.Context, here bool) error {
	switch {
	case d.isOver():
		return nil
	case here:
		d.once.Do(func() { close(d.dying) })
		select {
		case <-d.dead:
		case <-ctx.Done():
		}
		return errDied
	}
	select {
	case <-d.dead:
		return errDied
	default:
		return nil
	}
}

func (d *death) isOver() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

func (d *death) past() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
}
