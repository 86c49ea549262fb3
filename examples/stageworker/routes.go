package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage/predict"
)

// routes are what can be asked: by an orchestrator's probes, by Prometheus, and, if jobs are parked, by the prediction API.
func routes(cfg *config, pool *worker.Pool, tel *telemetry, log *slog.Logger) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", pool.LiveHandler())
	mux.Handle("GET /readyz", pool.ReadyHandler())
	mux.Handle("GET /metrics", promhttp.HandlerFor(tel.registry, promhttp.HandlerOpts{}))
	if hook := cfg.ports.prediction.Webhook; hook != nil {
		webhooks, err := newWebhooks(hook, pool.Client(), log)
		if err != nil {
			return nil, err
		}
		mux.Handle("POST /webhooks/predictions", webhooks)
	}
	return mux, nil
}

// newWebhooks wakes jobs, those that other workers have parked, too.
func newWebhooks(hook *predict.Webhook, client *worker.Client, log *slog.Logger) (http.Handler, error) {
	return predict.NewWebhookHandler(predict.WebhookConfig{
		Secrets: []predict.Secret{hook.Secret}, Logger: log,
		Wake: func(ctx context.Context, jobID, queue string) error {
			return client.RunNow(ctx, jobID, worker.OnQueue(queue))
		},
	})
}
