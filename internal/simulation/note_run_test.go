package simulation

import (
	"cmp"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/history"
)

const tokensPerMilli = 250 // of Redis's clock

// The history has the claim whose reply was lost, that it was given back, and each verdict that was executed once, also when
// its reply was lost.
func TestTheWireTellsWhatRedisExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &plan{lease: 10 * time.Second, sweep: 10 * time.Second, pools: []int{4}})
		host := newProcess(w, setupSlot, 1)
		host.produce()
		w.plan.orders = []*order{{id: "one", kind: quick}, {id: "two", kind: bad}}
		w.spawn(workerSlot(0))
		synctest.Wait() // it waits for jobs
		w.process(workerSlot(0)).wire.lose("claim")
		w.process(workerSlot(0)).wire.lose("settle")
		require.NoError(t, host.client().EnqueueMany(context.Background(), w.plan.orders[0].job(), w.plan.orders[1].job()))
		w.drain()
		w.stopAll()
		_ = host.stop()
		w.end()

		lost, ended := make(map[string][]int64), make(map[string][]string)
		var cut int64 // when the reply to the first settle was lost, in ms
		for _, e := range w.events.Events() {
			switch e.Op {
			case history.OpClaimLost:
				lost[e.Job] = append(lost[e.Job], e.Token)
			case history.OpSettle:
				cut = cmp.Or(cut, e.At/1e6)
				if e.Text == "release" && e.Token/tokensPerMilli != cut { // else perhaps claimed on the connection that was lost then
					assert.Contains(t, lost[e.Job], e.Token, "%s: what was given back is what was lost", e.Job)
				}
				if e.Text == "release" {
					continue
				}
				ended[e.Job] = append(ended[e.Job], e.Text)
				for _, token := range lost[e.Job] {
					assert.Greater(t, e.Token, token)
				}
			}
		}
		assert.Len(t, lost, 2)
		assert.Equal(t, map[string][]string{"one": {"complete"}, "two": {"f"}}, ended)
	})
}
