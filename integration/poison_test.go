//go:build unix

package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/pgtest"
)

// A job that takes its worker down does so three times, then fails as "worker lost", its body kept. The 15 jobs that
// ran beside it succeed.
func TestPoisonJobIsBuried(t *testing.T) {
	t.Parallel()
	t.Run("without a status store", func(t *testing.T) { testPoison(t, workerConfig{}) })
	t.Run("with one", func(t *testing.T) {
		r := testPoison(t, workerConfig{Database: pgtest.Server(t).URL()})
		var state, reason string
		var crashes int
		row := r.db.QueryRow(`SELECT state, error, crashes FROM worker_jobs WHERE id = 'poison'`)
		require.NoError(t, row.Scan(&state, &reason, &crashes))
		require.Equal(t, "failed", state)
		require.Contains(t, reason, "worker lost")
		require.Equal(t, mayKill, crashes)
	})
}

const mayKill = 3 // workers, by default

func testPoison(t *testing.T, cfg workerConfig) *rig {
	const neighbours = 15
	cfg.Concurrency, cfg.Lease = neighbours+1, time.Second
	r, _ := newRig(t, cfg)
	r.enqueue(append(r.jobs(neighbours, "neighbour", nap(700, 700)),
		r.job("poison", task{Do: deedPoison, Millis: 350}))...)
	r.fleet.mayDie = true
	for range 2 {
		r.fleet.start()
	}
	deaths := 0
	r.await("the poison job to be buried", func() bool {
		for len(r.fleet.living()) < 2 {
			deaths++
			r.fleet.start()
		}
		return slices.Contains(r.members(prefix("default")+"dead"), "poison")
	})
	r.awaitDrained()
	r.verify()
	require.Equal(t, mayKill, deaths)
	poisoned := r.fleet.hist.count(func(e event) bool { return e.Op == opStart && e.Job == "poison" })
	require.Equal(t, mayKill, poisoned)
	buried := r.field(prefix("default")+"history", "poison")
	require.Regexp(t, fmt.Sprintf(`^0 %d f .*worker lost`, mayKill), buried)
	require.Contains(t, r.field(prefix("default")+"jobs", "poison"), string(deedPoison))
	r.report("a job that kills its worker, among 15 others")
	return r
}
