package s3store

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/workertest"
)

// finals runs the jobs in a pool and returns the last status of each.
func finals(t *testing.T, store *Store, jobs ...*worker.Job) map[string]worker.Status {
	t.Helper()
	handler, err := stage.NewHandler(stage.Config{Source: store, Sink: store,
		Model: stage.ModelFunc(func(_ context.Context, req stage.Request) (stage.Picture, error) {
			return stage.Picture{Data: photo(30), Model: "square/1"}, nil
		})})
	require.NoError(t, err)
	registry := worker.NewRegistry()
	handler.Register(registry)
	over := make(chan worker.Status, len(jobs))
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{Queue: workertest.NewQueue(), Notifier: worker.NotifierFunc(
			func(_ context.Context, statuses ...worker.Status) error {
				for _, s := range statuses {
					if s.State.Final() {
						over <- s
					}
				}
				return nil
			})},
		Registry: registry,
		Retry:    worker.RetryPolicy{MaxAttempts: 3, Base: time.Millisecond, Max: time.Millisecond},
	})
	require.NoError(t, err)
	require.NoError(t, pool.Client().EnqueueMany(t.Context(), jobs...))
	require.NoError(t, pool.Start(t.Context()))
	last := map[string]worker.Status{}
	for range jobs {
		s := <-over
		last[s.JobID] = s
	}
	require.NoError(t, pool.Stop(t.Context()))
	return last
}

// Jobs from a producer to the picture in the bucket, on a server that has bad moments.
func TestJobsInAPool(t *testing.T) {
	server := newServer(t)
	server.upload(t, "rooms/7.png", photo(40))
	server.upload(t, "page.png", []byte("<html>"))
	store := server.store(t, nil)
	job := func(id, url string) *worker.Job {
		job, err := worker.NewJob(stage.Payload{ImageID: imageID, OriginalURL: url}, worker.WithID(id))
		require.NoError(t, err)
		return job
	}

	server.fail(http.MethodGet, saying(503, "SlowDown"))
	server.fail(http.MethodPut, func(w http.ResponseWriter, r *http.Request) {
		server.s3.ServeHTTP(&deaf{}, r)
		dropped(w, r)
	})
	last := finals(t, store, job("good", "s3://photos/rooms/7.png"))
	good := last["good"]
	require.Equal(t, worker.StateSucceeded, good.State, good.Error)
	assert.Equal(t, 3, good.Attempt, "one met a busy server, one heard nothing of its put")
	var result stage.Result
	require.NoError(t, json.Unmarshal(good.Result, &result))
	assert.Equal(t, string(photo(30)), read(t, store, result.StagedURL))
	assert.Len(t, server.keys(t), 3, "the two attempts left one picture")

	last = finals(t, store, job("missing", "s3://photos/8.png"), job("page", server.URL+"/photos/page.png"),
		job("outside", "https://example.com/8.png"), job("dots", "s3://photos/../8.png"))
	for id, problem := range map[string]string{
		"missing": "original not found", "page": "it looks like text/html", "outside": "refused", "dots": "refused",
	} {
		assert.Equal(t, worker.StateFailed, last[id].State, id)
		assert.Equal(t, 1, last[id].Attempt, id)
		assert.Contains(t, last[id].Error, problem, id)
	}
}
