//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/stage"
)

// A worker that is told to end while a prediction runs gives the job back, and the next one goes on with what was paid.
func TestWorkerWithPredictions(t *testing.T) {
	redis, postgres := redistest.Server(t), pgtest.Server(t)
	originals := rooms(t)
	picture, err := os.ReadFile(filepath.Join(originals, "rooms", "1.jpg"))
	require.NoError(t, err)
	created := make(chan struct{}, 1)
	api := &predicttest.API{Token: "hunter2", Takes: 4 * time.Second, Picture: picture, PlainHTTP: true,
		Created: func(int, http.ResponseWriter, *http.Request) bool { created <- struct{}{}; return false }}
	service := httptest.NewServer(api)
	t.Cleanup(service.Close)
	env := map[string]string{
		"REDIS_URL": "redis://" + redis.Addr(), "DATABASE_URL": postgres.URL(), "HTTP_ADDR": "127.0.0.1:0",
		"ORIGINALS_DIR": originals, "STAGED_DIR": t.TempDir(), "DRAIN_TIMEOUT": "1s",
		"MODEL": "prediction", "PREDICTION_URL": service.URL, "PREDICTION_TOKEN": "hunter2", "PREDICTION_VERSION": "v1",
	}
	h := newHost(t, redis.Addr(), postgres.URL())
	first := launch(t, env)
	job := h.order(t, "modern")
	<-created
	assert.Zero(t, first.terminate(t), first.said())
	assert.False(t, h.status(t, job).State.Final(), "the prediction takes longer than the worker may drain")

	second := launch(t, env)
	h.await(t, job, worker.StateSucceeded)
	status := h.status(t, job)
	var result stage.Result
	require.NoError(t, json.Unmarshal(status.Result, &result))
	require.NotNil(t, result.Prediction)
	assert.Equal(t, "prediction1", result.Prediction.ID)
	assert.Equal(t, 1, status.Attempt, "a deploy costs no attempt")
	assert.Equal(t, 1, api.Creations(), "and no second prediction")
	assert.Contains(t, string(api.Predictions()[0].Input), "Room: bedroom. Style: modern.")
	assert.Contains(t, string(api.Predictions()[0].Input), "Wishes: warm light")
	assert.Zero(t, second.terminate(t), second.said())
	assert.NotContains(t, first.said()+second.said(), "hunter2")
}
