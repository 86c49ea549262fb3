package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/redisstatus"
	"github.com/real-staging-ai/go-worker/sse"
)

// app is the program's parts.
type app struct {
	settings settings
	client   rueidis.Client
	tel      *telemetry
	pool     *worker.Pool
	notifier *redisnotify.Notifier
	viewers  *sse.Handler
}

func newApp(ctx context.Context, s settings) (*app, error) {
	tel, err := newTelemetry(ctx, s.otlp)
	if err != nil {
		return nil, err
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.redis}, DisableCache: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to Redis: %w", err), tel.close())
	}
	a := &app{settings: s, client: client, tel: tel}
	if err := a.assemble(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// assemble makes the pool and what shows its jobs.
func (a *app) assemble() (err error) {
	queue, err := redisqueue.New(a.client, redisqueue.Config{Lease: a.settings.lease})
	if err != nil {
		return err
	}
	store, err := redisstatus.New(a.client, redisstatus.Config{})
	if err != nil {
		return err
	}
	if a.notifier, err = redisnotify.New(a.client, redisnotify.Config{}); err != nil {
		return err
	}
	if a.viewers, err = sse.NewHandler(a.notifier, sse.Config{
		Topics:        func(r *http.Request) ([]string, error) { return []string{r.PathValue("topic")}, nil },
		Authorize:     sse.Public, // a demo has no secrets
		MeterProvider: a.tel.meters,
	}); err != nil {
		return err
	}
	a.pool, err = worker.NewPool(worker.Config{
		Backend: worker.Backend{
			Queue: queue, StatusStore: store, Notifier: a.notifier,
			TracerProvider: a.tel.tracers, MeterProvider: a.tel.meters, Propagator: a.tel.propagator,
		},
		Registry: handlers(), Retry: quickly,
		Concurrency: a.settings.slots, CancelGrace: a.settings.grace,
	})
	return err
}

// routes are what can be asked: by Prometheus, by an orchestrator's probes, and by browsers.
func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.tel.registry, promhttp.HandlerOpts{}))
	mux.Handle("/healthz", a.pool.LiveHandler())
	mux.Handle("/readyz", a.pool.ReadyHandler())
	mux.Handle("/events/{topic}", a.viewers)
	return mux
}

func (a *app) close() error {
	if a.notifier != nil {
		a.notifier.Close()
	}
	a.client.Close()
	return a.tel.close()
}
