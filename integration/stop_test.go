package integration

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// A worker that is told to stop gives back what it cannot finish, with no attempt burnt and no crash counted.
func TestStoppedWorkerGivesBack(t *testing.T) {
	const n = 50
	r, _ := newRig(t, workerConfig{Concurrency: n, Drain: 200 * time.Millisecond})
	r.enqueue(r.jobs(n, "job", hold)...)
	first := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(first.name) == n })
	require.NoError(t, first.stop())
	require.Empty(t, r.members(workersKey))
	require.Len(t, r.members(prefix("default")+"pending"), n)

	r.fleet.start().open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 2*n, r.starts())
	require.Zero(t, r.crashed())
	r.report("a worker stopped that cannot finish its jobs")
}

// crashed counts the starts of jobs that count a crash.
func (r *rig) crashed() int {
	return r.fleet.hist.count(func(e event) bool { return e.Op == opStart && e.Crashes > 0 })
}

// What can be finished while a worker drains is finished there.
func TestStoppedWorkerFinishesWhatItCan(t *testing.T) {
	const n = 50
	r, _ := newRig(t, workerConfig{Concurrency: n})
	r.enqueue(r.jobs(n, "job", hold)...)
	only := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(only.name) == n })
	only.terminate()
	only.open()
	<-only.done
	require.NoError(t, only.err)
	r.awaitDrained()
	r.verify()
	require.Equal(t, n, r.starts())
	r.report("a worker stopped that can")
}

// Workers are replaced one after the other, as in a deployment, under load: no attempt is burnt and no crash counted.
func TestRollingRestart(t *testing.T) {
	restarts := size(6, 100)
	r, _ := newRig(t, workerConfig{Concurrency: 10, Drain: 20 * time.Millisecond, Stored: true})
	l := r.load(100, nap(5, 60))
	old := r.fleet.start()
	r.fleet.start()
	for range restarts {
		r.awaitMore(100)
		r.fleet.start()
		require.NoError(t, old.stop())
		old = r.fleet.living()[0]
	}
	l.stop()
	r.awaitDrained()
	r.verify()
	require.Zero(t, r.crashed())
	r.report(fmt.Sprintf("%d rolling restarts", restarts))
}

// A handler does not hear that it is to stop. The worker stops all the same by its deadline, and says so. The job is given
// back with a delay of one lease, as its handler may still run, and ends on another worker.
func TestStopWithDeafHandler(t *testing.T) {
	const lease = 4 * time.Second
	r, _ := newRig(t, workerConfig{Concurrency: 5, Lease: lease, Drain: 200 * time.Millisecond, Grace: time.Second, Stored: true})
	r.enqueue(append(r.jobs(3, "job", hold), r.job("deaf", task{Do: deedDeaf}))...)
	first := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(first.name) == 4 })
	before := r.now()
	require.ErrorContains(t, first.stop(), "exit status 1")
	r.fleet.hist.write(event{Op: history.OpAbandon, Proc: first.name, Job: "deaf", Token: r.tokenOf("deaf")})
	require.Contains(t, tail(first.log), "1 handlers still run: handler was abandoned")

	require.Empty(t, r.members(workersKey))
	require.Len(t, r.members(prefix("default")+"pending"), 3)
	require.Equal(t, []string{"deaf"}, r.members(prefix("default")+"scheduled"))
	require.GreaterOrEqual(t, r.due("deaf").Sub(before), lease)
	r.fleet.start().open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 8, r.starts())
	require.Zero(t, r.crashed())
	r.report("a worker stopped whose handler ignores its context")
}

// tokenOf returns the token of a job's last start.
func (r *rig) tokenOf(id string) (token int64) {
	r.t.Helper()
	for _, e := range r.fleet.hist.all() {
		if e.Op == opStart && e.Job == id {
			token = e.Token
		}
	}
	return token
}

// now is the time by Redis's clock.
func (r *rig) now() time.Time {
	r.t.Helper()
	now, err := r.client.Do(r.t.Context(), r.client.B().Time().Build()).AsIntSlice()
	require.NoError(r.t, err)
	return time.Unix(now[0], now[1]*1000).Truncate(time.Millisecond)
}

// due is when a scheduled job is due, by Redis's clock.
func (r *rig) due(id string) time.Time {
	r.t.Helper()
	score := r.client.B().Zscore().Key(prefix(worker.DefaultQueue) + "scheduled").Member(id).Build()
	text, err := r.client.Do(r.t.Context(), score).ToString()
	require.NoError(r.t, err)
	due, err := strconv.ParseInt(text, 10, 64)
	require.NoError(r.t, err)
	return time.UnixMilli(due)
}

// Workers are killed while they stop: when they drain, and when they give back what they could not finish, each time at
// another moment of it. What they had not given back yet counts a crash, and nothing an attempt.
func TestKilledWhileStopping(t *testing.T) {
	const slots = 100
	kills := size(3, 10)
	t.Run("draining", func(t *testing.T) {
		r, _ := newRig(t, workerConfig{Concurrency: 2 * slots, MaxCrashes: kills + 1, Stored: true})
		for i := range kills {
			r.enqueue(r.jobs(slots/10, fmt.Sprintf("nap-%02d", i), nap(100, 400))...)
			r.killStopping(i, slots*9/10, func(p *process) bool { return r.ended(p, "") > i })
		}
		r.openLast()
		r.report(fmt.Sprintf("%d workers killed while they drained", kills))
	})
	t.Run("giving back", func(t *testing.T) {
		const slots = 1000
		r, _ := newRig(t, workerConfig{Concurrency: 2 * slots, MaxCrashes: kills + 1, Drain: time.Millisecond, Stored: true})
		for i := range kills {
			r.killStopping(i, slots, func(p *process) bool {
				return r.ended(p, worker.ErrShutdown.Error()) > i*slots/kills
			})
		}
		r.openLast()
		t.Logf("%d claims were not given back in time", r.crashed())
		r.report(fmt.Sprintf("%d workers killed while they gave back their jobs", kills))
	})
}

// killStopping starts a worker that finds at least half so many jobs, beside what the last one gave back, waits until it
// has taken over what that one did not, tells it to stop, and kills it at the moment.
func (r *rig) killStopping(round, jobs int, moment func(*process) bool) {
	r.t.Helper()
	pending := prefix(worker.DefaultQueue) + "pending"
	given := len(r.members(pending))
	r.enqueue(r.jobs(max(jobs-given, jobs/2), fmt.Sprintf("cling-%02d", round), func(int) task { return task{Do: deedCling} })...)
	p := r.fleet.start()
	r.await("the worker to be busy, and alone", func() bool {
		return len(r.members(workersKey)) == 1 && len(r.members(pending)) == 0 && len(r.clinging(p)) >= jobs/2
	})
	p.terminate()
	r.await("the moment of its death", func() bool { return moment(p) || p.ended() })
	p.kill()
}

// openLast starts a worker that does what is left, and judges the run.
func (r *rig) openLast() {
	r.t.Helper()
	r.fleet.start().open()
	r.awaitDrained()
	r.verify()
}

// ended counts the handlers of a worker that have returned with an error of this text, empty for none.
func (r *rig) ended(p *process, text string) int {
	r.t.Helper()
	return r.fleet.hist.count(func(e event) bool { return e.Op == opFinish && e.Proc == p.name && e.Text == text })
}

// A worker that is told to stop while Redis is away does so by its deadline. It cannot give back what it held, so
// another worker takes over, as if it had died.
func TestStopWithoutRedis(t *testing.T) {
	const n = 20
	r, server := newRig(t, workerConfig{Concurrency: n, Drain: 200 * time.Millisecond},
		"--appendonly", "yes", "--appendfsync", "always")
	r.enqueue(r.jobs(n, "job", hold)...)
	first := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(first.name) == n })
	server.Kill()
	began := time.Now()
	require.Error(t, first.stop())
	require.Less(t, time.Since(began), 20*time.Second, "drain and grace are 5.2 seconds")
	r.fleet.hist.note(first.name, opEnd)

	server.Restart()
	r.fleet.start().open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 2*n, r.starts())
	r.report("a worker stopped while Redis was away")
}
