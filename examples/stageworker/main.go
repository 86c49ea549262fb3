// Stageworker is a worker for stage:run jobs to copy and to change: jobs from Redis, statuses in Postgres, news of them over
// Redis, metrics for Prometheus, traces over OTLP, and probes. It is configured by its environment only: README.md lists
// the variables. Whoever enqueues the jobs and shows what became of them is another program.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/sqlstatus"
	"github.com/real-staging-ai/go-worker/stage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	cfg, err := readConfig(os.Getenv)
	if err != nil {
		problems := strings.ReplaceAll(err.Error(), "\n", "\n  ")
		fmt.Fprintf(os.Stderr, "stageworker: the configuration is wrong:\n  %s\n", problems)
		os.Exit(2) // a restart doesn't help
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.logLevel}))
	if err := run(ctx, cfg, log); err != nil {
		log.Error("the worker has failed", "error", err)
		os.Exit(1)
	}
	log.Info("the worker has stopped")
}

// run works until ctx ends and the jobs of that moment are done, or their time is up.
func run(ctx context.Context, cfg *config, log *slog.Logger) (err error) {
	tel, err := newTelemetry(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tel.close()) }()
	redis, err := rueidis.NewClient(cfg.redis)
	if err != nil {
		return fmt.Errorf("connect to the Redis in REDIS_URL: %w", err)
	}
	defer redis.Close()
	db := stdlib.OpenDB(*cfg.database)
	defer func() { err = errors.Join(err, db.Close()) }()
	notifier, err := redisnotify.New(redis, redisnotify.Config{Namespace: cfg.namespace, Logger: log})
	if err != nil {
		return err
	}
	defer notifier.Close()

	pool, err := newPool(ctx, cfg, worker.Backend{
		Notifier: notifier, Logger: log,
		TracerProvider: tel.tracers, MeterProvider: tel.meters, Propagator: tel.propagator,
	}, redis, db)
	if err != nil {
		return err
	}
	handler, err := routes(cfg, pool, tel, log)
	if err != nil {
		return err
	}
	return serve(ctx, cfg, pool, handler, log)
}

// newPool completes the backend with a queue and a status store, and makes a pool that runs stage:run jobs.
func newPool(ctx context.Context, cfg *config, backend worker.Backend, redis rueidis.Client, db *sql.DB) (*worker.Pool, error) {
	queue, err := redisqueue.New(redis, redisqueue.Config{Namespace: cfg.namespace, Logger: backend.Logger})
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := sqlstatus.Migrate(starting, db, cfg.statuses); err != nil {
		return nil, fmt.Errorf("the Postgres in DATABASE_URL: %w", err)
	}
	statuses, err := sqlstatus.New(db, cfg.statuses)
	if err != nil {
		return nil, err
	}
	backend.Queue, backend.StatusStore = queue, statuses

	ports, err := newPorts(starting, cfg.ports)
	if err != nil {
		return nil, err
	}
	staging := cfg.staging
	staging.Source, staging.Model, staging.Sink = ports.source, ports.model, ports.sink
	handler, err := stage.NewHandler(staging)
	if err != nil {
		return nil, err
	}
	registry := worker.NewRegistry()
	handler.Register(registry, worker.MaxAttempts(cfg.attempts), worker.Timeout(cfg.jobTimeout))
	return worker.NewPool(worker.Config{
		Backend: backend, Registry: registry,
		Queues:      map[string]worker.QueueConfig{cfg.queue: {}},
		Concurrency: cfg.concurrency, DrainTimeout: cfg.drainTimeout,
	})
}

// serve runs the pool, and answers requests before, meanwhile and until it has drained.
func serve(ctx context.Context, cfg *config, pool *worker.Pool, routes http.Handler, log *slog.Logger) error {
	listener, err := net.Listen("tcp", cfg.httpAddr)
	if err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	log.Info("the worker starts", "http", "http://"+listener.Addr().String(), "queue", cfg.queue)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	server := &http.Server{Handler: routes, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
		stop() // without probes the pool is of no use
	}()
	problems := []error{pool.Run(ctx)}
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	problems = append(problems, server.Shutdown(closing))
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		problems = append(problems, fmt.Errorf("answer probes: %w", err))
	}
	return errors.Join(problems...)
}
