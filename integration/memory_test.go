//go:build unix

package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
)

// A Redis that is full refuses new jobs, clearly and without a trace of them. All else goes on: jobs are claimed, tried
// again, put off, and keep checkpoints, clients cancel and requeue, and a worker takes over from a dead one, until the
// queue is empty.
func TestMemoryRunsOut(t *testing.T) {
	r, _ := newRig(t, workerConfig{Concurrency: 5, Database: pgtest.Server(t).URL(), Sweep: sweepInterval},
		"--maxmemory", "16mb", "--maxmemory-policy", "noeviction")
	held := r.jobs(3, "cling", func(int) task { return task{Do: deedCling} })
	r.enqueue(held...)
	mixed := r.enqueueMix(size(10, 40))
	refused, err := r.fill()
	require.ErrorIs(t, err, worker.ErrRefused)
	n := len(r.checker.accepted)
	require.Len(t, r.members(prefix("default")+"jobs"), n)
	require.Len(t, append(r.members(prefix("default")+"pending"), r.members(prefix("default")+"scheduled")...), n)
	require.NotContains(t, r.members(prefix("default")+"jobs"), refused.ID)

	r.setMaxMemory("1") // from here on memory is out whatever becomes free
	known := r.job(mixed[0].ID, task{Do: deedSleep})
	require.NoError(t, r.producer.EnqueueMany(context.Background(), known), "a known id is no refusal")
	meddling := r.meddle(mixed)
	victim := r.fleet.start()
	r.await("the victim to hold jobs", func() bool { return len(r.clinging(victim)) == len(held) })
	r.fleet.start()
	r.awaitMore(20)
	victim.kill()
	require.ErrorIs(t, r.producer.EnqueueMany(context.Background(), refused), worker.ErrRefused)
	meddling.Wait()
	r.awaitDrained()
	require.ErrorIs(t, r.producer.EnqueueMany(context.Background(), refused), worker.ErrRefused)

	r.setMaxMemory("0")
	r.enqueue(refused)
	r.awaitEnded()
	r.verify()
	r.report("memory out, a worker killed")
}

// fill enqueues large jobs until one is refused.
func (r *rig) fill() (refused *worker.Job, err error) {
	r.t.Helper()
	pad := strings.Repeat("x", 10_000)
	for i := 0; ; i++ {
		job := r.job(fmt.Sprintf("fill-%05d", i), task{Do: deedSleep, Millis: 10, Pad: pad})
		if err := r.producer.EnqueueMany(context.Background(), job); err != nil {
			return job, err
		}
		r.accept(job)
	}
}

func (r *rig) setMaxMemory(bytes string) {
	r.t.Helper()
	set := r.client.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", bytes).Build()
	require.NoError(r.t, r.client.Do(context.Background(), set).Error())
}

// A worker says when it starts that its Redis may evict jobs.
func TestEvictionPolicyIsNoticed(t *testing.T) {
	const warning = "redis may evict jobs: set maxmemory-policy to noeviction"
	for policy, warned := range map[string]bool{"noeviction": false, "allkeys-lru": true, "volatile-ttl": true} {
		t.Run(policy, func(t *testing.T) {
			r, _ := newRig(t, workerConfig{Concurrency: 1}, "--maxmemory-policy", policy)
			r.enqueue(r.jobs(1, "job", nap(1, 2))...)
			p := r.fleet.start()
			r.awaitDrained()
			require.NoError(t, p.stop())
			require.Equal(t, warned, r.fleet.said(warning), tail(p.log))
		})
	}
}
