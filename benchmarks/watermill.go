package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// watermillSystem is Watermill on a Redis stream. A subscription hands out one message at a time, so that each slot has
// one of its own, all in one consumer group.
type watermillSystem struct {
	addr       string
	publisher  *redisstream.Publisher
	subscriber *redisstream.Subscriber // while workers run
	slots      sync.WaitGroup
}

func openWatermill(_ context.Context, at endpoints) (system, error) {
	client := redis.NewClient(&redis.Options{Addr: at.Redis, PoolSize: producers})
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, watermill.NopLogger{})
	if err != nil {
		return nil, fmt.Errorf("make watermill's publisher: %w", err)
	}
	return &watermillSystem{addr: at.Redis, publisher: publisher}, nil
}

func (w *watermillSystem) Enqueue(_ context.Context, p staging) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return w.publisher.Publish(jobType, message.NewMessage(watermill.NewULID(), body))
}

// EnqueueMany isn't used: Publish takes several messages, but sends them one by one.
func (w *watermillSystem) EnqueueMany(context.Context, []staging) error {
	return errors.New("watermill-redisstream has no bulk publish")
}

func (w *watermillSystem) Start(ctx context.Context, concurrency int, handle func(staging)) error {
	client := redis.NewClient(&redis.Options{Addr: w.addr, PoolSize: 2*concurrency + 10})
	var err error
	w.subscriber, err = redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: client, ConsumerGroup: "bench",
		DisableIndefiniteInitialBlock: true, // or Close waits for a first message
	}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("make watermill's subscriber: %w", err)
	}
	for range concurrency {
		messages, err := w.subscriber.Subscribe(context.WithoutCancel(ctx), jobType)
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		w.slots.Go(func() { work(messages, handle) })
	}
	return nil
}

func work(messages <-chan *message.Message, handle func(staging)) {
	for m := range messages {
		var p staging
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			m.Nack()
			continue
		}
		handle(p)
		m.Ack()
	}
}

func (w *watermillSystem) Stop(context.Context) error {
	err := w.subscriber.Close()
	w.slots.Wait()
	return err
}

func (w *watermillSystem) Close() { _ = w.publisher.Close() }
