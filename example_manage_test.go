package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// A job that was to run tomorrow runs at once.
func ExampleClient_RunNow() {
	ctx := context.Background()
	store := workertest.NewStatusStore()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue(), StatusStore: store})
	job, _ := client.Enqueue(ctx, Greeting{Name: "Ada"}, worker.After(24*time.Hour))
	fmt.Println(client.RunNow(ctx, job.ID))
	fmt.Println(store.States(job.ID))
	// Output:
	// <nil>
	// [scheduled queued]
}

// A job that waits is deleted; of one that runs the error says that it has to be canceled first.
func ExampleClient_Delete() {
	ctx := context.Background()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()})
	job, _ := client.Enqueue(ctx, Greeting{Name: "Ada"})
	err := client.Delete(ctx, job.ID)
	if errors.Is(err, worker.ErrJobActive) {
		_, err = client.Cancel(ctx, job.ID)
	}
	fmt.Println(err)
	fmt.Println(errors.Is(client.Delete(ctx, job.ID), worker.ErrJobNotFound))
	// Output:
	// <nil>
	// true
}

// All waiting greetings for one person go, the others stay.
func ExampleClient_Purge() {
	ctx := context.Background()
	client, _ := worker.NewClient(worker.Backend{Queue: workertest.NewQueue()})
	for _, name := range []string{"Ada", "Grace", "Ada"} {
		_, _ = client.Enqueue(ctx, Greeting{Name: name})
	}
	n, err := client.Purge(ctx, worker.DefaultQueue, worker.PlaceWaiting, func(info *worker.JobInfo) bool {
		return info.Job != nil && strings.Contains(string(info.Job.Payload), "Ada")
	})
	fmt.Println(n, err)
	// Output: 2 <nil>
}

// Who works on a queue, and what was done within the last hour.
func ExampleInspector_activity() {
	ctx := context.Background()
	var queue worker.Queue = workertest.NewQueue() // redisqueue.New in a program
	registry := worker.NewRegistry()
	worker.Handle(registry, func(context.Context, *worker.Job, Greeting) error { return nil })
	pool, _ := worker.NewPool(worker.Config{Backend: worker.Backend{Queue: queue}, Registry: registry, Name: "greeter-1"})
	_ = pool.Start(ctx)
	activity, err := queue.(worker.Inspector).Activity(ctx, worker.DefaultQueue)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, session := range activity.Workers {
		fmt.Println(session.Process.Name, "runs", session.Running, "jobs")
	}
	for _, minute := range activity.Minutes {
		fmt.Println(minute.Start, minute.Succeeded, minute.Failed)
	}
	_ = pool.Stop(ctx)
	// Output: greeter-1 runs 0 jobs
}
