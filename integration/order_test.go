package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With one slot jobs start in the order in which they were enqueued, and what a stopped worker gave back comes first.
func TestJobsStartInOrder(t *testing.T) {
	const n = 600
	restarts := size(5, 50)
	r, _ := newRig(t, workerConfig{Concurrency: 1, Drain: time.Millisecond, Stored: true})
	r.checker.oneSlot = true
	r.enqueue(r.jobs(n, "job", nap(2, 12))...)
	only := r.fleet.start()
	for i := range restarts {
		r.awaitFinished(n * (i + 1) / (restarts + 1))
		require.NoError(t, only.stop())
		only = r.fleet.start()
	}
	r.awaitDrained()
	r.verify()
	r.report(fmt.Sprintf("one slot, %d restarts", restarts))
}
