// Minimal enqueues three jobs, runs them, and stops on Ctrl-C. It brings its own Redis in memory.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

type greet struct{ Name string }

func (greet) JobType() string { return "greet" }

func main() {
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, _ *worker.Job, p greet) error {
		fmt.Printf("Hello, %s!\n", p.Name)
		return nil
	})
	server := must(miniredis.Run()).Addr()
	redis := must(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server}, DisableCache: true}))
	backend := worker.Backend{Queue: must(redisqueue.New(redis, redisqueue.Config{}))}
	pool := must(worker.NewPool(worker.Config{Backend: backend, Registry: registry}))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		must(pool.Client().Enqueue(ctx, greet{name}))
	}
	fmt.Println("Press Ctrl-C to stop.")
	if err := pool.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
