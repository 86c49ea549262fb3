//go:build unix

package integration

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gosse "github.com/tmaxmax/go-sse"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// redisNews makes a Notifier on a server whose logs hold logSize events, zero for as many as the package has it. A call
// of it may take as long as the tests wait for anything.
func redisNews(t testing.TB, server *redistest.Redis, logSize int) news {
	t.Helper()
	return redisNewsWithin(t, server, logSize, patience)
}

// redisNewsWithin is redisNews with calls that end by a timeout.
func redisNewsWithin(t testing.TB, server *redistest.Redis, logSize int, timeout time.Duration) news {
	t.Helper()
	client, err := endpoint{Addrs: []string{server.Addr()}}.connect()
	require.NoError(t, err)
	t.Cleanup(client.Close)
	n, err := redisnotify.New(client, redisnotify.Config{
		LogSize: logSize, Timeout: timeout, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return news{notifier: n, subscriber: n}
}

// The Redis that carries the news dies, or stands still, while viewers watch. Jobs go on as if nothing had happened,
// the viewers hear of their ends from the snapshots of the heartbeat, and when Redis is back new viewers hear all.
func TestNewsOutage(t *testing.T) {
	for _, outage := range []struct {
		name       string
		begin, end func(*redistest.Redis)
	}{
		{"dead", (*redistest.Redis).Kill, (*redistest.Redis).Restart},
		{"hanging", (*redistest.Redis).Pause, (*redistest.Redis).Resume},
	} {
		t.Run(outage.name, func(t *testing.T) {
			server := redistest.Server(t)
			n := redisNewsWithin(t, server, 0, time.Second)
			r := newNewsRig(t, n)
			const viewers = 5
			var jobs []*worker.Job
			finals := make(chan worker.State, viewers)
			for range viewers {
				job := r.enqueue()
				running := make(chan struct{})
				go func() { finals <- r.watch(job, running) }()
				receive(t, running, "a viewer to see its job running")
				jobs = append(jobs, job)
			}
			outage.begin(server)
			close(r.gate)
			for range 200 {
				jobs = append(jobs, r.enqueue())
			}
			for _, job := range jobs {
				until(t, "the end of "+job.ID, func() bool {
					st, err := r.store.Get(context.Background(), job.ID)
					return err == nil && st.State == worker.StateSucceeded
				})
			}
			for range viewers {
				require.Equal(t, worker.StateSucceeded, receive(t, finals, "the end of a stream"))
			}
			outage.end(server)
			until(t, "the news to be heard again", func() bool {
				_, err := n.subscriber.Subscribe(t.Context(), "probe", "")
				return err == nil
			})
			require.Equal(t, worker.StateSucceeded, r.watch(r.enqueue(), nil))
		})
	}
}

// newsRig is a pool in memory, but for its news, whose jobs end when the gate opens, and a page about them.
type newsRig struct {
	t      testing.TB
	store  *workertest.MemoryStatusStore
	client *worker.Client
	gate   chan struct{}
	url    string
}

// gated is a job that ends when the test says so.
type gated struct{}

func (gated) JobType() string { return "test:gated" }

func newNewsRig(t *testing.T, n news) *newsRig {
	t.Helper()
	r := &newsRig{t: t, store: workertest.NewStatusStore(), gate: make(chan struct{})}
	registry := worker.NewRegistry()
	worker.Handle(registry, func(ctx context.Context, _ *worker.Job, _ gated) error {
		select {
		case <-r.gate:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{
			Queue: workertest.NewQueue(), StatusStore: r.store, Notifier: n.notifier, Logger: slog.New(slog.DiscardHandler),
		},
		Registry: registry, Concurrency: 10,
	})
	require.NoError(t, err)
	require.NoError(t, pool.Start(context.Background()))
	t.Cleanup(func() { assert.NoError(t, pool.Stop(context.Background())) })
	r.client = pool.Client()
	server, _ := stand(t, n.subscriber, sse.Config{
		Snapshot: rowOf(r.store), EndAfterFinal: true, Heartbeat: 200 * time.Millisecond, Retry: 50 * time.Millisecond,
	})
	r.url = server.URL
	return r
}

func (r *newsRig) enqueue() *worker.Job {
	r.t.Helper()
	job, err := r.client.Enqueue(r.t.Context(), gated{})
	require.NoError(r.t, err)
	return job
}

// watch reads a job's stream to its end, as a browser that comes back whenever it is cut or turned away, and returns the
// last state. running is closed when the job was seen running.
func (r *newsRig) watch(job *worker.Job, running chan struct{}) (last worker.State) {
	b := &browser{client: browserClient(r.t), url: r.url + "?topic=" + job.Topic}
	ctx := patient(r.t)
	for ctx.Err() == nil && !last.Final() {
		_ = b.visit(ctx, func(e gosse.Event) bool { // 503 while the news are away
			if e.Type == "status" {
				last = statusOf(r.t, e).State
				if last == worker.StateRunning && running != nil {
					close(running)
					running = nil
				}
			}
			return !last.Final()
		})
		time.Sleep(streamsPoll)
	}
	return last
}

// receive waits for a value that must come.
func receive[V any](t testing.TB, from <-chan V, what string) (v V) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}
