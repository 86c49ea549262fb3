package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/stage"
	"github.com/real-staging-ai/go-worker/workertest"
)

const (
	namespace   = "staging-example" // begins all keys in Redis
	concurrency = 2                 // pictures staged at once
	maxAttempts = 3                 // of a job whose trouble may pass
	jobTimeout  = 2 * time.Minute   // of one attempt
	drain       = 5 * time.Second   // how long pictures may still be worked on after Ctrl-C
)

// studio is what both ways to run this program share: a queue in Redis, statuses in memory, news of them, and a pool
// that runs stage:run jobs.
type studio struct {
	redis *redis
	queue string // of this process only, since the pictures and statuses are
	store *workertest.MemoryStatusStore
	news  *news
	pool  *worker.Pool
}

// ports are what differs: where pictures come from, how they are staged, and where they go.
type ports struct {
	source stage.Source
	model  stage.Model
	sink   stage.Sink
}

// openStudio connects, wires and starts. Every status also goes to tape.
func openStudio(ctx context.Context, redisURL string, p ports, tape worker.Notifier, log *slog.Logger) (*studio, error) {
	redis, err := openRedis(redisURL)
	if err != nil {
		return nil, err
	}
	s := &studio{redis: redis, queue: "run-" + strings.ToLower(rand.Text()[:8]), store: workertest.NewStatusStore(), news: newNews()}
	if s.pool, err = s.newPool(p, tape, log); err == nil {
		err = s.pool.Start(ctx)
	}
	if err != nil {
		redis.close()
		return nil, err
	}
	return s, nil
}

// newPool is what a host writes: a queue, a handler in a registry, and the host's own store and notifier.
func (s *studio) newPool(p ports, tape worker.Notifier, log *slog.Logger) (*worker.Pool, error) {
	queue, err := redisqueue.New(s.redis, redisqueue.Config{Namespace: namespace, Logger: log})
	if err != nil {
		return nil, err
	}
	handler, err := stage.NewHandler(stage.Config{Source: p.source, Model: p.model, Sink: p.sink})
	if err != nil {
		return nil, err
	}
	registry := worker.NewRegistry()
	handler.Register(registry)
	return worker.NewPool(worker.Config{
		Backend: worker.Backend{
			Queue:       queue,
			StatusStore: s.store,
			Notifier:    tell(tape, s.news), // in this order: who waits for news finds the tape written
			Logger:      log,
		},
		Registry:     registry,
		Queues:       map[string]worker.QueueConfig{s.queue: {}},
		Concurrency:  concurrency,
		DrainTimeout: drain,
	})
}

// enqueue takes in one job that newJob made.
func (s *studio) enqueue(ctx context.Context, job *worker.Job) error {
	return s.pool.Client().EnqueueMany(ctx, job)
}

// newJob makes a job for this studio. How often and how long it is tried travels with it.
func (s *studio) newJob(p stage.Payload) (*worker.Job, error) {
	return worker.NewJob(p, worker.OnQueue(s.queue), worker.MaxAttempts(maxAttempts), worker.Timeout(jobTimeout))
}

// close stops the pool, which gives pictures that are being staged a moment to become ready, and lets go of Redis.
func (s *studio) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*drain)
	defer cancel()
	err := s.pool.Stop(ctx)
	if s.redis.embedded == nil {
		err = errors.Join(err, s.redis.forget(ctx, namespace, s.queue))
	}
	s.redis.close()
	return err
}

// tell makes one notifier of several, told one after another.
func tell(notifiers ...worker.Notifier) worker.Notifier {
	return worker.NotifierFunc(func(ctx context.Context, statuses ...worker.Status) error {
		var problems []error
		for _, n := range notifiers {
			problems = append(problems, n.Notify(ctx, statuses...))
		}
		if err := errors.Join(problems...); err != nil {
			return fmt.Errorf("tell: %w", err)
		}
		return nil
	})
}
