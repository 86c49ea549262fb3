package main

import (
	"fmt"
	"maps"
	"time"
)

// scenario is one column of the report: the same work for each system.
type scenario struct {
	name  string // what -run and results go by
	group string // the report's table
	title string // the column's heading there
	full  bool   // only with -full
	once  bool   // in the first round only
	// jobs says for each system how many jobs make one to three seconds; of pick-ups it is their number, of idle workers
	// the seconds. A system without an entry isn't measured.
	jobs  sizes
	extra int  // bytes that each payload is larger
	aof   bool // Redis writes its log, with an fsync every second
	pools int  // how many pools share the queue, each with a client of its own; 0 means 1
	run   workload
}

// sizes maps systems to numbers of jobs.
type sizes map[string]int

// only returns the sizes of some systems.
func (s sizes) only(systems ...string) sizes {
	some := make(sizes)
	for _, name := range systems {
		some[name] = s[name]
	}
	return some
}

// but returns sizes with some of them replaced.
func (s sizes) but(others sizes) sizes {
	all := maps.Clone(s)
	maps.Copy(all, others)
	return all
}

// over returns sizes divided by n.
func (s sizes) over(n int) sizes {
	less := make(sizes)
	for name, jobs := range s {
		less[name] = max(jobs/n, 100)
	}
	return less
}

// The numbers of jobs that two slow cores do in one to three seconds: so many that what a system does at its start, such
// as opening a connection for each slot, is a small part of it.
var (
	one = sizes{"go-worker": 30_000, "asynq": 20_000, "river": 2_000, "watermill": 20_000, "gue": 2_000,
		"raw-lpop": 40_000, "raw-lmove": 40_000, "go-worker+postgres": 2_000}
	many = sizes{"go-worker": 300_000, "asynq": 100_000, "river": 10_000, "watermill": 60_000, "gue": 10_000,
		"raw-lpop": 400_000, "raw-lmove": 400_000, "go-worker+postgres": 10_000}
	bulk = sizes{"go-worker": 200_000, "asynq": 40_000, "river": 60_000, "watermill": 60_000, "gue": 30_000,
		"raw-lpop": 600_000, "raw-lmove": 600_000, "go-worker+postgres": 60_000, "go-worker+sqlite": 40_000}
	drain = sizes{"go-worker": 300_000, "asynq": 25_000, "river": 40_000, "watermill": 100_000, "gue": 16_000,
		"raw-lpop": 400_000, "raw-lmove": 200_000, "go-worker+postgres": 60_000, "go-worker+sqlite": 30_000}
	// few slots wait for each fsync of a database
	drainFew = drain.but(sizes{"river": 10_000, "go-worker+postgres": 16_000, "go-worker+sqlite": 8_000})
	pickup   = sizes{"go-worker": 500, "asynq": 12, "asynq-10ms": 150, "river": 300, "watermill": 500, "gue": 15,
		"raw-lpop": 500, "raw-lmove": 500, "go-worker+postgres": 300}
	idle = sizes{"go-worker": 10, "asynq": 10, "asynq-10ms": 10, "river": 10, "watermill": 10, "gue": 10,
		"go-worker+postgres": 10}
)

// withPostgres are the systems that write each job's state to a database; they have a table of their own, too.
var withPostgres = []string{"go-worker+postgres", "river", "gue"}

// onLists are the systems for the scenarios about Redis at its limits.
var onLists = []string{"go-worker", "asynq", "watermill"}

// The groups, in the order of the report.
const (
	enqueueGroup = "Enqueue"
	drainGroup   = "Drain"
	bothGroup    = "Both at once"
	pickupGroup  = "Idle pick-up"
	idleGroup    = "Idle cost"
	backlogGroup = "Backlog"
	aofGroup     = "Append-only file"
	payloadGroup = "Payload size"
	handlerGroup = "Handlers that take time"
	poolsGroup   = "Pools on one queue"
)

// bothAtOnce are the systems and jobs for producing and working at once.
func bothAtOnce() sizes { return many.over(2) }

// withoutGue leaves gue out where its connection for each slot would be more than Postgres is meant for.
func withoutGue(s sizes) sizes {
	less := maps.Clone(s)
	delete(less, "gue")
	return less
}

// Notes that bring a payload from about 210 bytes to 4 and to 64 KiB.
const (
	to4KiB  = 4<<10 - 210
	to64KiB = 64<<10 - 210
)

// scenarios are all there are, in the order of the report.
var scenarios = []scenario{
	{name: "enqueue-64", group: enqueueGroup, title: "64 goroutines, one a call", jobs: many, run: enqueueing(producers)},
	{name: "enqueue-bulk", group: enqueueGroup, title: "bulk", jobs: bulk, run: enqueueingBulk},
	{name: "enqueue-1", group: enqueueGroup, title: "1 goroutine, one a call", jobs: one, full: true, run: enqueueing(1)},

	{name: "drain-10", group: drainGroup, title: "concurrency 10", jobs: drainFew, run: draining(10, 0)},
	{name: "drain-100", group: drainGroup, title: "concurrency 100", jobs: drain, run: draining(100, 0)},
	{name: "drain-1000", group: drainGroup, title: "concurrency 1000", jobs: withoutGue(drain), run: draining(1000, 0)},

	{name: "both", group: bothGroup, title: "64 producers, concurrency 100", full: true, jobs: bothAtOnce(), run: storming(100)},

	{name: "pickup", group: pickupGroup, title: "concurrency 10", jobs: pickup, run: pickingUp(10)},
	{name: "idle", group: idleGroup, title: "concurrency 100", jobs: idle, once: true, run: idling(100)},

	{name: "backlog-1k", group: backlogGroup, title: "1,000 waiting", full: true,
		jobs: drain.only("go-worker", "asynq", "watermill", "river").over(2), run: backlogged(100, 1_000)},
	{name: "backlog-1m", group: backlogGroup, title: "1,000,000 waiting", full: true,
		jobs: drain.only("go-worker", "asynq", "watermill", "river").over(2), run: backlogged(100, 1_000_000)},
	{name: "backlog-10m", group: backlogGroup, title: "10,000,000 waiting", full: true, once: true,
		jobs: drain.only("go-worker").over(2), run: backlogged(100, 10_000_000)},

	{name: "aof", group: aofGroup, title: "drain at 100, fsync every second", full: true, aof: true,
		jobs: drain.only(onLists...), run: draining(100, 0)},

	{name: "enqueue-4k", group: payloadGroup, title: "enqueue ×64, 4 KiB", full: true, extra: to4KiB,
		jobs: many.only(onLists...).over(3), run: enqueueing(producers)},
	{name: "drain-4k", group: payloadGroup, title: "drain at 100, 4 KiB", full: true, extra: to4KiB,
		jobs: drain.only(onLists...).over(4), run: draining(100, 0)},
	{name: "enqueue-64k", group: payloadGroup, title: "enqueue ×64, 64 KiB", full: true, extra: to64KiB,
		jobs: many.only(onLists...).over(16), run: enqueueing(producers)},
	{name: "drain-64k", group: payloadGroup, title: "drain at 100, 64 KiB", full: true, extra: to64KiB,
		jobs: drain.only(onLists...).over(24), run: draining(100, 0)},

	{name: "handler-1ms", group: handlerGroup, title: "1 ms, concurrency 100", full: true,
		jobs: drain.over(2), run: draining(100, time.Millisecond)},
	{name: "handler-50ms", group: handlerGroup, title: "50 ms, concurrency 100", full: true,
		jobs: sized(4_000, drain), run: draining(100, 50*time.Millisecond)},

	{name: "pools-1", group: poolsGroup, title: "drain, 1 pool", full: true, pools: 1,
		jobs: drain.only("go-worker", "asynq"), run: draining(100, 0)},
	{name: "pools-4", group: poolsGroup, title: "drain, 4 pools", full: true, pools: 4,
		jobs: drain.only("go-worker", "asynq"), run: draining(100, 0)},
	{name: "pools-16", group: poolsGroup, title: "drain, 16 pools", full: true, pools: 16,
		jobs: drain.only("go-worker", "asynq"), run: draining(100, 0)},
	{name: "storm-1", group: poolsGroup, title: "64 producers wake 1 pool", full: true, pools: 1,
		jobs: bothAtOnce().only("go-worker", "asynq"), run: storming(100)},
	{name: "storm-4", group: poolsGroup, title: "64 producers wake 4 pools", full: true, pools: 4,
		jobs: bothAtOnce().only("go-worker", "asynq"), run: storming(100)},
	{name: "storm-16", group: poolsGroup, title: "64 producers wake 16 pools", full: true, pools: 16,
		jobs: bothAtOnce().only("go-worker", "asynq"), run: storming(100)},
}

// sized gives all systems of s the same number of jobs.
func sized(jobs int, s sizes) sizes {
	same := make(sizes)
	for name := range s {
		same[name] = jobs
	}
	return same
}

// scenarioOf finds a scenario by its name.
func scenarioOf(name string) (scenario, error) {
	for _, s := range scenarios {
		if s.name == name {
			return s, nil
		}
	}
	return scenario{}, fmt.Errorf("there is no scenario %q", name)
}
