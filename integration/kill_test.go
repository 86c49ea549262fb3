package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A worker that is killed with 1,000 jobs under way loses none: one that starts after it finishes them all, and so does
// one that was there before and has 1,000 of its own.
func TestKilledWorkerLosesNothing(t *testing.T) {
	const n = 1000
	t.Run("heir starts after", func(t *testing.T) {
		r, _ := newRig(t, workerConfig{Concurrency: n})
		r.enqueue(r.jobs(n, "job", hold)...)
		victim := r.fleet.start()
		r.await("all jobs to be under way", func() bool { return r.fleet.hist.started(victim.name) == n })
		victim.kill()
		r.fleet.start().open()
		r.awaitDrained()
		r.verify()
		require.Equal(t, 2*n, r.starts())
	})
	t.Run("heir is there before", func(t *testing.T) {
		r, _ := newRig(t, workerConfig{Concurrency: n})
		victim, heir := r.fleet.start(), r.fleet.start()
		r.enqueue(r.jobs(2*n, "job", hold)...)
		r.await("all jobs to be under way", func() bool {
			return r.fleet.hist.started(victim.name) == n && r.fleet.hist.started(heir.name) == n
		})
		victim.kill()
		heir.open()
		r.awaitDrained()
		r.verify()
		require.Equal(t, 3*n, r.starts())
	})
}

// 60 workers die in the middle of 20,000 jobs. Each job succeeds, once.
func TestManyDeaths(t *testing.T) {
	t.Run("with a status store", func(t *testing.T) { testManyDeaths(t, 20_000, 60, true) })
	t.Run("without", func(t *testing.T) { testManyDeaths(t, 4_000, 12, false) })
}

func testManyDeaths(t *testing.T, jobs, kills int, stored bool) {
	const alive = 4
	r, _ := newRig(t, workerConfig{Concurrency: 10, MaxCrashes: kills + 1, Lease: time.Second, Stored: stored})
	began := time.Now()
	r.enqueue(r.jobs(jobs, "job", nap(0, 100))...)
	for range alive {
		r.fleet.start()
	}
	for _, limit := range killMoments(kills, jobs) {
		r.await("jobs to be settled", func() bool {
			n, err := r.unsettled()
			return err == nil && n <= limit
		})
		living := r.fleet.living()
		living[rand.IntN(len(living))].kill()
		r.fleet.start()
	}
	r.awaitDrained()
	took := time.Since(began)
	r.verify()
	t.Logf("%d jobs, %d kills, %d extra starts, longest recovery %v, %v in all", jobs, kills, r.starts()-jobs,
		longestRecovery(r.checker).Round(time.Millisecond), took.Round(time.Millisecond))
}

// killMoments are random, but in the busy part of the test: how many jobs are left when each worker dies.
func killMoments(kills, jobs int) []int {
	moments := make([]int, kills)
	for i := range moments {
		moments[i] = jobs/20 + rand.IntN(jobs*9/10)
	}
	slices.Sort(moments)
	slices.Reverse(moments)
	return moments
}

// longestRecovery is the longest time from a worker's death to the next start of a job that it was running.
func longestRecovery(c *checker) (longest time.Duration) {
	f := c.fates()
	for _, s := range c.stories() {
		for i := 1; i < len(s.runs); i++ {
			before := s.runs[i-1]
			if end := f.end[before.start.Proc]; end != 0 && before.finish == nil {
				longest = max(longest, time.Duration(s.runs[i].start.At-end))
			}
		}
	}
	return longest
}

// A job that takes its worker down does so three times, then fails as "worker lost", its body kept. The 15 jobs that
// ran beside it succeed.
func TestPoisonJobIsBuried(t *testing.T) {
	const neighbours, mayKill = 15, 3
	r, _ := newRig(t, workerConfig{Concurrency: neighbours + 1})
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
}
