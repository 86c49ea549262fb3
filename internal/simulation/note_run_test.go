package simulation

import (
	"cmp"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

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
				if e.Text == "release" && e.Token/history.TokensPerMilli != cut { // else perhaps claimed on the connection that was lost then
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

// The history has each edit that was executed, with its token and the payload since, also when its reply was lost or its
// connection ended as Redis was at it. One that was not executed has none.
func TestTheWireTellsOfEdits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &plan{lease: 10 * time.Second, sweep: 10 * time.Second, pools: []int{4}})
		w.spawn(setupSlot)
		synctest.Wait()
		host, o := w.process(setupSlot), &order{id: "edited-0", kind: edited, delay: time.Hour}
		w.plan.orders = []*order{o}
		require.NoError(t, host.client().EnqueueMany(context.Background(), o.job()))
		w.edit(o, setupSlot, 0)
		host.wire.lose("edit")
		w.edit(o, setupSlot, 0) // twice, as the first answer is lost
		err := host.client().Edit(context.Background(), "nobody's", func(*worker.Job) error { return nil })
		require.ErrorIs(t, err, worker.ErrJobNotFound)
		var once sync.Once
		w.redis.mini.Server().SetPreHook(func(_ *server.Peer, name string, args ...string) bool {
			if w.redis.stepOf(append([]string{name}, args...)) == "edit" {
				once.Do(host.wire.cut)
			}
			return false
		})
		w.edit(o, setupSlot, 0) // again and again
		w.stopAll()
		w.tasks.Wait()
		w.remains.Wait()
		w.redis.mini.Close()

		var sums []uint32
		var last int64
		for _, e := range w.events.Events() {
			if e.Op == history.OpEdited {
				assert.Greater(t, e.Token, last)
				last, sums = e.Token, append(sums, e.Sum)
			}
		}
		require.GreaterOrEqual(t, len(sums), 4)
		assert.Equal(t, []uint32{
			history.Sum(o.payload(1)), history.Sum(o.payload(1, 2)), history.Sum(o.payload(1, 2, 3)),
			history.Sum(o.payload(1, 2, 3, 4)),
		}, sums[:4])
		assert.Len(t, sums, 5, "one is executed of those behind the cut, some of which may have found a connection that had ended")
		assert.Empty(t, w.wrong)
		assert.Empty(t, w.overwritten())
	})
}

// Two edits that were made of the same job are noticed: the second one has undone the first.
func TestEditsThatUndoOthersAreNoticed(t *testing.T) {
	w := &world{t: t, memory: make(map[string]*memory)}
	o, scribe := &order{id: "edited-0", kind: edited}, history.NewScribe("p1", &w.events, time.Now)
	job := o.job()
	first, other := w.another(o, job, 1), w.another(o, job, 2)
	made := func(token int64, payload []byte) {
		scribe.Write(history.Event{Op: history.OpEdited, Job: o.id, Token: token, Sum: history.Sum(payload)})
	}
	made(10, first)
	made(12, first) // it was made to run now
	job.Payload = first
	made(14, w.another(o, job, 3))
	require.Empty(t, w.overwritten())
	made(13, other)
	require.Len(t, w.overwritten(), 2)
}
