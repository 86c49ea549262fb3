package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/rueidis"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// statusConnections is how many connections to Postgres the library with sqlstatus may use; a pool saves on two at a
// time, producers on one each.
const statusConnections = 16

// goWorker is this library.
type goWorker struct {
	redis   rueidis.Client
	backend worker.Backend
	client  *worker.Client
	pool    *worker.Pool // while workers run
	release func()       // gives up what the status store stands on
}

func openGoWorker(_ context.Context, at endpoints) (system, error) {
	return newGoWorker(at, nil, func() {})
}

func openGoWorkerPostgres(ctx context.Context, at endpoints) (system, error) {
	db, err := sql.Open("pgx", at.Postgres)
	if err != nil {
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	db.SetMaxOpenConns(statusConnections)
	db.SetMaxIdleConns(statusConnections)
	return openWithStatuses(ctx, at, db, sqlstatus.Config{Dialect: sqlstatus.Postgres}, func() { _ = db.Close() })
}

func openGoWorkerSQLite(ctx context.Context, at endpoints) (system, error) {
	dir, err := os.MkdirTemp("", "benchmarks-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	db, err := sql.Open("sqlite", sqliteDSN(filepath.Join(dir, "status.db")))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open sqlite: %w", err), os.RemoveAll(dir))
	}
	db.SetMaxIdleConns(4)
	return openWithStatuses(ctx, at, db, sqlstatus.Config{Dialect: sqlstatus.SQLite}, func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	})
}

// sqliteDSN names a file as docs/sqlstatus.md recommends.
func sqliteDSN(path string) string {
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)"
}

// openWithStatuses opens the library with sqlstatus on a database, which release gives up.
func openWithStatuses(
	ctx context.Context, at endpoints, db *sql.DB, cfg sqlstatus.Config, release func(),
) (system, error) {
	if err := sqlstatus.Migrate(ctx, db, cfg); err != nil {
		release()
		return nil, fmt.Errorf("migrate: %w", err)
	}
	store, err := sqlstatus.New(db, cfg)
	if err != nil {
		release()
		return nil, fmt.Errorf("make the status store: %w", err)
	}
	return newGoWorker(at, store, release)
}

// newGoWorker opens the library with a status store or none. It calls release in Close, or at once if it fails.
func newGoWorker(at endpoints, store worker.StatusStore, release func()) (g system, err error) {
	defer func() {
		if err != nil {
			release()
		}
	}()
	redis, err := newRueidis(at.Redis)
	if err != nil {
		return nil, err
	}
	queue, err := redisqueue.New(redis, redisqueue.Config{Logger: quiet})
	if err != nil {
		return nil, fmt.Errorf("make the queue: %w", err)
	}
	backend := worker.Backend{Queue: queue, StatusStore: store, Logger: quiet}
	client, err := worker.NewClient(backend)
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	return &goWorker{redis: redis, backend: backend, client: client, release: release}, nil
}

// newRueidis connects as the library's documentation recommends.
func newRueidis(addr string) (rueidis.Client, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{addr}, DisableCache: true, ForceSingleClient: true,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	return client, nil
}

var quiet = slog.New(slog.DiscardHandler)

func (g *goWorker) Enqueue(ctx context.Context, p staging) error {
	_, err := g.client.Enqueue(ctx, p)
	return err
}

func (g *goWorker) EnqueueMany(ctx context.Context, ps []staging) error {
	jobs := make([]*worker.Job, len(ps))
	for i, p := range ps {
		var err error
		if jobs[i], err = worker.NewJob(p); err != nil {
			return err
		}
	}
	return g.client.EnqueueMany(ctx, jobs...)
}

func (g *goWorker) Start(ctx context.Context, concurrency int, handle func(staging)) error {
	reg := worker.NewRegistry()
	worker.Handle(reg, func(_ context.Context, _ *worker.Job, p staging) error {
		handle(p)
		return nil
	})
	pool, err := worker.NewPool(worker.Config{Backend: g.backend, Registry: reg, Concurrency: concurrency})
	if err != nil {
		return err
	}
	g.pool = pool
	return pool.Start(ctx)
}

func (g *goWorker) Stop(ctx context.Context) error { return g.pool.Stop(ctx) }

// Settled implements settler: the hash of jobs holds each from its enqueue to its settlement.
func (g *goWorker) Settled(ctx context.Context) error {
	left, err := g.redis.Do(ctx, g.redis.B().Hlen().Key("{worker:default}:jobs").Build()).AsInt64()
	if err != nil {
		return fmt.Errorf("count what is left: %w", err)
	}
	if left != 0 {
		return fmt.Errorf("%d jobs are not settled", left)
	}
	return nil
}

func (g *goWorker) Close() {
	g.redis.Close()
	g.release()
}
