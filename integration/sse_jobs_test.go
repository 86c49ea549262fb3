package integration

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gosse "github.com/tmaxmax/go-sse"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// glance is a job that is over before a page has opened its stream.
type glance struct{}

func (glance) JobType() string { return "test:glance" }

// poolWithNews runs a pool in memory that tells n.
func poolWithNews(t *testing.T, n news) (*worker.Client, *workertest.MemoryStatusStore) {
	t.Helper()
	store := workertest.NewStatusStore()
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, job *worker.Job, _ glance) error {
		job.Progress(0.5, "half")
		return job.SetResult("done")
	})
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{
			Queue: workertest.NewQueue(), StatusStore: store, Notifier: n.notifier, Logger: slog.New(slog.DiscardHandler),
		},
		Registry: registry,
	})
	require.NoError(t, err)
	require.NoError(t, pool.Start(context.Background()))
	t.Cleanup(func() { assert.NoError(t, pool.Stop(context.Background())) })
	return pool.Client(), store
}

// rowOf is a Snapshot of the topics "job:<id>".
func rowOf(store worker.Getter) func(context.Context, string) ([]worker.Status, error) {
	return func(ctx context.Context, topic string) ([]worker.Status, error) {
		st, err := store.Get(ctx, topic[len("job:"):])
		if err != nil {
			return nil, err
		}
		return []worker.Status{*st}, nil
	}
}

// Whoever enqueues first and opens the stream afterwards sees connected, running and the final state, every time.
func TestSSEEnqueueFirst(t *testing.T) {
	overNews(t, 0, func(t *testing.T, n news) {
		client, store := poolWithNews(t, n)
		server, _ := stand(t, n.subscriber, sse.Config{
			Snapshot: rowOf(store), EndAfterFinal: true,
			Connected: func([]string) sse.Message { return sse.Message{Event: "connected", Data: []byte("{}")} },
		})
		web := browserClient(t)
		for run := range 50 {
			job, err := client.Enqueue(t.Context(), glance{})
			require.NoError(t, err)
			var seen []string
			b := &browser{client: web, url: server.URL + "?topic=" + job.Topic}
			err = b.visit(patient(t), func(e gosse.Event) bool {
				seen = append(seen, e.Type)
				if e.Type == "status" {
					seen[len(seen)-1] = string(statusOf(t, e).State)
				}
				return true
			})
			require.NoError(t, err, run)
			require.Equal(t, "connected", seen[0], run)
			require.Contains(t, seen, "running", run)
			require.Equal(t, "succeeded", seen[len(seen)-1], run)
			require.ErrorIs(t, b.visit(patient(t), nil), errStopped, "the browser stops: %d", run)
		}
	})
}

// What a hostile host or job puts into a message, a parser that is not ours reads as it was.
func FuzzSSEMessage(f *testing.F) {
	for _, seed := range []string{"x", "a\rb\nc\r\nd", "\x00", "\xff", "data: x\n\nevent: y\n\n", "id: 7", "retry: 1", ":", " "} {
		f.Add(seed, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, event string, data []byte) {
		read := parseOne(t, sse.Message{Event: event, Data: data})
		want, mark := asArrived(data), "mark"
		require.GreaterOrEqual(t, len(read), 2)
		first, last := read[0], read[len(read)-1]
		require.Equal(t, want, first.Data)
		require.NotContains(t, first.Type, "\n")
		require.Equal(t, gosse.Event{LastEventID: last.LastEventID, Type: "mark", Data: mark}, last)
		require.Len(t, read, 2)
	})
}

// asArrived is data as it arrives.
func asArrived(data []byte) string {
	text := strings.ToValidUTF8(string(data), "\uFFFD")
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
}
