package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/vgarvardt/gue/v5"
	"github.com/vgarvardt/gue/v5/adapter/pgxv5"
)

// gueTable is the table that gue's documentation asks for.
const gueTable = `
CREATE TABLE IF NOT EXISTS gue_jobs (
	job_id text PRIMARY KEY, priority smallint NOT NULL, run_at timestamptz NOT NULL, job_type text NOT NULL,
	args bytea NOT NULL, error_count integer NOT NULL DEFAULT 0, last_error text, queue text NOT NULL,
	created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_gue_jobs_selector ON gue_jobs (queue, run_at, priority)`

// gueConnections is for producers; workers have a pool with a connection each.
const gueConnections = 20

// gueSystem is gue on pgx.
type gueSystem struct {
	url    string
	pool   *pgxpool.Pool
	client *gue.Client

	workers *pgxpool.Pool // while they run
	cancel  context.CancelFunc
	ended   chan error
}

func openGue(ctx context.Context, at endpoints) (system, error) {
	pool, err := newPgxPool(ctx, at.Postgres, gueConnections)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, gueTable); err != nil {
		return nil, fmt.Errorf("make gue's table: %w", err)
	}
	client, err := gue.NewClient(pgxv5.NewConnPool(pool))
	if err != nil {
		return nil, fmt.Errorf("make gue's client: %w", err)
	}
	return &gueSystem{url: at.Postgres, pool: pool, client: client}, nil
}

func gueJob(p staging) (*gue.Job, error) {
	body, err := json.Marshal(p)
	return &gue.Job{Type: jobType, Args: body}, err
}

func (g *gueSystem) Enqueue(ctx context.Context, p staging) error {
	job, err := gueJob(p)
	if err != nil {
		return err
	}
	return g.client.Enqueue(ctx, job)
}

func (g *gueSystem) EnqueueMany(ctx context.Context, ps []staging) error {
	jobs := make([]*gue.Job, len(ps))
	for i, p := range ps {
		var err error
		if jobs[i], err = gueJob(p); err != nil {
			return err
		}
	}
	return g.client.EnqueueBatch(ctx, jobs)
}

func (g *gueSystem) Start(ctx context.Context, concurrency int, handle func(staging)) error {
	var err error
	if g.workers, err = newPgxPool(ctx, g.url, concurrency); err != nil {
		return err
	}
	client, err := gue.NewClient(pgxv5.NewConnPool(g.workers))
	if err != nil {
		return fmt.Errorf("make gue's worker client: %w", err)
	}
	pool, err := gue.NewWorkerPool(client, gue.WorkMap{jobType: gueHandler(handle)}, concurrency,
		gue.WithPoolPollInterval(time.Second), gue.WithPoolPollStrategy(gue.RunAtPollStrategy),
		gue.WithPoolGracefulShutdown(nil))
	if err != nil {
		return fmt.Errorf("make gue's workers: %w", err)
	}
	ctx, g.cancel = context.WithCancel(context.WithoutCancel(ctx))
	g.ended = make(chan error, 1)
	go func() { g.ended <- pool.Run(ctx) }()
	return nil
}

func gueHandler(handle func(staging)) gue.WorkFunc {
	return func(_ context.Context, job *gue.Job) error {
		var p staging
		if err := json.Unmarshal(job.Args, &p); err != nil {
			return err
		}
		handle(p)
		return nil
	}
}

func (g *gueSystem) Stop(context.Context) error {
	g.cancel()
	err := <-g.ended
	g.workers.Close()
	return err
}

func (g *gueSystem) Close() { g.pool.Close() }
