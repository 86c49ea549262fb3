package redisqueue_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

type greeting struct {
	Name string `json:"name"`
}

func (greeting) JobType() string { return "greet" }

// A queue by itself: what worker.Client and worker.Pool do with it.
func ExampleNew() {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	defer server.Close()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DisableCache: true, ForceSingleClient: true,
	})
	if err != nil {
		panic(err)
	}
	defer client.Close() // the client stays the host's

	queue, err := redisqueue.New(client, redisqueue.Config{Namespace: "shop"})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	job, err := worker.NewJob(greeting{Name: "Ada"})
	if err != nil {
		panic(err)
	}
	if err := queue.Enqueue(ctx, job); err != nil {
		panic(err)
	}

	session, err := queue.Consume(ctx, worker.DefaultQueue, worker.ConsumeOptions{})
	if err != nil {
		panic(err)
	}
	jobs, err := session.Claim(ctx, worker.ClaimOptions{Limit: 10})
	if err != nil {
		panic(err)
	}
	for _, job := range jobs {
		fmt.Println(job.Type, string(job.Payload))
		if err := session.Settle(ctx, worker.Verdict{Job: job, Action: worker.ActionComplete}); err != nil {
			panic(err)
		}
	}
	if err := session.Close(ctx); err != nil {
		panic(err)
	}
	// Output: greet {"name":"Ada"}
}
