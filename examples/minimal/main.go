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

// Greet is a job's payload.
type Greet struct {
	Name string `json:"name"`
}

// JobType names the type of job that this payload is for.
func (Greet) JobType() string { return "greet" }

func greet(_ context.Context, job *worker.Job, p Greet) error {
	fmt.Printf("Hello, %s! (attempt %d)\n", p.Name, job.Attempt)
	return nil
}

func main() {
	server := must(miniredis.Run())
	redis := must(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr()}, DisableCache: true}))
	queue := must(redisqueue.New(redis, redisqueue.Config{}))

	registry := worker.NewRegistry()
	worker.Handle(registry, greet)
	pool := must(worker.NewPool(worker.Config{Backend: worker.Backend{Queue: queue}, Registry: registry}))

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		must(pool.Client().Enqueue(ctx, Greet{Name: name}))
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
