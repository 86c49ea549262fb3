package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// patience is how long a test waits for something that must happen. Nothing is said about how soon it does.
const patience = 90 * time.Second

// lease is short, so that a dead worker is missed within 3 seconds. The grace is half of it.
const lease = 1500 * time.Millisecond

// rig is what most tests need: Redis, a producer, worker processes, and the checker of what becomes of the jobs.
type rig struct {
	t        testing.TB
	client   rueidis.Client
	producer *client
	fleet    *fleet
	checker  *checker
	db       *sql.DB // of the Postgres that cfg names, if it names one
	reported bool    // the table has this run
}

// newRig makes a rig on a redis-server of its own, with further arguments for it. Zero fields of cfg have defaults.
func newRig(t testing.TB, cfg workerConfig, args ...string) (*rig, *redistest.Redis) {
	t.Helper()
	server := redistest.Server(t, args...)
	cfg.Redis = endpoint{Addrs: []string{server.Addr()}}
	return rigOn(t, cfg), server
}

// rigOn makes a rig on the Redis that cfg names.
func rigOn(t testing.TB, cfg workerConfig) *rig {
	t.Helper()
	if cfg.Lease == 0 {
		cfg.Lease = lease
	}
	if cfg.Queues == nil {
		cfg.Queues = []string{worker.DefaultQueue}
	}
	redis, err := cfg.Redis.connect()
	require.NoError(t, err)
	t.Cleanup(redis.Close)
	queue, err := redisqueue.New(redis, cfg.queue(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	backend := worker.Backend{Queue: queue, Logger: slog.New(slog.DiscardHandler)}
	r := &rig{t: t, client: redis}
	switch {
	case cfg.Database != "":
		backend.StatusStore = r.openDatabase(cfg.Database)
	case cfg.Stored:
		backend.StatusStore = newLedgerStore(redis)
	}
	producer, err := worker.NewClient(backend)
	require.NoError(t, err)
	r.fleet = newFleet(t, cfg)
	r.producer = &client{Client: producer, hist: r.fleet.hist}
	r.checker = &checker{accepted: make(map[string]expectation), stored: backend.StatusStore != nil, notice: cfg.Lease}
	t.Cleanup(r.reportAnyway)
	return r
}

// job makes a job, which is expected to succeed once accept says that it was enqueued.
func (r *rig) job(id string, do task, opts ...worker.JobOption) *worker.Job {
	r.t.Helper()
	job, err := worker.NewJob(do, append([]worker.JobOption{worker.WithID(id)}, opts...)...)
	require.NoError(r.t, err)
	return job
}

// jobs makes n jobs, named after what.
func (r *rig) jobs(n int, what string, do func(i int) task, opts ...worker.JobOption) []*worker.Job {
	r.t.Helper()
	jobs := make([]*worker.Job, n)
	for i := range jobs {
		jobs[i] = r.job(fmt.Sprintf("%s-%05d", what, i), do(i), opts...)
	}
	return jobs
}

func (r *rig) accept(jobs ...*worker.Job) {
	for _, job := range jobs {
		ends := worker.StateSucceeded
		if strings.Contains(string(job.Payload), string(deedPoison)) {
			ends = worker.StateFailed
		}
		r.checker.accepted[job.ID] = expectation{sum: history.Sum(job.Payload), ends: ends, at: len(r.checker.accepted)}
	}
}

// expect says how accepted jobs must end.
func (r *rig) expect(ends worker.State, jobs ...*worker.Job) {
	for _, job := range jobs {
		want := r.checker.accepted[job.ID]
		want.ends = ends
		r.checker.accepted[job.ID] = want
	}
}

// enqueue enqueues jobs that must all be accepted.
func (r *rig) enqueue(jobs ...*worker.Job) {
	r.t.Helper()
	require.NoError(r.t, r.producer.EnqueueMany(context.Background(), jobs...))
	r.accept(jobs...)
}

// hold and nap are what most jobs do.
func hold(int) task { return task{Do: deedHold} }

func nap(least, most int) func(i int) task {
	return func(i int) task {
		return task{Do: deedSleep, Millis: least + i*7919%(most-least+1), Pad: fmt.Sprint("<&>\t", i)}
	}
}

// until waits until what is described has happened.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(10 * time.Millisecond) {
		if t.Failed() || time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// await is until; when it is in vain it also tells what Redis holds.
func (r *rig) await(what string, happened func() bool) {
	r.t.Helper()
	defer func() {
		if r.t.Failed() {
			r.t.Logf("waiting for %s; Redis holds %s", what, r.sizes())
		}
	}()
	until(r.t, what, happened)
}

// awaitDrained waits until all jobs that are to succeed have gone from Redis, and nothing else is left of them.
func (r *rig) awaitDrained() {
	r.t.Helper()
	failing := 0
	for _, e := range r.checker.accepted {
		if e.ends != worker.StateSucceeded {
			failing++
		}
	}
	r.await("the queues to drain", func() bool {
		n, err := r.unsettled()
		void, failed := r.lengths("void")
		return err == nil && failed == nil && n == failing && void == 0
	})
}

// unsettled counts the jobs of all queues, dead ones included.
func (r *rig) unsettled() (total int, err error) { return r.lengths("jobs") }

// lengths counts the fields that a hash has in all queues together.
func (r *rig) lengths(hash string) (total int, err error) {
	for _, q := range r.fleet.base.Queues {
		n, err := r.client.Do(context.Background(), r.client.B().Hlen().Key(prefix(q)+hash).Build()).AsInt64()
		if err != nil {
			return 0, err
		}
		total += int(n)
	}
	return total, nil
}

func prefix(queue string) string { return "{worker:" + queue + "}:" }

// verify stops the workers and checks that all promises were kept.
func (r *rig) verify() {
	r.t.Helper()
	last := r.fleet.living()
	for _, p := range last {
		p.terminate()
	}
	r.await("the workers to stop", func() bool { return len(r.fleet.living()) == 0 })
	rows, finals := r.status()
	r.checker.events = append(r.fleet.hist.all(), finals...)
	found := explain(r.checker.judge(r.fleet.base.MaxCrashes, r.left(), rows))
	for _, p := range last {
		if p.cmd.ProcessState.ExitCode() > 0 { // not by the signal, which may have come before the pool had started
			found = append(found, p.name+" did not stop in order: "+tail(p.log))
		}
	}
	require.Empty(r.t, found)
	wrote := func(o op) int { return r.fleet.hist.count(func(e event) bool { return e.Op == o }) }
	require.False(r.t, wrote(opFinish) > 0 && wrote(history.OpSettle) == 0, "nobody wrote what was settled")
	require.True(r.t, r.checker.lossy || !r.fleet.said("redis has lost data"), "a false alarm")
}

// starts counts the runs of handlers.
func (r *rig) starts() int {
	return r.fleet.hist.count(func(e event) bool { return e.Op == opStart })
}

// keys finds keys on all nodes.
func (r *rig) keys(pattern string) (found []string) {
	r.t.Helper()
	for _, node := range r.client.Nodes() {
		keys, err := node.Do(context.Background(), node.B().Keys().Pattern(pattern).Build()).AsStrSlice()
		require.NoError(r.t, err)
		found = append(found, keys...)
	}
	return found
}

// members returns what a key of any type names.
func (r *rig) members(key string) []string {
	r.t.Helper()
	ctx, b := context.Background(), r.client.B()
	kind, err := r.client.Do(ctx, b.Type().Key(key).Build()).ToString()
	require.NoError(r.t, err)
	read := map[string]rueidis.Completed{
		"hash": r.client.B().Hkeys().Key(key).Build(),
		"list": r.client.B().Lrange().Key(key).Start(0).Stop(-1).Build(),
		"zset": r.client.B().Zrange().Key(key).Min("0").Max("-1").Build(),
	}
	switch kind {
	case "none":
		return nil
	case "string":
		id, err := r.client.Do(ctx, r.client.B().Get().Key(key).Build()).ToString()
		require.NoError(r.t, err)
		return []string{id}
	}
	ids, err := r.client.Do(ctx, read[kind]).AsStrSlice()
	require.NoError(r.t, err)
	return ids
}

// field reads a field of a hash.
func (r *rig) field(key, field string) string {
	r.t.Helper()
	text, err := r.client.Do(context.Background(), r.client.B().Hget().Key(key).Field(field).Build()).ToString()
	require.NoError(r.t, err)
	return text
}

// sizes describes what Redis holds, for a test that waited in vain.
func (r *rig) sizes() string {
	sizes := make(map[string]int)
	for _, q := range r.fleet.base.Queues {
		for _, key := range r.keys(prefix(q) + "*") {
			if !strings.HasSuffix(key, ":token") {
				sizes[key] = len(r.members(key))
			}
		}
	}
	text, _ := json.Marshal(sizes)
	return string(text)
}
