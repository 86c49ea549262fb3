package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// rig is a pool on backends in memory, inside a bubble of fake time.
type rig struct {
	t     *testing.T
	queue *workertest.MemoryQueue
	store *workertest.MemoryStatusStore
	told  *workertest.Recorder
	cfg   worker.Config
	pool  *worker.Pool
}

// ping is the payload of most tests.
type ping struct {
	N int `json:"n"`
}

func (ping) JobType() string { return "ping" }

var errFlaky = errors.New("flaky")

// inBubble runs a test with fake time; whatever the pool started must have ended when it returns.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// newRig makes a pool with one handler for ping. change may alter its configuration.
func newRig(t *testing.T, h worker.HandlerFunc[ping], change ...func(*worker.Config)) *rig {
	t.Helper()
	r := &rig{t: t, queue: workertest.NewQueue(), store: workertest.NewStatusStore(), told: workertest.NewNotifier()}
	reg := worker.NewRegistry()
	if h != nil {
		worker.Handle(reg, h)
	}
	r.cfg = worker.Config{
		Backend: worker.Backend{Queue: r.queue, StatusStore: r.store, Notifier: r.told,
			Logger: slog.New(slog.DiscardHandler)},
		Registry: reg, Concurrency: 4,
	}
	for _, c := range change {
		c(&r.cfg)
	}
	var err error
	r.pool, err = worker.NewPool(r.cfg)
	require.NoError(t, err)
	return r
}

func (r *rig) start() *rig {
	r.t.Helper()
	require.NoError(r.t, r.pool.Start(r.t.Context()))
	return r
}

func (r *rig) stop() {
	r.t.Helper()
	require.NoError(r.t, r.pool.Stop(context.Background()))
}

func (r *rig) enqueue(n int, opts ...worker.JobOption) *worker.Job {
	r.t.Helper()
	job, err := r.pool.Client().Enqueue(r.t.Context(), ping{n}, opts...)
	require.NoError(r.t, err)
	return job
}

// save puts a status into the store, past everything else.
func (r *rig) save(st worker.Status) {
	r.t.Helper()
	saved, err := r.store.Save(context.Background(), st)
	require.NoError(r.t, err)
	require.True(r.t, saved[0].OK)
}

// quiet waits until nothing moves any more without time passing.
func (r *rig) quiet() { synctest.Wait() }

// after lets time pass.
func (r *rig) after(d time.Duration) {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
}

func (r *rig) last(id string) *worker.Status {
	r.t.Helper()
	st, err := r.store.Get(context.Background(), id)
	require.NoError(r.t, err)
	return st
}

func (r *rig) states(id string) []worker.State { return r.store.States(id) }

// toldStates are the states that the notifier heard of.
func (r *rig) toldStates(id string) (states []worker.State) {
	for _, st := range r.told.Of(id) {
		states = append(states, st.State)
	}
	return states
}

func withoutStore(c *worker.Config) { c.StatusStore = nil }

// nilProvider is a telemetry provider that only a nil pointer of is used.
type nilProvider struct{ trace.TracerProvider }
