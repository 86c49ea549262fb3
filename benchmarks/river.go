package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverConnections is the pool's size: on few cores more of them only make Postgres switch between processes.
const riverConnections = 20

// riverCooldown is the least that River allows. It also bounds how often producers wake workers, so that theirs is the
// same. Polling is only a fallback to being woken: its interval stays at the default, 1 s.
const riverCooldown = time.Millisecond

// riverSystem is River on pgx.
type riverSystem struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx] // only enqueues
	worker *river.Client[pgx.Tx] // while workers run
}

func openRiver(ctx context.Context, at endpoints) (system, error) {
	pool, err := newPgxPool(ctx, at.Postgres, riverConnections)
	if err != nil {
		return nil, err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, fmt.Errorf("make river's migrator: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("migrate river: %w", err)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{FetchCooldown: riverCooldown, Logger: quiet})
	if err != nil {
		return nil, fmt.Errorf("make river's client: %w", err)
	}
	return &riverSystem{pool: pool, client: client}, nil
}

// newPgxPool connects with up to size connections.
func newPgxPool(ctx context.Context, url string, size int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read postgres's URL: %w", err)
	}
	cfg.MaxConns = int32(size)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to postgres: %w", err)
	}
	return pool, nil
}

func (r *riverSystem) Enqueue(ctx context.Context, p staging) error {
	_, err := r.client.Insert(ctx, p, nil)
	return err
}

func (r *riverSystem) EnqueueMany(ctx context.Context, ps []staging) error {
	params := make([]river.InsertManyParams, len(ps))
	for i, p := range ps {
		params[i].Args = p
	}
	_, err := r.client.InsertManyFast(ctx, params)
	return err
}

func (r *riverSystem) Start(ctx context.Context, concurrency int, handle func(staging)) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[staging]) error {
		handle(job.Args)
		return nil
	}))
	client, err := river.NewClient(riverpgxv5.New(r.pool), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}},
		Workers:       workers,
		FetchCooldown: riverCooldown,
		Logger:        quiet,
	})
	if err != nil {
		return fmt.Errorf("make river's worker: %w", err)
	}
	r.worker = client
	return client.Start(ctx)
}

func (r *riverSystem) Stop(ctx context.Context) error { return r.worker.Stop(ctx) }

func (r *riverSystem) Close() { r.pool.Close() }
