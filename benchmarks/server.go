package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// servers are the servers of a run, each started when a measurement first needs it.
type servers struct {
	host *host
	// plain keeps nothing on disk; aof writes its log with an fsync every second.
	plain, aof *redistest.Redis
	postgres   *pgtest.Postgres
}

func newServers() *servers { return &servers{host: new(host)} }

// close ends all servers.
func (s *servers) close() { s.host.close() }

// ready returns emptied servers for a system in a scenario.
func (s *servers) ready(ctx context.Context, k kind, sc scenario) (at endpoints, err error) {
	err = s.host.try(func(t testing.TB) {
		if k.on&onRedis != 0 {
			at.Redis = s.redis(t, sc.aof).Addr()
		}
		if k.on&onPostgres != 0 {
			if s.postgres == nil {
				s.postgres = pgtest.Server(t, postgresSettings...)
			}
			at.Postgres = s.postgres.URL()
		}
	})
	if err != nil {
		return at, err
	}
	return clean(ctx, at)
}

// postgresSettings are the defaults but for the number of connections.
var postgresSettings = []string{"max_connections=300"}

func (s *servers) redis(t testing.TB, aof bool) *redistest.Redis {
	if aof {
		if s.aof == nil {
			s.aof = redistest.Server(t, "--appendonly", "yes", "--appendfsync", "everysec")
		}
		return s.aof
	}
	if s.plain == nil {
		s.plain = redistest.Server(t)
	}
	return s.plain
}

// clean empties the servers and returns where systems are to connect: in Postgres, to a new schema.
func clean(ctx context.Context, at endpoints) (endpoints, error) {
	if at.Redis != "" {
		redis, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{at.Redis}, DisableCache: true, ForceSingleClient: true,
			ConnWriteTimeout: limit, // to forget ten million jobs takes more than the usual 10 s
		})
		if err != nil {
			return at, fmt.Errorf("connect to redis: %w", err)
		}
		defer redis.Close()
		if err := redis.Do(ctx, redis.B().Flushall().Sync().Build()).Error(); err != nil {
			return at, fmt.Errorf("empty redis: %w", err)
		}
	}
	if at.Postgres != "" {
		conn, err := pgx.Connect(ctx, at.Postgres)
		if err != nil {
			return at, fmt.Errorf("connect to postgres: %w", err)
		}
		defer conn.Close(ctx)
		for _, command := range []string{"DROP SCHEMA IF EXISTS bench CASCADE", "CREATE SCHEMA bench", "CHECKPOINT"} {
			if _, err := conn.Exec(ctx, command); err != nil {
				return at, fmt.Errorf("empty postgres: %s: %w", command, err)
			}
		}
		at.Postgres += "&search_path=bench"
	}
	return at, nil
}

// host stands in for a test, as the module's server starters take one: it has what they call, and no more.
type host struct {
	testing.TB // nil
	cleanups   []func()
}

// hostError is what a starter gave up with.
type hostError struct{ error }

// try runs do, whose failures and skips become an error.
func (h *host) try(do func(testing.TB)) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case hostError:
			err = p.error
		default:
			panic(p)
		}
	}()
	do(h)
	return nil
}

func (h *host) close() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
	h.cleanups = nil
}

func (h *host) Helper()                           {}
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *host) Fatalf(format string, args ...any) { panic(hostError{fmt.Errorf(format, args...)}) }
func (h *host) Skipf(format string, args ...any)  { h.Fatalf(format, args...) }
func (h *host) Skip(args ...any)                  { h.Fatalf("%s", fmt.Sprint(args...)) }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp("", "benchmarks-")
	if err != nil {
		h.Fatalf("make a directory: %w", err)
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
