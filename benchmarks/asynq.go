package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hibiken/asynq"
)

// asynqSystem is asynq, its client and its server on a connection pool each.
type asynqSystem struct {
	addr   string
	check  time.Duration // TaskCheckInterval
	client *asynq.Client
	server *asynq.Server // while workers run
}

func asynqWith(check time.Duration) func(context.Context, endpoints) (system, error) {
	return func(_ context.Context, at endpoints) (system, error) {
		client := asynq.NewClient(asynq.RedisClientOpt{Addr: at.Redis, PoolSize: producers})
		return &asynqSystem{addr: at.Redis, check: check, client: client}, nil
	}
}

func (a *asynqSystem) Enqueue(ctx context.Context, p staging) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = a.client.EnqueueContext(ctx, asynq.NewTask(jobType, body))
	return err
}

func (a *asynqSystem) EnqueueMany(context.Context, []staging) error {
	return errors.New("asynq has no bulk enqueue")
}

func (a *asynqSystem) Start(_ context.Context, concurrency int, handle func(staging)) error {
	a.server = asynq.NewServer(
		asynq.RedisClientOpt{Addr: a.addr, PoolSize: min(max(concurrency, 10), 200)},
		asynq.Config{
			Concurrency: concurrency, TaskCheckInterval: a.check, Logger: noLog{}, LogLevel: asynq.FatalLevel,
			ShutdownTimeout: time.Minute,
		})
	return a.server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		var p staging
		if err := json.Unmarshal(task.Payload(), &p); err != nil {
			return err
		}
		handle(p)
		return nil
	}))
}

func (a *asynqSystem) Stop(context.Context) error {
	a.server.Shutdown()
	return nil
}

func (a *asynqSystem) Close() { _ = a.client.Close() }

// noLog drops all that asynq logs.
type noLog struct{}

func (noLog) Debug(...any) {}
func (noLog) Info(...any)  {}
func (noLog) Warn(...any)  {}
func (noLog) Error(...any) {}
func (noLog) Fatal(...any) {}
