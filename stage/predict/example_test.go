package predict_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/google/uuid"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/stage/predict"
	"github.com/real-staging-ai/go-worker/workertest"
)

// A Model takes a token and the version of a model. Its input is what that model wants to know.
func ExampleModel() {
	api := startAPI()
	defer api.Close()
	model, err := predict.New(predict.Config{
		BaseURL: api.URL, AllowHTTP: true, // Replicate needs neither
		Token: "r8_example", Version: "owner/model:5c7d5dc6",
		Input: func(ctx context.Context, req stage.Request) (map[string]any, error) {
			input, err := predict.DefaultInput(ctx, req)
			if err == nil {
				input["guidance_scale"] = 7.5
			}
			return input, err
		},
		PricePerSecond: 0.001,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.CloseIdleConnections()
	handler, err := stage.NewHandler(stage.Config{
		Model: model,
		Source: stage.SourceFunc(func(context.Context, string) (stage.Original, error) {
			return stage.Original{Body: io.NopCloser(bytes.NewReader(photo()))}, nil
		}),
		Sink: stage.SinkFunc(func(_ context.Context, staged stage.Staged) (string, error) {
			return "https://cdn.example.com/" + staged.JobID + ".png", nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	payload := stage.Payload{
		ImageID: uuid.MustParse("0198d5f0-4a3e-7c51-9d0f-2b7f6f1f0a11"), OriginalURL: "https://photos.example.com/7.png",
	}
	job := &worker.Job{ID: "job-1"} // a pool would bring it
	err = handler.Handle(worker.ContextWithJob(context.Background(), job), job, payload)
	fmt.Println(string(job.Result()), err)
	// Output: {"staged_url":"https://cdn.example.com/job-1.png","media_type":"image/png","width":4,"height":3,"bytes":75,"model":"owner/model:5c7d5dc6","prediction":{"id":"prediction1","model":"owner/model:5c7d5dc6","seconds":2.5,"cost":0.0025},"seed":1190356254} <nil>
}

// With a webhook no slot is held while the model runs. The handler is part of the host's own server, and what wakes a job
// is the host's client.
func ExampleWebhookHandler() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // the API tells it
	model, err := predict.New(predict.Config{
		Token: "r8_example", Version: "owner/model:5c7d5dc6",
		Webhook: &predict.Webhook{URL: "https://api.example.com/webhooks/predictions", Secret: secret},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.CloseIdleConnections()
	client, err := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()}) // the producers' own, on Redis
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := predict.NewWebhookHandler(predict.WebhookConfig{
		Secrets: []predict.Secret{secret},
		Wake: func(ctx context.Context, jobID, queue string) error {
			return client.RunNow(ctx, jobID, worker.OnQueue(queue))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("POST /webhooks/predictions", handler)

	stranger := httptest.NewRecorder()
	mux.ServeHTTP(stranger, httptest.NewRequest(http.MethodPost, "/webhooks/predictions?job=job-1", nil))
	fmt.Println(stranger.Code)
	// Output: 401
}

func startAPI() *httptest.Server {
	return httptest.NewServer(&predicttest.API{Token: "r8_example", Picture: photo(), PlainHTTP: true})
}

func photo() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 4, 3))); err != nil {
		panic(err)
	}
	return b.Bytes()
}
