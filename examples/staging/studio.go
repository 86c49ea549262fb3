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
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/stage"
)

const (
	namespace   = "staging-example" // begins all keys in Redis
	sharedQueue = "pictures"        // of all processes that share an archive
	concurrency = 2                 // pictures staged at once by a process
	maxAttempts = 3                 // of a job whose trouble may pass
	jobTimeout  = 2 * time.Minute   // of one attempt
	drain       = 5 * time.Second   // how long pictures may still be worked on after Ctrl-C
	sweepEvery  = 3 * time.Second   // jobs that the queue has lost are looked for
	toldEvents  = 256               // of a job are kept for pages that come later
)

// studio is what every way to run this program has: a queue in Redis, a store of statuses, news of them by way of Redis,
// and perhaps a pool that runs stage:run jobs.
type studio struct {
	redis   *redis
	queue   string
	passing bool // the queue is this process's own
	store   store
	news    *redisnotify.Notifier
	backend worker.Backend
	client  *worker.Client
	pool    *worker.Pool // nil until work is called
}

// store is a StatusStore that can be read.
type store interface {
	worker.StatusStore
	worker.Getter
}

// openStudio connects and wires. Every status that this process writes also goes to tape, if there is one. The queue of
// a passing studio is its own: on a server that others use, it is removed by close.
func openStudio(redisURL string, passing bool, store store, tape worker.Notifier, log *slog.Logger) (*studio, error) {
	redis, err := openRedis(redisURL)
	if err != nil {
		return nil, err
	}
	s := &studio{redis: redis, queue: sharedQueue, passing: passing && redis.embedded == nil, store: store}
	if s.passing {
		s.queue = "run-" + strings.ToLower(rand.Text()[:8])
	}
	if err := s.wire(tape, log); err != nil {
		redis.close()
		return nil, err
	}
	return s, nil
}

// wire makes what a host passes to the library: a queue, and the host's own store and notifier.
func (s *studio) wire(tape worker.Notifier, log *slog.Logger) error {
	queue, err := redisqueue.New(s.redis, redisqueue.Config{Namespace: namespace, Logger: log})
	if err != nil {
		return err
	}
	s.news, err = redisnotify.New(s.redis, redisnotify.Config{Namespace: namespace, LogSize: toldEvents, Logger: log})
	if err != nil {
		return err
	}
	s.backend = worker.Backend{Queue: queue, StatusStore: s.store, Notifier: s.news, Logger: log}
	if tape != nil {
		s.backend.Notifier = tell(tape, s.news) // in this order: who waits for news finds the tape written
	}
	if s.client, err = worker.NewClient(s.backend); err != nil {
		s.news.Close()
	}
	return err
}

// ports are where pictures come from, how they are staged, and where they go.
type ports struct {
	source stage.Source
	model  stage.Model
	sink   stage.Sink
}

// work starts a pool: a handler in a registry, and what wire has made.
func (s *studio) work(ctx context.Context, p ports) error {
	handler, err := stage.NewHandler(stage.Config{
		Source: p.source, Model: p.model, Sink: p.sink,
		RoomTypes: optionNames(localmodel.RoomTypes()), Styles: optionNames(localmodel.Styles()),
	})
	if err != nil {
		return err
	}
	registry := worker.NewRegistry()
	handler.Register(registry)
	pool, err := worker.NewPool(worker.Config{
		Backend:       s.backend,
		Registry:      registry,
		Queues:        map[string]worker.QueueConfig{s.queue: {}},
		Concurrency:   concurrency,
		DrainTimeout:  drain,
		SweepInterval: sweepEvery,
	})
	if err != nil {
		return err
	}
	if err := pool.Start(ctx); err != nil {
		return err
	}
	s.pool, s.client = pool, pool.Client() // one queue of news for both
	return nil
}

// newJob makes a job for this studio. How often and how long it is tried travels with it.
func (s *studio) newJob(p stage.Payload) (*worker.Job, error) {
	return worker.NewJob(p, worker.OnQueue(s.queue), worker.MaxAttempts(maxAttempts), worker.Timeout(jobTimeout))
}

// topicOf is where a job's statuses are told: the default of worker.NewJob.
func topicOf(id string) string { return "job:" + id }

// end waits for a job's final status. Should news of it get lost, the store knows.
func (s *studio) end(ctx context.Context, id string) (worker.Status, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.news.Subscribe(ctx, topicOf(id), "")
	if err != nil {
		return worker.Status{}, err
	}
	look := time.NewTicker(2 * time.Second)
	defer look.Stop()
	for {
		select {
		case e, open := <-events:
			if e.Status != nil && e.Status.State.Final() {
				return *e.Status, nil
			}
			if !open {
				events = nil
			}
		case <-look.C:
			if status, err := s.store.Get(ctx, id); err == nil && status.State.Final() {
				return *status, nil
			}
		case <-ctx.Done():
			return worker.Status{}, context.Cause(ctx)
		}
	}
}

// close stops the pool, which gives pictures that are being staged a moment to become ready, and lets go of Redis.
func (s *studio) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*drain)
	defer cancel()
	var err error
	if s.pool != nil {
		err = s.pool.Stop(ctx)
	}
	if s.passing {
		err = errors.Join(err, s.redis.forget(ctx, namespace, s.queue))
	}
	s.news.Close()
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
