package main

import (
	"context"
	"fmt"
	"time"
)

// system is one library in the process that measures it, with connections of its own. All calls but Enqueue and
// EnqueueMany come from one goroutine.
type system interface {
	// Enqueue adds one job in one call. Many goroutines call it at once.
	Enqueue(ctx context.Context, p staging) error
	// EnqueueMany adds jobs in one call, at most kind.bulk of them. It is not called when that is 0.
	EnqueueMany(ctx context.Context, ps []staging) error
	// Start starts workers that run up to concurrency handlers at once. Each decodes its job's payload from JSON and
	// calls handle with it. It returns when the workers are on their way; they go on until Stop.
	Start(ctx context.Context, concurrency int, handle func(staging)) error
	// Stop ends the workers and returns when no handler runs any more.
	Stop(ctx context.Context) error
	// Close gives up the connections. Workers have been stopped.
	Close()
}

// settler is a system that can tell whether the queue has forgotten all jobs that were handled.
type settler interface {
	Settled(ctx context.Context) error
}

// stores says where a system keeps its jobs.
type stores int

const (
	onRedis stores = 1 << iota
	onPostgres
)

// kind describes a system.
type kind struct {
	name string
	note string // how it is set up, for the report
	full bool   // only with -full
	on   stores
	// bulk is how many jobs EnqueueMany is given. 0 means that the library has no such call: its best, one call a job
	// from 64 goroutines, stands in.
	bulk int
	// toSettlement makes a drain last until Stop has returned, that is until the last job is settled, not until the
	// last handler was called.
	toSettlement bool
	// poll is how long its idle workers sleep between two looks at the queue. 0: they are woken.
	poll time.Duration
	// sends are the commands that its clients send under load and that none of its scripts calls; meter.go tells why.
	// Nil means that it has no scripts: then all commands count.
	sends []string
	// open connects. The store is empty, or another open of the same process has prepared it.
	open func(ctx context.Context, at endpoints) (system, error)
}

// endpoints are the servers of a measurement. A server that no system of it needs is empty.
type endpoints struct {
	Redis    string `json:"redis,omitempty"`    // host:port
	Postgres string `json:"postgres,omitempty"` // a URL; its search_path is an empty schema
}

const bulkSize = 500

// kinds are the systems, in the order of the report's rows. Names are what -run and scenarios go by.
var kinds = []kind{
	{
		name: "go-worker", on: onRedis, bulk: bulkSize, toSettlement: true, sends: []string{"evalsha", "eval", "blpop"},
		note: "this library, redisqueue on rueidis; leases, fencing and retries on; drains last until the last job is settled",
		open: openGoWorker,
	},
	{
		name: "asynq", on: onRedis, poll: time.Second, sends: []string{"evalsha", "eval", "sadd"},
		note: "v0.26.0, default TaskCheckInterval (1 s), a pool of 10 to 200 connections as its concurrency asks for",
		open: asynqWith(time.Second),
	},
	{
		name: "asynq-10ms", full: true, on: onRedis, poll: 10 * time.Millisecond, sends: []string{"evalsha", "eval", "sadd"},
		note: "the same with TaskCheckInterval 10 ms: sooner, at the price of polling",
		open: asynqWith(10 * time.Millisecond),
	},
	{
		name: "river", on: onPostgres, bulk: 5_000,
		note: "v0.51.2 on pgx, MaxWorkers = concurrency, FetchCooldown 1 ms, InsertManyFast with 5,000 a call, 20 connections",
		open: openRiver,
	},
	{
		name: "watermill", on: onRedis,
		note: "watermill-redisstream v1.4.5, one consumer group, one subscription a slot; acknowledged messages stay in the stream",
		open: openWatermill,
	},
	{
		name: "gue", full: true, on: onPostgres, bulk: bulkSize, poll: time.Second,
		note: "v5.8.0 on pgx, RunAtPollStrategy, poll interval 1 s, a connection a slot, as each job holds a transaction",
		open: openGue,
	},
	{
		name: "raw-lpop", on: onRedis, bulk: bulkSize,
		note: "bare rueidis, RPUSH and LPOP: a job is lost when its worker dies",
		open: rawWith(false),
	},
	{
		name: "raw-lmove", full: true, on: onRedis, bulk: bulkSize,
		note: "bare rueidis, LMOVE to a list of jobs in flight, LREM when done: no retry, no lease, nobody to take over",
		open: rawWith(true),
	},
	{
		name: "go-worker+postgres", on: onRedis | onPostgres, bulk: bulkSize, toSettlement: true,
		sends: []string{"evalsha", "eval", "blpop"},
		note:  "this library with sqlstatus on Postgres: queued, running and succeeded of each job are saved",
		open:  openGoWorkerPostgres,
	},
	{
		name: "go-worker+sqlite", full: true, on: onRedis, bulk: bulkSize, toSettlement: true,
		sends: []string{"evalsha", "eval", "blpop"},
		note:  "the same with sqlstatus on SQLite (modernc.org/sqlite; WAL, synchronous NORMAL) in the worker's process",
		open:  openGoWorkerSQLite,
	},
}

// kindOf finds a system by its name.
func kindOf(name string) (kind, error) {
	for _, k := range kinds {
		if k.name == name {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("there is no system %q", name)
}
