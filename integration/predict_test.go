//go:build unix

package integration

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/stage/predict"
)

const predictToken = "integration"

// registerStage makes a worker process run stage:run jobs on a prediction API.
func registerStage(registry *worker.Registry, api string) error {
	model, err := predict.New(predict.Config{
		BaseURL: api, AllowHTTP: true, Token: predictToken, Version: "v1",
		PollMin: 50 * time.Millisecond, PollMax: 250 * time.Millisecond, Settle: time.Second,
	})
	if err != nil {
		return err
	}
	handler, err := stage.NewHandler(stage.Config{
		Model: model,
		Source: stage.SourceFunc(func(context.Context, string) (stage.Original, error) {
			return stage.Original{Body: io.NopCloser(bytes.NewReader(smallPicture()))}, nil
		}),
		Sink: stage.SinkFunc(func(_ context.Context, staged stage.Staged) (string, error) {
			return "https://cdn.test/" + staged.JobID, nil
		}),
	})
	if err != nil {
		return err
	}
	handler.Register(registry)
	return nil
}

func smallPicture() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 4, 3))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// startAPI starts a prediction API whose predictions take a while, and which lets the answer to a create wait for a moment
// after it took effect.
func startAPI(t *testing.T, takes, wait time.Duration) (*predicttest.API, string) {
	t.Helper()
	api := &predicttest.API{Token: predictToken, Takes: takes, Picture: smallPicture(), PlainHTTP: true}
	api.Created = func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
		}
		return false
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return api, server.URL
}

func (r *rig) stageJob(id string) *worker.Job {
	r.t.Helper()
	job, err := worker.NewJob(stage.Payload{ImageID: [16]byte{1}, OriginalURL: "https://photos.test/" + id + ".png"}, worker.WithID(id))
	require.NoError(r.t, err)
	return job
}

// A worker is killed during a prediction: by turns before it knows the prediction's id, and after that. The next attempt
// goes on with the prediction, so each job has had one created.
func TestKilledWorkerPaysOnce(t *testing.T) {
	const answers = time.Second // after so long a create is answered
	runs := size(3, 50)
	api, url := startAPI(t, 3*time.Second, answers)
	r, _ := newRig(t, workerConfig{Concurrency: 1, Lease: time.Second, Predict: url})
	victim, once := r.fleet.start(), 0
	for run := range runs {
		r.enqueue(r.stageJob(fmt.Sprintf("run-%02d", run)))
		r.await("the prediction to be created", func() bool { return api.Creations() == run+1 })
		moment := rand.N(answers / 3)
		if run%2 == 1 {
			moment += answers
		}
		time.Sleep(moment)
		victim.kill()
		victim = r.fleet.start()
		r.awaitDrained()
		if api.Creations() == run+1 {
			once++
		}
	}
	looked := api.Count(predicttest.OpList)
	t.Logf("one creation in %d of %d runs; in %d the prediction had to be looked for", once, runs, looked)
	require.Equal(t, runs, once)
	require.Positive(t, looked)
	require.Equal(t, runs, api.Creations())
	require.Empty(t, api.Canceled())
	r.verify()
	snoozes := r.fleet.hist.count(func(e event) bool { return e.Outcome == history.OutcomeSnooze })
	require.Equal(t, 2*runs+snoozes, r.starts())
	r.report(fmt.Sprintf("%d workers killed during a prediction", runs))
}

// A worker that stands still for longer than its lease finds, when it goes on, that another one follows its prediction. It
// must not cancel it.
func TestPausedWorkerLeavesThePrediction(t *testing.T) {
	api, url := startAPI(t, 6*time.Second, 0)
	r, _ := newRig(t, workerConfig{Concurrency: 1, Lease: time.Second, Predict: url})
	victim := r.fleet.start()
	r.enqueue(r.stageJob("job"))
	r.await("the prediction to be followed", func() bool { return api.Count(predicttest.OpGet) > 1 })
	heir := r.fleet.start()
	victim.pause()
	r.await("the heir to have the job", func() bool { return r.fleet.hist.started(heir.name) == 1 })
	victim.resume()
	r.awaitDrained()
	require.Equal(t, 1, api.Creations())
	require.Empty(t, api.Canceled())
	r.verify()
	r.report("a worker paused for longer than its lease during a prediction")
}
