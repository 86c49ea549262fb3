package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// A Redis that is full refuses new jobs, clearly and without a trace of them. Workers go on all the same, also one that
// takes over from a dead one, until the queue is empty.
func TestMemoryRunsOut(t *testing.T) {
	r, _ := newRig(t, workerConfig{Concurrency: 5}, "--maxmemory", "16mb", "--maxmemory-policy", "noeviction")
	var refused *worker.Job
	var err error
	for i := 0; err == nil; i++ {
		refused = r.job(fmt.Sprintf("job-%05d", i), task{Do: deedSleep, Millis: 10, Pad: strings.Repeat("x", 10_000)})
		if err = r.producer.EnqueueMany(context.Background(), refused); err == nil {
			r.accept(refused)
		}
	}
	require.ErrorIs(t, err, worker.ErrRefused)
	n := len(r.checker.accepted)
	require.Len(t, r.members(prefix("default")+"jobs"), n)
	require.Len(t, r.members(prefix("default")+"pending"), n)
	require.NotContains(t, r.members(prefix("default")+"jobs"), refused.ID)

	// From here on memory is out whatever becomes free.
	set := r.client.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", "1").Build()
	require.NoError(t, r.client.Do(context.Background(), set).Error())
	known := r.job("job-00000", task{Do: deedSleep})
	require.NoError(t, r.producer.EnqueueMany(context.Background(), known), "a known id is no refusal")

	victim := r.fleet.start()
	r.fleet.start()
	r.await("the victim to be at work", func() bool { return r.fleet.hist.started(victim.name) >= 20 })
	victim.kill()
	require.ErrorIs(t, r.producer.EnqueueMany(context.Background(), refused), worker.ErrRefused)
	r.awaitDrained()
	r.verify()
	t.Logf("%d jobs, %d extra starts", n, r.starts()-n)
}
