package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// A worker that stood still for longer than lease, grace and two beats loses its jobs to one that lives. Back again, it
// stops their handlers with ErrLeaseLost, settles nothing and works on under a new name.
func TestPausedWorkerGivesUpAndWorksOn(t *testing.T) {
	const n = 5
	r, _ := newRig(t, workerConfig{Concurrency: n})
	r.enqueue(r.jobs(n, "early", hold)...)
	paused := r.fleet.start()
	r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(paused.name) == n })
	name := r.members(workersKey)
	require.Len(t, name, 1)

	paused.pause()
	heir := r.fleet.start()
	r.await("the heir to take over", func() bool { return r.fleet.hist.started(heir.name) == n })
	require.NotContains(t, r.members(workersKey), name[0])
	paused.resume()
	r.await("the handlers to be stopped", func() bool {
		return n == r.fleet.hist.count(func(e event) bool {
			return e.Op == opFinish && e.Proc == paused.name && e.Text == worker.ErrLeaseLost.Error()
		})
	})

	r.enqueue(r.jobs(n, "late", hold)...) // the heir's slots are full
	r.await("the paused worker to work on", func() bool { return r.fleet.hist.started(paused.name) == 2*n })
	names := r.members(workersKey)
	require.Len(t, names, 2)
	require.NotContains(t, names, name[0])
	paused.open()
	heir.open()
	r.awaitDrained()
	r.verify()
	require.Equal(t, 3*n, r.starts())
	require.Equal(t, 2*n, r.fleet.hist.count(func(e event) bool { return e.Op == opFinal }))
	r.report("a worker stopped by SIGSTOP with all its jobs under way")
}

// workersKey names the workers' leases.
var workersKey = prefix(worker.DefaultQueue) + "workers"

// Workers stand still for longer than lease, grace and two beats, one after the other, under load and with a status store.
// Whatever such a one held is taken over. Back again, it stops the handlers that still run with ErrLeaseLost, what it
// finishes late is refused, and it works on under a new name.
func TestPausesUnderLoad(t *testing.T) {
	const alive = 3
	pauses := size(3, 10)
	r, _ := newRig(t, workerConfig{Concurrency: 20, MaxCrashes: pauses + 1, Stored: true})
	for range alive {
		r.fleet.start()
	}
	l := r.load(100, nap(5, 400))
	for i := range pauses {
		jobs := r.jobs(alive, fmt.Sprintf("cling-%02d", i), func(int) task { return task{Do: deedCling} })
		r.enqueue(jobs...)
		r.await("the clinging jobs to be under way", func() bool {
			ran := r.fleet.hist.ran()
			return !slices.ContainsFunc(jobs, func(job *worker.Job) bool { return !ran[job.ID] })
		})
		victims := slices.DeleteFunc(r.fleet.living(), func(p *process) bool { return len(r.clinging(p)) == 0 })
		r.pauseUntilRobbed(victims[i%len(victims)])
	}
	l.stop()
	for _, p := range r.fleet.living() {
		p.open()
	}
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("%d workers stopped by SIGSTOP for longer than lease, grace and two beats", pauses))
}

// pauseUntilRobbed stops a worker that runs clinging jobs until another has taken over what it held, lets it go on, and
// returns when it works under another name.
func (r *rig) pauseUntilRobbed(p *process) {
	r.t.Helper()
	p.pause()
	held, name := r.clinging(p), r.nameOf(p)
	require.NotEmpty(r.t, name)
	r.await("the others to take over", func() bool { return r.rerun(held) })
	require.NotContains(r.t, r.members(workersKey), name)
	p.resume()
	r.await("the handlers to be stopped", func() bool { return r.stopped(held) })
	r.await("the worker to work on under another name", func() bool {
		now := r.nameOf(p)
		return now != "" && now != name
	})
	require.NotContains(r.t, r.members(workersKey), name)
}

// clinging returns the starts of the clinging jobs that a worker runs and will not end by itself.
func (r *rig) clinging(p *process) (held []event) {
	r.t.Helper()
	for _, e := range r.fleet.hist.all() {
		switch {
		case e.Proc != p.name:
		case e.Op == opStart && strings.HasPrefix(e.Job, "cling-") && e.Crashes == 0:
			held = append(held, e)
		case e.Op == opFinish:
			held = slices.DeleteFunc(held, func(start event) bool { return start.Token == e.Token })
		}
	}
	return held
}

// rerun reports whether all these jobs were started once more.
func (r *rig) rerun(starts []event) bool {
	r.t.Helper()
	return r.every(starts, func(start, e event) bool {
		return e.Op == opStart && e.Job == start.Job && e.Token > start.Token
	})
}

// stopped reports whether all these runs have ended with ErrLeaseLost.
func (r *rig) stopped(starts []event) bool {
	r.t.Helper()
	return r.every(starts, func(start, e event) bool {
		return e.Op == opFinish && e.Proc == start.Proc && e.Token == start.Token && e.Text == worker.ErrLeaseLost.Error()
	})
}

// every reports whether the history holds a match for each of some events.
func (r *rig) every(wanted []event, match func(wanted, e event) bool) bool {
	r.t.Helper()
	all := r.fleet.hist.all()
	return !slices.ContainsFunc(wanted, func(w event) bool {
		return !slices.ContainsFunc(all, func(e event) bool { return match(w, e) })
	})
}

// nameOf returns the name under which a worker holds jobs that it has started, empty when there are none.
func (r *rig) nameOf(p *process) string {
	r.t.Helper()
	tokens := make(map[string]int64)
	for _, e := range r.fleet.hist.all() {
		if e.Op == opStart && e.Proc == p.name {
			tokens[e.Job] = e.Token
		}
	}
	inflight := prefix(worker.DefaultQueue) + "inflight:"
	for _, key := range r.keys(inflight + "*") {
		held, err := r.client.Do(r.t.Context(), r.client.B().Hgetall().Key(key).Build()).AsStrMap()
		require.NoError(r.t, err)
		for id, token := range held {
			if strconv.FormatInt(tokens[id], 10) == token {
				return strings.TrimPrefix(key, inflight)
			}
		}
	}
	return ""
}
