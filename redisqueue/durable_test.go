package redisqueue_test

import (
	"context"
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// With the patient config a replica that works confirms, however busy the machine is; with the hasty one a replica that
// doesn't is soon given up.
var (
	patient = redisqueue.Config{WaitReplicas: 1, WaitTimeout: patience}
	hasty   = redisqueue.Config{WaitReplicas: 1, WaitTimeout: 100 * time.Millisecond}
)

// onReplicated returns a real server and its replica, which is up to date.
func onReplicated(t *testing.T) (master *server, replica *redistest.Redis) {
	t.Helper()
	master = onReal(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(master.addr)
	require.NoError(t, err)
	replica = redistest.Server(t, "--replicaof", host+" "+port)
	answers := func() bool {
		n, err := master.ok("WAIT", "1", "100").AsInt64()
		return err == nil && n == 1
	}
	for !strings.Contains(master.text("INFO", "replication"), "state=online") || !answers() {
		<-time.After(10 * time.Millisecond)
	}
	return master, replica
}

// written is how much the server has sent to its replicas.
func (s *server) written() int {
	s.t.Helper()
	m := regexp.MustCompile(`master_repl_offset:(\d+)`).FindStringSubmatch(s.text("INFO", "replication"))
	require.Len(s.t, m, 2)
	n, err := strconv.Atoi(m[1])
	require.NoError(s.t, err)
	return n
}

// requireUnsure fails the test unless err says of each job that the replicas' word is missing.
func requireUnsure(t *testing.T, err error, confirmed, wanted int, jobs ...*worker.Job) {
	t.Helper()
	var failed *worker.EnqueueError
	require.ErrorAs(t, err, &failed)
	require.Len(t, failed.Failed, len(jobs))
	for _, job := range jobs {
		why := failed.Failed[job.ID]
		require.NotErrorIs(t, why, worker.ErrRefused)
		var unsure *redisqueue.NotReplicatedError
		require.ErrorAs(t, why, &unsure)
		require.Equal(t, confirmed, unsure.Confirmed)
		require.Equal(t, wanted, unsure.Wanted)
		require.ErrorContains(t, why, "unknown")
	}
}

// What is enqueued is on the replica when Enqueue returns, also from a server that has seen no script yet, and in calls
// of 500.
func TestDurableEnqueueIsConfirmed(t *testing.T) {
	s, replica := onReplicated(t)
	q := s.queue(patient)
	copied := *s
	copied.addr = replica.Addr()
	copied.client = copied.connect(nil)
	jobs := newJobs(t, 1201)
	enqueue(t, q, jobs[0])
	require.Len(t, copied.hash("jobs"), 1)
	s.ok("SCRIPT", "FLUSH")
	enqueue(t, q, jobs[1:]...)
	require.Len(t, copied.hash("jobs"), 1201)
	require.Equal(t, ids(jobs), s.list("pending"))
	enqueue(t, q, jobs...)
	require.Equal(t, ids(jobs), s.list("pending"))

	more := s.queue(redisqueue.Config{WaitReplicas: 2, WaitTimeout: time.Second})
	requireUnsure(t, more.Enqueue(context.Background(), jobs[0]), 1, 2, jobs[0])
}

// A replica that stands still makes the outcome unknown, within the timeout. Enqueueing again waits again, though the
// master has the job by then, and makes one job.
func TestDurableEnqueueIsUnsureWithoutReplica(t *testing.T) {
	s, replica := onReplicated(t)
	q := s.queue(hasty)
	jobs := named(t, "a", "b")
	replica.Pause()
	defer replica.Resume()
	requireUnsure(t, q.Enqueue(context.Background(), jobs...), 0, 1, jobs...)
	requireUnsure(t, q.Enqueue(context.Background(), jobs...), 0, 1, jobs...)
	requireUnsure(t, q.Enqueue(context.Background(), jobs[1]), 0, 1, jobs[1])
	replica.Resume()
	enqueue(t, s.queue(patient), jobs...)
	require.Equal(t, []string{"a", "b"}, s.list("pending"))

	c := open(t, s.queue(redisqueue.Config{}), 0)
	require.Equal(t, []string{"a", "b"}, ids(claim(t, c, 9)))
}

// Servers differ in what a WAIT waits for after a call that wrote nothing. So each call writes.
func TestARepeatedDurableEnqueueWrites(t *testing.T) {
	s, _ := onReplicated(t)
	q := s.queue(patient)
	jobs := enqueue(t, q, newJobs(t, 3)...)
	token := s.text("GET", key("token"))
	before := s.written()
	enqueue(t, s.queue(redisqueue.Config{}), jobs...)
	require.Equal(t, before, s.written(), "an ordinary one writes nothing")
	enqueue(t, q, jobs...)
	require.Greater(t, s.written(), before)
	require.Equal(t, token, s.text("GET", key("token")))
}

// A server without replicas confirms nothing, nor does miniredis.
func TestDurableEnqueueNeedsReplicas(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{WaitReplicas: 2, WaitTimeout: 50 * time.Millisecond})
		jobs := newJobs(t, 2)
		requireUnsure(t, q.Enqueue(context.Background(), jobs...), 0, 2, jobs...)
		requireUnsure(t, q.Enqueue(context.Background(), jobs...), 0, 2, jobs...)
		require.Equal(t, ids(jobs), s.list("pending"))
	})
}

// What is known about a job outranks the missing word of replicas, and after one call without it nothing more is sent.
func TestDurableEnqueueTellsWhatItKnows(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(hasty)
		plain := s.queue(redisqueue.Config{})
		jobs := newJobs(t, 502)
		enqueue(t, plain, jobs[0])
		c := open(t, plain, 0)
		settle(t, c, worker.ActionBury, claim(t, c, 1)...)

		var failed *worker.EnqueueError
		require.ErrorAs(t, q.Enqueue(context.Background(), jobs...), &failed)
		require.Len(t, failed.Failed, len(jobs))
		require.ErrorAs(t, failed.Failed[jobs[0].ID], new(*worker.FinishedError))
		require.ErrorAs(t, failed.Failed[jobs[1].ID], new(*redisqueue.NotReplicatedError))
		for _, job := range jobs[500:] {
			require.ErrorIs(t, failed.Failed[job.ID], worker.ErrRefused, "it was not sent")
		}
		require.Len(t, s.list("pending"), 499)
	})
}

// A server that refuses to write is no unknown outcome.
func TestDurableEnqueueIsRefusedClearly(t *testing.T) {
	s := onReal(t)
	q := s.queue(hasty)
	enqueueRefused := func() {
		t.Helper()
		job := newJob(t)
		var failed *worker.EnqueueError
		require.ErrorAs(t, q.Enqueue(context.Background(), job), &failed)
		require.ErrorIs(t, failed.Failed[job.ID], worker.ErrRefused)
		require.False(t, errors.As(failed.Failed[job.ID], new(*redisqueue.NotReplicatedError)))
	}
	s.ok("CONFIG", "SET", "maxmemory", "1")
	enqueueRefused()
	s.ok("CONFIG", "SET", "maxmemory", "0")
	s.ok("REPLICAOF", "127.0.0.1", "1")
	enqueueRefused()
	s.ok("REPLICAOF", "NO", "ONE")
	require.Empty(t, s.list("pending"))
}

// breakConnections ends the connections of all clients, among them those that wait in a WAIT, and lets other commands
// follow at once.
func (s *server) breakConnections(then ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b := s.client.B()
	commands := []rueidis.Completed{
		b.Multi().Build(), b.Arbitrary("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Build(),
	}
	if len(then) > 0 {
		commands = append(commands, b.Arbitrary(then...).Build())
	}
	replies := s.client.DoMulti(ctx, append(commands, b.Exec().Build())...)
	done, err := replies[len(replies)-1].ToArray()
	require.NoError(s.t, err)
	killed, err := done[0].AsInt64()
	require.NoError(s.t, err)
	require.Positive(s.t, killed)
}

// Connections that broke while they were idle cost nothing, though there are several.
func TestDurableEnqueueOutlivesItsConnections(t *testing.T) {
	s, replica := onReplicated(t)
	q := s.queue(patient)
	replica.Pause()
	var all sync.WaitGroup
	jobs := newJobs(t, 3)
	jobs[1].Queue, jobs[2].Queue = "b", "c" // calls on one queue would share a connection
	for _, job := range jobs {
		all.Go(func() { assert.NoError(t, q.Enqueue(context.Background(), job)) })
	}
	s.await("blocked_clients:3", "INFO", "clients")
	replica.Resume()
	all.Wait()
	s.breakConnections()
	enqueue(t, q, newJob(t))
	require.Len(t, s.list("pending"), 2)
	replica.Kill()
	job := newJob(t)
	requireUnsure(t, s.queue(hasty).Enqueue(context.Background(), job), 0, 1, job)
}

// enqueueBroken enqueues a job durably, and breaks its connection when the script has run and what happens then has
// happened. The outcome must be unknown.
func enqueueBroken(t *testing.T, s *server, replica *redistest.Redis, meanwhile func(), then ...string) {
	t.Helper()
	q := s.queue(patient)
	job := newJob(t)
	enqueue(t, q, job) // the server knows the script
	s.ok("DEL", key("pending"), key("jobs"))
	replica.Pause()
	defer replica.Resume()
	done := make(chan error, 1)
	go func() { done <- q.Enqueue(context.Background(), job) }()
	s.await("blocked_clients:1", "INFO", "clients")
	require.Equal(t, []string{job.ID}, s.list("pending"))
	meanwhile()
	s.breakConnections(then...)
	var failed *worker.EnqueueError
	require.ErrorAs(t, receive(t, done), &failed)
	require.NotErrorIs(t, failed.Failed[job.ID], worker.ErrRefused)
	require.False(t, errors.As(failed.Failed[job.ID], new(*redisqueue.NotReplicatedError)), "there was no reply")
}

// What was sent once may have run, even to its end: it is not sent again.
func TestADurableEnqueueThatBrokeIsNotRepeated(t *testing.T) {
	s, replica := onReplicated(t)
	cfg, _ := quiet()
	c := open(t, s.queue(cfg), 0)
	enqueueBroken(t, s, replica, func() { settle(t, c, worker.ActionComplete, claimN(t, c, 1)...) })
	require.Empty(t, s.list("pending"))
	require.Empty(t, s.hash("jobs"))
}

// What the server refuses by then doesn't say that nothing was done before.
func TestADurableEnqueueThatBrokeIsNotCalledRefused(t *testing.T) {
	s, replica := onReplicated(t)
	enqueueBroken(t, s, replica, func() {}, "REPLICAOF", "127.0.0.1", "1")
	require.Len(t, s.list("pending"), 1)
}

// A server that knows one script and not the other runs none twice: what was done already would be told as refused.
func TestDurableReopenRunsOnce(t *testing.T) {
	s, _ := onReplicated(t)
	plain := s.queue(redisqueue.Config{})
	c := open(t, plain, 0)
	jobs := enqueue(t, plain, named(t, "a", "b")...)
	settle(t, c, worker.ActionBury, claim(t, c, 2)...)
	require.NoError(t, c.Close(context.Background())) // else Reopen asks for the workers first
	require.NoError(t, plain.Reopen(context.Background(), jobs[0]))
	require.NoError(t, s.queue(patient).Reopen(context.Background(), jobs[1]))
	require.Equal(t, []string{"a", "b"}, s.list("pending"))
}

// Reopen accepts a job, too.
func TestDurableReopen(t *testing.T) {
	s, replica := onReplicated(t)
	q := s.queue(patient)
	c := open(t, q, 0)
	jobs := enqueue(t, q, named(t, "a", "b")...)
	settle(t, c, worker.ActionBury, claim(t, c, 2)...)
	require.NoError(t, q.Reopen(context.Background(), jobs[0]))
	replica.Pause()
	defer replica.Resume()
	for range 2 {
		err := s.queue(hasty).Reopen(context.Background(), jobs[1])
		require.ErrorAs(t, err, new(*redisqueue.NotReplicatedError))
		require.NotErrorIs(t, err, worker.ErrRefused)
		require.Equal(t, []string{"a", "b"}, s.list("pending"), "the master has it at once")
	}
}

// Nothing but accepting jobs waits for replicas.
func TestOnlyAcceptingWaits(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	cfg.WaitReplicas, cfg.WaitTimeout = 1, time.Hour
	q := s.queue(cfg)
	enqueue(t, s.queue(redisqueue.Config{}), named(t, "a", "b")...)
	c := open(t, q, 0)
	jobs := claim(t, c, 2)
	require.NoError(t, c.(worker.Checkpointer).Checkpoint(context.Background(), jobs[0], []byte("1")))
	settle(t, c, worker.ActionComplete, jobs[0])
	mark(t, q, "b")
	remove(t, q, "b")
	require.NoError(t, c.Close(context.Background()))
}
