package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// Producers wait for all replicas while workers run what they enqueue, and everything strikes. What was accepted is never
// lost, though nobody sweeps; what is unknown is enqueued again until it is accepted.
//
// Without a status store that is all: a job whose enqueue was unknown may be over when it is enqueued again, and runs once
// more then, as does one whose claim or settlement a failover lost. With a store each job has one final state all the same.
func TestDurableEnqueueWithWorkers(t *testing.T) {
	t.Run("without a status store", func(t *testing.T) {
		t.Parallel() // they mostly wait
		d := newDurableRun(t, workerConfig{})
		d.loseData() // whatever runs again is excused from the beginning
		d.strike(size([]strike{strikeReset, strikeReplica, strikeTorn}, allStrikes))
		d.awaitDrained()
		d.judge()
	})
	t.Run("with a status store", func(t *testing.T) {
		t.Parallel()
		d := newDurableRun(t, workerConfig{Database: ownDatabase(t), Sweep: -1})
		d.strike(size([]strike{strikeReset, strikePlanned}, allStrikes))
		d.awaitEnded()
		d.judge()
	})
}

// durableRun is producers that wait for replicas, with workers beside them, on a master that sentinels watch.
type durableRun struct {
	*rig
	sentinels *sentinels
	producers []*stream
	slowly    *stream // nil in the quick size
	struck    []string
}

// strike is a fault, and how it is over.
type strike struct {
	what string
	run  func(*durableRun)
}

var (
	strikeReset   = strike{"connections reset", (*durableRun).reset}
	strikeReplica = strike{"a replica stopped", (*durableRun).stopReplica}
	strikePlanned = strike{"a planned failover", (*durableRun).fail}
	strikeTorn    = strike{"a master killed with a tail that no replica has", (*durableRun).killTorn}
	strikeKilled  = strike{"a master killed", (*durableRun).kill}
	strikeWorker  = strike{"a worker killed", (*durableRun).killWorker}

	allStrikes = []strike{
		strikeReset, strikeReplica, strikeTorn, strikeWorker, strikePlanned, strikeKilled, strikeReset, strikePlanned,
		strikeTorn,
	}
)

func newDurableRun(t *testing.T, cfg workerConfig) *durableRun {
	t.Helper()
	const workers, producers = 3, 6
	const ahead = 3 * time.Second // so that much of what is accepted before a strike runs after it
	s := startSentinels(t)
	cfg.Redis, cfg.Concurrency, cfg.Lease, cfg.WaitReplicas = s.endpoint(), 10, failoverLease, replicas
	d := &durableRun{rig: rigOn(t, cfg), sentinels: s}
	for range workers {
		d.fleet.start()
	}
	for i := range producers / 2 {
		d.producers = append(d.producers, d.quick(fmt.Sprint("now-", i)),
			d.quick(fmt.Sprint("later-", i), worker.After(ahead)))
	}
	if size(false, true) {
		d.slowly = d.slow("job")
	}
	return d
}

// strike has one fault after the other strike, each under load, and stops the load.
func (d *durableRun) strike(faults []strike) {
	d.t.Helper()
	for _, fault := range faults {
		d.sentinels.awaitWhole()
		d.flow()
		fault.run(d)
		d.struck = append(d.struck, fault.what)
	}
	d.flow()
	for _, p := range d.producers {
		p.stop()
	}
	if d.slowly != nil {
		d.slowly.stop()
	}
}

// flow waits until every producer goes on: that it has had some more jobs accepted.
func (d *durableRun) flow() {
	d.t.Helper()
	const more = 20
	enough := make([]int64, len(d.producers))
	for i, p := range d.producers {
		enough[i] = p.accepted.Load() + more
	}
	d.await("jobs to be accepted", func() bool {
		for i, p := range d.producers {
			if p.accepted.Load() < enough[i] {
				return false
			}
		}
		return true
	})
}

// judge checks the run, and reports it.
func (d *durableRun) judge() {
	d.t.Helper()
	d.verify()
	d.report("Sentinel, replicas waited for: " + d.faults())
	unconfirmed, broken := d.doubts()
	d.t.Logf("of %d jobs it was unknown at first whether they were accepted: %d times as replicas had not confirmed them, "+
		"%d times for other reasons; %d starts", len(d.checker.accepted), unconfirmed, broken, d.starts())
}

// faults says how often what has struck.
func (d *durableRun) faults() string {
	count := make(map[string]int)
	var texts []string
	for _, what := range d.struck {
		count[what]++
	}
	for _, fault := range allStrikes {
		if n := count[fault.what]; n > 0 {
			texts = append(texts, fmt.Sprintf("%d × %s", n, fault.what))
			delete(count, fault.what)
		}
	}
	return strings.Join(texts, ", ")
}

// doubts counts the jobs that producers were told are unknown.
func (d *durableRun) doubts() (unconfirmed, broken int) {
	for _, p := range d.producers {
		u, b := p.doubts.count()
		unconfirmed, broken = unconfirmed+u, broken+b
	}
	return unconfirmed, broken
}

// awaitUnconfirmed waits until most producers have a job that the master has and not all replicas.
func (d *durableRun) awaitUnconfirmed() {
	d.t.Helper()
	before, _ := d.doubts()
	d.await("enqueues that are not confirmed", func() bool {
		now, _ := d.doubts()
		return now > before+len(d.producers)/2
	})
}

// reset has the master drop all its clients, until one of them was waiting for the end of an enqueue.
func (d *durableRun) reset() {
	d.t.Helper()
	master, err := endpoint{Addrs: []string{d.sentinels.master()}}.connect()
	require.NoError(d.t, err)
	defer master.Close()
	_, before := d.doubts()
	d.await("an enqueue whose connection broke", func() bool {
		drop := master.B().ClientKill().TypeNormal().Build()
		require.NoError(d.t, master.Do(context.Background(), drop).Error())
		_, now := d.doubts()
		return now > before
	})
}

// stopReplica has a replica stand still for a while.
func (d *durableRun) stopReplica() {
	d.t.Helper()
	for addr, server := range d.sentinels.servers {
		if addr == d.sentinels.master() {
			continue
		}
		server.Pause()
		defer server.Resume()
		break
	}
	d.awaitUnconfirmed()
}

func (d *durableRun) fail() { d.failover((*sentinels).planned, (*sentinels).follow) }
func (d *durableRun) kill() { d.failover((*sentinels).crash, (*sentinels).revive) }

// killTorn has the master accept jobs that workers run and no replica hears of, and kills it. It was the only one to know.
func (d *durableRun) killTorn() {
	d.t.Helper()
	mend := d.sentinels.tear(d.sentinels.master())
	d.mark(d.fleet.base.Queues[0])
	d.awaitUnconfirmed()
	d.failover(func(s *sentinels, master string) { s.crash(master); mend() }, (*sentinels).revive)
	require.False(d.t, d.marked(d.fleet.base.Queues[0]), "nothing was lost")
}

// failover waits for another master, and until the old one follows it.
func (d *durableRun) failover(begin, back func(s *sentinels, old string)) {
	d.t.Helper()
	old := d.sentinels.master()
	d.loseData()
	begin(d.sentinels, old)
	d.await("the failover", func() bool { return d.sentinels.master() != old })
	d.await("the client to follow", func() bool { return servedAt(d.client) == portOf(d.sentinels.master()) })
	back(d.sentinels, old)
}

// killWorker kills a worker with the jobs that it runs, and starts another.
func (d *durableRun) killWorker() {
	d.fleet.living()[0].kill()
	d.fleet.start()
}
