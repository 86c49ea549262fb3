package workertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// watch sees what sessions of a MemoryQueue claim and settle, and what the handlers say meanwhile. On a nil watch all of
// this is nothing.
type watch struct {
	mu      sync.Mutex
	open    map[int64]*Result // by the claim's token
	results []*Result         // of settled claims, in the order of their settlement
	problem error             // why the test is to fail
	changed chan struct{}     // closed and replaced when a claim has ended
}

func newWatch() *watch {
	return &watch{open: make(map[int64]*Result), changed: make(chan struct{})}
}

// around returns a registry whose handlers are watched, below all its middleware.
func (w *watch) around(r *worker.Registry) *worker.Registry {
	if r == nil {
		return nil // NewPool says what is wrong with it
	}
	watched := *r
	watched.Use(func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, job *worker.Job) error {
			token := job.Token
			w.note(token, func(r *Result) { r.Ran = true })
			job.OnProgress(func(fraction float64, message string) {
				w.note(token, func(r *Result) { r.Progress = append(r.Progress, Progress{fraction, message}) })
			})
			return next(ctx, job)
		}
	})
	return &watched
}

// note changes the result of a claim that hasn't ended.
func (w *watch) note(token int64, change func(*Result)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.open[token]; r != nil {
		change(r)
	}
}

func (w *watch) claimed(job *worker.Job) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[job.Token] = &Result{Job: job}
}

func (w *watch) checkpointed(job *worker.Job, data []byte) {
	if w == nil {
		return
	}
	w.note(job.Token, func(r *Result) { r.Checkpoints = append(r.Checkpoints, slices.Clone(data)) })
}

func (w *watch) settled(v worker.Verdict) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.open[v.Job.Token]
	delete(w.open, v.Job.Token)
	switch {
	case r == nil:
	case errors.Is(v.Cause, worker.ErrUnknownType) && v.Action == worker.ActionSnooze:
		w.problem = fmt.Errorf("the registry has no handler for %q", v.Job.Type)
	case v.Action == worker.ActionRelease && !r.Ran: // it waited for a slot in vain
	default:
		r.State, r.Delay, r.Err = stateAfter(v.Action), v.Delay, v.Cause
		w.results = append(w.results, r)
	}
	w.signalLocked()
}

// signal says that claims have ended, maybe without a verdict.
func (w *watch) signal() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signalLocked()
}

func (w *watch) signalLocked() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// seen is what a watch has seen so far.
type seen struct {
	results []*Result
	problem error
	changed <-chan struct{} // closed when there is more to see
}

func (w *watch) look() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return seen{slices.Clip(w.results), w.problem, w.changed}
}

// watched is a pool on a MemoryQueue, and what is seen of it.
type watched struct {
	*watch
	pool *worker.Pool
}

// startWatched starts a pool. It does not sweep: what is to run is in the queue.
func startWatched(t T, q *MemoryQueue, cfg worker.Config) *watched {
	t.Helper()
	w := newWatch()
	cfg.Registry, cfg.SweepInterval = w.around(cfg.Registry), -1
	pool, err := worker.NewPool(cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	q.watchSessions(w)
	if err := pool.Start(t.Context()); err != nil {
		q.watchSessions(nil)
		t.Fatalf("%v", err)
	}
	return &watched{watch: w, pool: pool}
}

// stop ends the pool. Handlers that ignore their context live on; they are in the results.
func (w *watched) stop(q *MemoryQueue) error {
	defer q.watchSessions(nil)
	return w.pool.Stop(context.Background())
}

func (q *MemoryQueue) watchSessions(w *watch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.watch = w
}
