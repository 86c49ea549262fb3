package worker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// Ticks count from the beginning of 1970, so every replica has the same.
func ExampleEvery() {
	s := worker.Every(15 * time.Minute)
	tick := time.Date(2026, 11, 29, 2, 7, 30, 0, time.UTC) // when this replica was started
	for range 2 {
		tick = s.Next(tick)
		fmt.Println(tick.Format(time.RFC3339))
	}
	// Output:
	// 2026-11-29T02:15:00Z
	// 2026-11-29T02:30:00Z
}

// Any number of replicas may run the same pool: each tick is enqueued once.
func ExamplePeriodic() {
	ctx, stop := context.WithCancel(context.Background())
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, job *worker.Job, g Greeting) error {
		_, isTick := worker.TickOf(job)
		fmt.Println("Hello again,", g.Name, isTick)
		stop()
		return nil
	})
	pool, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: workertest.NewQueue()}, // redisqueue.New in a program
		Registry: registry,
		Periodic: []worker.Periodic{{
			Name:     "greet",
			Schedule: worker.Every(time.Second), // or cron.Parse, for texts and time zones
			Payload:  Greeting{Name: "Ada"},
			Missed:   worker.MissedOnce,
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pool.Run(ctx))
	// Output:
	// Hello again, Ada true
	// <nil>
}

// A handler asks for its tick, not for the time: a tick may be late, and its job is retried later still.
func ExampleTickOf() {
	for _, id := range []string{"report@2026-11-29T01:30:00Z", "order-17"} {
		tick, ok := worker.TickOf(&worker.Job{ID: id}) // a handler has its job
		if !ok {
			fmt.Println(id, "was enqueued by hand")
			continue
		}
		fmt.Println("the report of", tick.Format("January 2"))
	}
	// Output:
	// the report of November 29
	// order-17 was enqueued by hand
}
