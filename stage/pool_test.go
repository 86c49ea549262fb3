package stage_test

import (
	"context"
	"encoding/json"
	"errors"
	"image/color"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/workertest"
)

// flaky fails the first time, and remembers the seeds that it was given.
type flaky struct {
	tint
	seeds []int64
}

func (m *flaky) Stage(ctx context.Context, req stage.Request) (stage.Picture, error) {
	if job, ok := worker.JobFromContext(ctx); !ok || job.Type != stage.JobType {
		return stage.Picture{}, worker.Permanent(errors.New("a model finds its job in the context"))
	}
	if m.seeds = append(m.seeds, req.Seed); len(m.seeds) == 1 {
		return stage.Picture{}, errors.New("connection reset")
	}
	return m.tint.Stage(ctx, req)
}

// finals collects the last status of every job.
func finals(t *testing.T, jobs []*worker.Job, handler *stage.Handler) map[string]worker.Status {
	t.Helper()
	registry := worker.NewRegistry()
	handler.Register(registry, worker.MaxAttempts(3))
	last := make(map[string]worker.Status)
	pool, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{Queue: workertest.NewQueue(), Notifier: worker.NotifierFunc(
			func(_ context.Context, statuses ...worker.Status) error {
				for _, s := range statuses {
					last[s.JobID] = s
				}
				return nil
			})},
		Registry:    registry,
		Concurrency: 1,
	})
	require.NoError(t, err)
	require.NoError(t, pool.Client().EnqueueMany(t.Context(), jobs...))
	require.NoError(t, pool.Start(t.Context()))
	time.Sleep(time.Minute) // of the bubble: all attempts are over
	require.NoError(t, pool.Stop(t.Context()))
	return last
}

// Jobs of all fates, from a producer's job to the status that its user sees.
func TestJobsInAPool(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "7.png"), photo(color.Black), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(root, "page.png"), []byte("<html>"), 0o600))
	files := stage.Files{Root: root, BaseURL: "https://cdn.example.com"}
	model := &flaky{}
	handler, err := stage.NewHandler(stage.Config{Source: files, Model: model, Sink: files})
	require.NoError(t, err)
	job := func(id, url, style string) *worker.Job {
		job, err := worker.NewJob(stage.Payload{ImageID: uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"),
			OriginalURL: url, Style: style}, worker.WithID(id))
		require.NoError(t, err)
		return job
	}
	jobs := []*worker.Job{job("good", "7.png", "scandinavian"), job("missing", "8.png", ""), job("page", "page.png", ""),
		job("outside", "../7.png", ""), job("style", "7.png", "unheard of"),
		{ID: "payload", Type: stage.JobType, Payload: json.RawMessage(`{"original_url":"7.png"}`)}}

	var last map[string]worker.Status
	synctest.Test(t, func(t *testing.T) { last = finals(t, jobs, handler) })

	good := last["good"]
	assert.Equal(t, worker.StateSucceeded, good.State, good.Error)
	assert.Equal(t, 2, good.Attempt, "the first one met a network error")
	var result stage.Result
	require.NoError(t, json.Unmarshal(good.Result, &result))
	assert.Regexp(t, `^https://cdn\.example\.com/0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11/good-[0-9a-f]{32}\.png$`, result.StagedURL)
	assert.Equal(t, model.seeds[0], result.Seed)
	assert.Contains(t, model.seeds[1:], result.Seed, "a retry has the seed of the first attempt")
	for id, problem := range map[string]string{
		"missing": "original not found", "page": "it looks like text/html", "outside": "refused",
		"style": `style "unheard of" is unknown: accepted are modern, `, "payload": "image_id is missing",
	} {
		assert.Equal(t, worker.StateFailed, last[id].State, id)
		assert.Equal(t, 1, last[id].Attempt, id)
		assert.Contains(t, last[id].Error, problem, id)
	}
}
