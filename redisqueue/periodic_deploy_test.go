package redisqueue_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// shortTicks is for how many ticks these fleets live.
const shortTicks = 400

// Fleets that need not make up for missed ticks run none twice, and there is no long time without a tick, though all of the
// fleet is killed again and again.
func TestTicksThatMayBeMissedRunOnceWhoeverIsKilled(t *testing.T) {
	for _, missed := range []worker.MissedPolicy{worker.MissedSkip, worker.MissedOnce} {
		t.Run(missed.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				f := newFleet(t, s, workertest.NewStatusStore(), missed)
				f.sail(shortTicks / 2)
				ticks := f.ran()
				t.Logf("%d ticks", len(ticks))
				require.Less(t, f.begun.Add(shortTicks/2*100*time.Millisecond), ticks[len(ticks)-1])
				last := f.begun
				for _, tick := range ticks {
					require.Equal(t, tick, tick.Truncate(100*time.Millisecond))
					require.Less(t, tick.Sub(last), 15*time.Second)
					last = tick
				}
			})
		})
	}
}

// every150ms shares each third tick with every100ms.
type every150ms struct{}

func (every150ms) Next(t time.Time) time.Time {
	const step = 150 * time.Millisecond
	return t.Truncate(step).Add(step)
}

// A deployment with another schedule: no tick of either runs twice, none of the old one is lost before it, and none of the
// new one after it.
func TestTicksWhileTheScheduleChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		f := newFleet(t, s, workertest.NewStatusStore(), worker.MissedAll)
		f.deploy, f.newer = 20*time.Second, f.older
		f.newer.Schedule = every150ms{}
		f.sail(shortTicks)
		const settles = 10 * time.Second // what was missed is made up for
		f.each(every100ms{}, 0, f.deploy-settles)
		f.each(every150ms{}, f.deploy+deploying+settles, shortTicks*100*time.Millisecond)
		for _, tick := range f.ran() {
			require.True(t, tick.Equal(tick.Truncate(100*time.Millisecond)) || tick.Equal(tick.Truncate(150*time.Millisecond)), tick)
		}
	})
}

// A deployment with another queue: with a status store each tick runs once, on the one or the other. But what none of the
// old replicas lives to enqueue is lost, as the new ones begin anew.
func TestTicksWhileTheQueueChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		f := newFleet(t, s, workertest.NewStatusStore(), worker.MissedAll)
		f.deploy, f.newer, f.gently = 20*time.Second, f.older, true
		f.newer.Options = []worker.JobOption{worker.OnQueue("moved")}
		f.sail(shortTicks)
		f.each(every100ms{}, 0, shortTicks*100*time.Millisecond)
	})
}

// ran returns the ticks that ran, in their order.
func (f *fleet) ran() (ticks []time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.runs {
		tick, ok := worker.TickOf(&worker.Job{ID: id})
		require.True(f.t, ok, id)
		ticks = append(ticks, tick)
	}
	slices.SortFunc(ticks, time.Time.Compare)
	return ticks
}
