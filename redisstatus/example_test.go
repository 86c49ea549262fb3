package redisstatus_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisstatus"
)

// A store by itself: what worker.Client and worker.Pool do with it.
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

	store, err := redisstatus.New(client, redisstatus.Config{Namespace: "shop"})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	running := worker.Status{JobID: "42", Type: "greet", Queue: "default", State: worker.StateRunning, Version: 2<<14 | 1<<12}
	stale := running
	stale.Version = 1<<14 | 1<<12 // of a worker that lost the job
	for _, status := range []worker.Status{running, stale} {
		saved, err := store.Save(ctx, status)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%v %q\n", saved[0].OK, saved[0].Current)
	}
	row, err := store.Get(ctx, "42")
	if err != nil {
		panic(err)
	}
	fmt.Println(row.State, row.Token())
	// Output:
	// true ""
	// false "running"
	// running 2
}
