//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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
	api := &predicttest.API{Token: "hunter2", Takes: time.Hour, Picture: picture, PlainHTTP: true}
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
	require.Eventually(t, func() bool { return api.Count(predicttest.OpGet) > 0 }, patience, 20*time.Millisecond, "it is followed")
	assert.Zero(t, first.terminate(t), first.said())
	assert.False(t, h.status(t, job).State.Final(), "the prediction takes longer than the worker may drain")

	api.Finish("prediction1")
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

// Jobs that are parked hold no slot, and go on when the API calls the worker.
func TestWorkerWithWebhooks(t *testing.T) {
	redis, postgres := redistest.Server(t), pgtest.Server(t)
	originals := rooms(t)
	picture, err := os.ReadFile(filepath.Join(originals, "rooms", "1.jpg"))
	require.NoError(t, err)
	api := &predicttest.API{Token: "hunter2", Takes: time.Hour, Picture: picture, PlainHTTP: true}
	service := httptest.NewServer(api)
	t.Cleanup(service.Close)
	p := launch(t, map[string]string{
		"REDIS_URL": "redis://" + redis.Addr(), "DATABASE_URL": postgres.URL(), "HTTP_ADDR": "127.0.0.1:0",
		"ORIGINALS_DIR": originals, "STAGED_DIR": t.TempDir(), "CONCURRENCY": "1",
		"MODEL": "prediction", "PREDICTION_URL": service.URL, "PREDICTION_TOKEN": "hunter2", "PREDICTION_VERSION": "v1",
		"PREDICTION_WEBHOOK_URL": "http://worker.test/webhooks/predictions", "PREDICTION_WEBHOOK_SECRET": webhookSecret,
	})
	h := newHost(t, redis.Addr(), postgres.URL())
	slow, quick := h.order(t, "modern"), h.order(t, "modern")
	h.await(t, slow, worker.StateScheduled)
	h.await(t, quick, worker.StateScheduled)
	require.Equal(t, 2, api.Creations(), "the only slot served both")

	api.Finish("prediction2")
	assert.Equal(t, http.StatusUnauthorized, p.take(t, api.Webhook(t, "prediction2", "whsec_"+strings.Repeat("A", 32))))
	assert.Equal(t, http.StatusNoContent, p.take(t, api.Webhook(t, "prediction2", webhookSecret)))
	h.await(t, quick, worker.StateSucceeded)
	status := h.status(t, quick)
	var result stage.Result
	require.NoError(t, json.Unmarshal(status.Result, &result))
	require.NotNil(t, result.Prediction)
	assert.Equal(t, "prediction2", result.Prediction.ID)
	assert.Equal(t, 1, status.Attempt, "to be parked costs no attempt")
	assert.Equal(t, 1, api.Count(predicttest.OpGet), "the job was woken: by themselves both would look after 15 s")
	assert.Equal(t, worker.StateScheduled, h.status(t, slow).State)
	assert.Equal(t, 2, api.Creations())
	assert.Zero(t, p.terminate(t), p.said())
	for _, text := range []string{"hunter2", "sig=", strings.TrimPrefix(webhookSecret, "whsec_")} {
		assert.NotContains(t, p.said(), text)
	}
}

// take sends a webhook to the worker, as a proxy before it would, and returns the answer's code.
func (p *process) take(t *testing.T, webhook *http.Request) int {
	t.Helper()
	address, err := url.Parse(p.url)
	require.NoError(t, err)
	webhook.URL.Scheme, webhook.URL.Host = address.Scheme, address.Host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Do(webhook)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}
