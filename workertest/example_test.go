package workertest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// A whole worker in memory: what a job went through is there to be looked at afterwards.
func Example() {
	store, notifier := workertest.NewStatusStore(), workertest.NewNotifier()
	registry := worker.NewRegistry()
	worker.Handle(registry, greet)
	pool, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: workertest.NewQueue(), StatusStore: store, Notifier: notifier},
		Registry: registry,
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	job, err := pool.Client().Enqueue(ctx, greeting{"Ada"})
	if err != nil {
		panic(err)
	}
	events, err := notifier.Subscribe(ctx, job.Topic, "")
	if err != nil {
		panic(err)
	}
	if err := pool.Start(ctx); err != nil {
		panic(err)
	}
	for event := range events {
		if event.Status != nil && event.Status.State.Final() {
			fmt.Println(event.Status.State, string(event.Status.Result))
			break
		}
	}
	if err := pool.Stop(ctx); err != nil {
		panic(err)
	}
	states := store.States(job.ID)
	fmt.Println("from", states[0], "to", states[len(states)-1])
	// Output:
	// succeeded "hello Ada"
	// from queued to succeeded
}

// A backend of one's own is checked in its test file.
func ExampleTestQueue() {
	_ = func(t *testing.T) { // TestConformance
		workertest.TestQueue(t, func(*testing.T) worker.Queue { return workertest.NewQueue() })
	}
}
