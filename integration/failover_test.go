package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// failoverLease is the default one. Workers learn of a new master at different times, which are the sentinels' or the
// nodes' and the machine's: none may be taken for dead meanwhile.
const failoverLease = 10 * time.Second

// newFailoverRig makes a rig on the Redis that cfg names, which may lose what it acknowledged as it replicates only
// afterwards. The statuses are elsewhere, in Postgres, and sweeps enqueue again what Redis has lost: so no accepted job
// may be lost at all, though one may run again whose claim or settlement was.
func newFailoverRig(t testing.TB, cfg workerConfig) *rig {
	t.Helper()
	cfg.Database, cfg.Sweep, cfg.Lease = ownDatabase(t), sweepInterval, failoverLease
	return rigOn(t, cfg)
}

// ownDatabase makes a database of the test's own on the server that the tests share, and returns its URL.
func ownDatabase(t testing.TB) string {
	t.Helper()
	shared, err := url.Parse(pgtest.Shared(t).URL())
	require.NoError(t, err)
	admin, err := sql.Open("pgx", shared.String())
	require.NoError(t, err)
	name := fmt.Sprintf("failover_%d", schemas.Add(1))
	_, err = admin.Exec("CREATE DATABASE " + name)
	require.NoError(t, err)
	t.Cleanup(func() { // the workers are gone by then
		_, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
		require.NoError(t, err)
		require.NoError(t, admin.Close())
	})
	shared.Path = "/" + name
	return shared.String()
}

// stream is a producer that enqueues jobs one after the other, each again until it is accepted: by its id it is
// enqueued once. The rig must keep a status store.
type stream struct {
	rig      *rig
	what     string
	do       func(i int) task
	pause    time.Duration // between two jobs, so that the workers keep pace
	opts     []worker.JobOption
	jobs     []*worker.Job
	accepted atomic.Int64
	doubts   doubts
	done     sync.WaitGroup
	cancel   context.CancelFunc
}

// stream starts a producer of jobs that are named after what. It must be stopped.
func (r *rig) stream(what string, do func(i int) task, pause time.Duration, opts ...worker.JobOption) *stream {
	s := &stream{rig: r, what: what, do: do, pause: pause, opts: opts}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.done.Go(func() { s.run(ctx) })
	r.t.Cleanup(func() { cancel(); s.done.Wait() })
	return s
}

// quick and slow streams go together: the jobs of the slow one keep slots busy over a failover, and some run until the
// heartbeat tells that their claims are gone.
func (r *rig) quick(what string, opts ...worker.JobOption) *stream {
	return r.stream(what, nap(5, 40), 10*time.Millisecond, opts...)
}

func (r *rig) slow(what string, opts ...worker.JobOption) *stream {
	return r.stream(what+"-slow", nap(200, size(5000, 12_000)), 400*time.Millisecond, opts...)
}

func (s *stream) run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		job := s.rig.job(fmt.Sprintf("%s-%05d", s.what, i), s.do(i), s.opts...)
		if err := s.enqueue(job); err != nil {
			s.rig.t.Errorf("enqueue %s: %v", job.ID, err)
			return
		}
		s.jobs = append(s.jobs, job)
		s.accepted.Add(1)
		time.Sleep(s.pause)
	}
}

// enqueue gives up on a job that is refused for long, or when the test has failed.
func (s *stream) enqueue(job *worker.Job) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := s.rig.producer.EnqueueMany(ctx, job)
		if err == nil || errors.As(err, new(*worker.FinishedError)) { // it may have been accepted before, and run
			return nil
		}
		s.doubts.note(job, err)
		if ctx.Err() != nil || s.rig.t.Failed() {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// doubts are the jobs of which a producer was told at first that it is unknown whether they were accepted.
type doubts struct {
	mu          sync.Mutex
	unconfirmed map[string]bool // by replicas
	broken      map[string]bool // all others
}

func (d *doubts) note(job *worker.Job, err error) {
	if errors.Is(err, worker.ErrRefused) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	which := &d.broken
	if errors.As(err, new(*redisqueue.NotReplicatedError)) {
		which = &d.unconfirmed
	}
	if *which == nil {
		*which = make(map[string]bool)
	}
	(*which)[job.ID] = true
}

func (d *doubts) count() (unconfirmed, broken int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.unconfirmed), len(d.broken)
}

// flow waits until n more jobs are accepted.
func (s *stream) flow(n int64) {
	s.rig.t.Helper()
	enough := s.accepted.Load() + n
	s.rig.await("jobs to be accepted", func() bool { return s.accepted.Load() >= enough })
}

// stop ends the stream. All its jobs were accepted.
func (s *stream) stop() {
	s.cancel()
	s.done.Wait()
	s.rig.accept(s.jobs...)
}

// tear keeps replicas from following their master: what it acknowledges from now on is lost when it dies. They go on
// when the function that is returned is called, after that.
func tear(t testing.TB, master string, replicas ...*redistest.Redis) (mend func()) {
	t.Helper()
	for _, replica := range replicas {
		replica.Pause() // or it would connect again
	}
	client, err := endpoint{Addrs: []string{master}}.connect()
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Do(context.Background(), client.B().ClientKill().TypeReplica().Build()).Error())
	return func() {
		for _, replica := range replicas {
			replica.Resume()
		}
	}
}

// tail has a torn master acknowledge what is lost when it dies: quick jobs, with all that the workers do meanwhile, and
// jobs that are due only after that, of which Redis then knows nothing. marked tells whether it was lost indeed.
func (r *rig) tail(jobs *stream, queue string) {
	r.t.Helper()
	const n = 50
	jobs.flow(n)
	what := fmt.Sprint("tail-", len(r.checker.accepted))
	r.enqueue(r.jobs(n, what, nap(5, 40), worker.OnQueue(queue), worker.After(10*time.Second))...)
	r.mark(queue)
}

// mark writes a key beside those of a queue, and marked reports whether it is still there.
func (r *rig) mark(queue string) {
	r.t.Helper()
	r.await("a mark", func() bool { // a connection that a fault broke may be noticed only now
		set := r.client.B().Set().Key("mark" + prefix(queue)).Value("1").Build()
		return r.client.Do(context.Background(), set).Error() == nil
	})
}

func (r *rig) marked(queue string) bool {
	r.t.Helper()
	n, err := r.client.Do(context.Background(), r.client.B().Exists().Key("mark"+prefix(queue)).Build()).AsInt64()
	require.NoError(r.t, err)
	return n > 0
}

// longestSilence is the longest time in which no handler began.
func (r *rig) longestSilence() (longest time.Duration) {
	var starts []int64
	for _, e := range r.checker.events {
		if e.Op == opStart {
			starts = append(starts, e.At)
		}
	}
	slices.Sort(starts)
	for i := 1; i < len(starts); i++ {
		longest = max(longest, time.Duration(starts[i]-starts[i-1]))
	}
	return longest.Round(time.Millisecond)
}
