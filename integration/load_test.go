package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// load is a producer that keeps a queue busy for as long as the faults last.
type load struct {
	rig   *rig
	ahead int
	do    func(i int) task

	over    chan struct{}
	done    sync.WaitGroup
	jobs    []*worker.Job // accepted, or perhaps so
	unknown map[string]bool
}

// load begins to enqueue jobs that do what do says, and goes on until stop, so that about ahead of them are unsettled.
func (r *rig) load(ahead int, do func(i int) task) *load {
	l := &load{rig: r, ahead: ahead, do: do, over: make(chan struct{}), unknown: make(map[string]bool)}
	l.done.Go(l.produce)
	r.t.Cleanup(l.end)
	return l
}

func (l *load) produce() {
	for i := 0; !l.ended(); {
		n, err := l.rig.unsettled()
		if err != nil || n >= l.ahead {
			time.Sleep(5 * time.Millisecond) // a pace, not a hope
			continue
		}
		for range min(l.ahead-n, 50) {
			if !l.enqueue(l.rig.job(fmt.Sprintf("load-%06d", i), l.do(i))) {
				return
			}
			i++
		}
	}
}

// enqueue enqueues one job. It reports false when that is in vain.
func (l *load) enqueue(job *worker.Job) bool {
	known, err := l.rig.insist(job)
	if err != nil {
		l.rig.t.Errorf("enqueue %s: %v", job.ID, err)
		return false
	}
	l.jobs = append(l.jobs, job)
	l.unknown[job.ID] = !known
	return true
}

// insist enqueues a job until the queue has it: by its id it is enqueued once, and with a status store it may have been
// accepted, and run, in the meantime. Without one, a job whose enqueue has an unknown outcome is not enqueued again, as
// it may be over already: known is false.
func (r *rig) insist(job *worker.Job) (known bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := r.producer.EnqueueMany(ctx, job)
		switch {
		case err == nil || errors.As(err, new(*worker.FinishedError)):
			return true, nil
		case ctx.Err() != nil:
			return false, err
		case !r.checker.stored && !errors.Is(err, worker.ErrRefused):
			return false, nil
		}
		time.Sleep(20 * time.Millisecond) // a pace
	}
}

func (l *load) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return l.rig.t.Failed()
	}
}

func (l *load) end() {
	if !l.ended() {
		close(l.over)
	}
	l.done.Wait()
}

// stop ends the load. From then on its jobs are accepted.
func (l *load) stop() {
	l.end()
	l.rig.accept(l.jobs...)
	for id, unknown := range l.unknown {
		if unknown {
			l.rig.checker.forgive(id)
		}
	}
}

// feed enqueues jobs one after the other from a goroutine. The rig must keep a status store.
func (r *rig) feed(jobs []*worker.Job) *sync.WaitGroup {
	r.accept(jobs...)
	var feeding sync.WaitGroup
	feeding.Go(func() {
		for _, job := range jobs {
			if _, err := r.insist(job); err != nil {
				r.t.Errorf("enqueue %s: %v", job.ID, err)
				return
			}
		}
	})
	r.t.Cleanup(feeding.Wait)
	return &feeding
}

// awaitFinished waits until the handlers have returned n times.
func (r *rig) awaitFinished(n int) {
	r.t.Helper()
	r.await("handlers to finish", func() bool { return r.finished() >= n })
}

// awaitMore waits until handlers have returned n times from now on.
func (r *rig) awaitMore(n int) {
	r.t.Helper()
	r.awaitFinished(r.finished() + n)
}

func (r *rig) finished() int {
	return r.fleet.hist.count(func(e event) bool { return e.Op == opFinish })
}
