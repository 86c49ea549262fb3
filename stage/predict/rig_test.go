package predict

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/workertest"
)

const (
	token  = "r8_never_to_be_seen"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

func picture(width int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, width, 3))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// rig is a fake API, and pools of one slot whose model asks it. All of it lives in a bubble of synctest.
type rig struct {
	t     *testing.T
	api   *predicttest.API
	cfg   Config
	queue *workertest.MemoryQueue
	put   []stage.Staged

	drain      time.Duration // of the pools
	timeout    time.Duration // of the jobs
	concurrent int           // slots
	attempts   int           // of the jobs; zero: the default
	wrap       func(worker.Queue) worker.Queue
	source     func() error // asked before an original is opened; nil: nothing

	log syncBuffer

	mu       sync.Mutex
	statuses []worker.Status
	final    map[string]chan worker.Status
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newRig(t *testing.T) *rig {
	r := &rig{
		t: t, api: &predicttest.API{Token: token, Takes: 20 * time.Second, Picture: picture(8)},
		queue: workertest.NewQueue(), drain: time.Second, concurrent: 1, final: make(map[string]chan worker.Status),
	}
	r.cfg = Config{BaseURL: "https://api.test", Token: token, Version: "owner/model:v1",
		Transport: predicttest.Serve(t, r.api), PricePerSecond: 0.002, PricePerPrediction: 0.01}
	t.Cleanup(func() { // whatever was tested
		all, err := json.Marshal(r.statuses)
		require.NoError(t, err)
		for _, text := range []string{string(all), r.log.String()} {
			assert.NotContains(t, text, token)
			assert.NotContains(t, text, "sig=")
			assert.NotContains(t, text, strings.TrimPrefix(secret, "whsec_"))
		}
	})
	return r
}

func (r *rig) model() *Model {
	r.t.Helper()
	model, err := New(r.cfg)
	require.NoError(r.t, err)
	r.t.Cleanup(model.CloseIdleConnections)
	return model
}

// pool starts a pool, which the test's end stops.
func (r *rig) pool() *worker.Pool {
	r.t.Helper()
	handler, err := stage.NewHandler(stage.Config{
		Model: r.model(),
		Source: stage.SourceFunc(func(context.Context, string) (stage.Original, error) {
			if r.source != nil {
				if err := r.source(); err != nil {
					return stage.Original{}, err
				}
			}
			return stage.Original{Body: io.NopCloser(bytes.NewReader(picture(4)))}, nil
		}),
		Sink: stage.SinkFunc(func(_ context.Context, staged stage.Staged) (string, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.put = append(r.put, staged)
			return "https://cdn.test/" + staged.JobID, nil
		}),
	})
	require.NoError(r.t, err)
	registry := worker.NewRegistry()
	if r.attempts == 0 {
		r.attempts = worker.DefaultRetry.MaxAttempts
	}
	handler.Register(registry, worker.MaxAttempts(r.attempts))
	var queue worker.Queue = r.queue
	if r.wrap != nil {
		queue = r.wrap(queue)
	}
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{Queue: queue, Notifier: worker.NotifierFunc(r.hear),
			Logger: slog.New(slog.NewJSONHandler(&r.log, nil))},
		Registry: registry, Concurrency: r.concurrent, DrainTimeout: r.drain, JobTimeout: r.timeout,
	})
	require.NoError(r.t, err)
	require.NoError(r.t, pool.Start(context.Background()))
	r.t.Cleanup(func() { _ = pool.Stop(context.Background()) })
	return pool
}

func (r *rig) hear(_ context.Context, statuses ...worker.Status) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range statuses {
		r.statuses = append(r.statuses, st)
		if st.State.Final() {
			r.endLocked(st.JobID) <- st
		}
	}
	return nil
}

func (r *rig) endLocked(id string) chan worker.Status {
	if r.final[id] == nil {
		r.final[id] = make(chan worker.Status, 10)
	}
	return r.final[id]
}

// enqueue enqueues a job.
func (r *rig) enqueue(pool *worker.Pool, id string) {
	r.t.Helper()
	payload := stage.Payload{ImageID: uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"),
		OriginalURL: "https://photos.test/7.png", RoomType: "living_room", Style: "modern"}
	_, err := pool.Client().Enqueue(context.Background(), payload, worker.WithID(id))
	require.NoError(r.t, err)
}

// await returns the job's final status.
func (r *rig) await(id string) worker.Status {
	r.t.Helper()
	r.mu.Lock()
	end := r.endLocked(id)
	r.mu.Unlock()
	select {
	case st := <-end:
		return st
	case <-time.After(48 * time.Hour):
		require.FailNow(r.t, "the job does not end", "%s", r.log.String())
		return worker.Status{}
	}
}

// run runs one job in a pool and returns its final status.
func (r *rig) run() worker.Status {
	r.t.Helper()
	pool := r.pool()
	r.enqueue(pool, "job")
	return r.await("job")
}

// states returns the states that were announced of a job, without repetitions.
func (r *rig) states(id string) (states []worker.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range r.statuses {
		if st.JobID == id && (len(states) == 0 || states[len(states)-1] != st.State) {
			states = append(states, st.State)
		}
	}
	return states
}

func resultOf(t *testing.T, st worker.Status) stage.Result {
	t.Helper()
	require.Equal(t, worker.StateSucceeded, st.State, st.Error)
	var result stage.Result
	require.NoError(t, json.Unmarshal(st.Result, &result))
	return result
}

// inBubble runs a test in the bubble's time.
func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t)) })
}
