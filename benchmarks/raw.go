package main

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/redis/rueidis"
)

const (
	rawJobs   = "bench:jobs"
	rawFlight = "bench:flight"
	rawBlock  = 1 // seconds that an idle slot waits in Redis
)

// rawSystem is Redis itself: what a worker could reach at best without a library, and without what one is for.
type rawSystem struct {
	redis rueidis.Client
	move  bool // a job stays in a list of its own until it is done

	cancel context.CancelFunc
	slots  sync.WaitGroup
}

func rawWith(move bool) func(context.Context, endpoints) (system, error) {
	return func(_ context.Context, at endpoints) (system, error) {
		redis, err := newRueidis(at.Redis)
		if err != nil {
			return nil, err
		}
		return &rawSystem{redis: redis, move: move}, nil
	}
}

func (r *rawSystem) Enqueue(ctx context.Context, p staging) error {
	return r.EnqueueMany(ctx, []staging{p})
}

func (r *rawSystem) EnqueueMany(ctx context.Context, ps []staging) error {
	bodies := make([]string, len(ps))
	for i, p := range ps {
		body, err := json.Marshal(p)
		if err != nil {
			return err
		}
		bodies[i] = rueidis.BinaryString(body)
	}
	return r.redis.Do(ctx, r.redis.B().Rpush().Key(rawJobs).Element(bodies...).Build()).Error()
}

func (r *rawSystem) Start(ctx context.Context, concurrency int, handle func(staging)) error {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for range concurrency {
		r.slots.Go(func() {
			for ctx.Err() == nil {
				r.one(ctx, handle)
			}
		})
	}
	return nil
}

// one takes a job, if there is one, and does it. Errors end with the context.
func (r *rawSystem) one(ctx context.Context, handle func(staging)) {
	body, err := r.take(ctx)
	if err != nil {
		return
	}
	var p staging
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		return
	}
	handle(p)
	if r.move {
		done := r.redis.B().Lrem().Key(rawFlight).Count(1).Element(body).Build()
		_ = r.redis.Do(context.WithoutCancel(ctx), done).Error()
	}
}

// take pops without waiting while there are jobs: such commands share a connection, in pipelines.
func (r *rawSystem) take(ctx context.Context) (string, error) {
	b := r.redis.B()
	if r.move {
		body, err := r.redis.Do(ctx, b.Lmove().Source(rawJobs).Destination(rawFlight).Left().Right().Build()).ToString()
		if !rueidis.IsRedisNil(err) {
			return body, err
		}
		return r.redis.Do(ctx,
			b.Blmove().Source(rawJobs).Destination(rawFlight).Left().Right().Timeout(rawBlock).Build()).ToString()
	}
	body, err := r.redis.Do(ctx, b.Lpop().Key(rawJobs).Build()).ToString()
	if !rueidis.IsRedisNil(err) {
		return body, err
	}
	popped, err := r.redis.Do(ctx, b.Blpop().Key(rawJobs).Timeout(rawBlock).Build()).AsStrSlice()
	if err != nil {
		return "", err
	}
	return popped[1], nil // after the list's name
}

func (r *rawSystem) Stop(context.Context) error {
	r.cancel()
	r.slots.Wait()
	return nil
}

func (r *rawSystem) Close() { r.redis.Close() }
