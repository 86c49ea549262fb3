package redisnotify_test

import (
	"context"
	"fmt"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

// connect returns a client of a Redis for an example, and what ends both.
func connect() (rueidis.Client, func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, DisableCache: true, ForceSingleClient: true,
	})
	if err != nil {
		panic(err)
	}
	return client, func() {
		client.Close()
		server.Close()
	}
}

// A notifier by itself: a pool calls Notify, and package sse Subscribe, which may be in another process.
func ExampleNew() {
	client, end := connect()
	defer end() // the client stays the host's
	notifier, err := redisnotify.New(client, redisnotify.Config{Namespace: "shop"})
	if err != nil {
		panic(err)
	}
	defer notifier.Close()

	ctx := context.Background()
	err = notifier.Notify(ctx, worker.Status{
		JobID: "42", Topic: "user:ada", State: worker.StateRunning, Version: 1<<14 | 1<<12, Message: "half way",
	})
	if err != nil {
		panic(err)
	}
	events, err := notifier.Subscribe(ctx, "user:ada", "")
	if err != nil {
		panic(err)
	}
	for e := range events {
		if e.CaughtUp {
			break // what follows is live
		}
		fmt.Println(e.Status.JobID, e.Status.State, e.Status.Message)
	}
	// Output: 42 running half way
}

// A host keeps the channels and bytes that its other programs know.
func ExampleConfig() {
	client, end := connect()
	defer end()
	notifier, err := redisnotify.New(client, redisnotify.Config{
		Channel: func(topic string) string { return "events." + topic },
		Message: func(s worker.Status) []byte { return fmt.Appendf(nil, `{"id":%q,"status":%q}`, s.JobID, s.State) },
	})
	if err != nil {
		panic(err)
	}
	defer notifier.Close()
	fmt.Println(notifier.Channel("user:ada"))
	// Output: events.user:ada
}
