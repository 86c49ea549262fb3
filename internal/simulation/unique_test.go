package simulation

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// count notes what became of a unique job that was not enqueued under its own id.
func (w *world) count(o *order, duplicate, replaced bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.met == nil {
		w.met = make(map[kind]int)
	}
	switch {
	case duplicate:
		w.met[o.kind]++
	case replaced:
		w.met[replacedKind]++
	}
}

// replacedKind stands for the jobs that took another's place.
const replacedKind kind = "replaced"

// alone blames a job that starts while another one of its key runs, by the rows. Keys are taken for a day, which no
// simulation takes, so only a key that was freed too early lets two in.
func (w *world) alone(st *worker.Status) {
	if st.Job == nil || st.Job.Unique == nil || st.Job.Unique.Until != worker.UntilFinal {
		return
	}
	for _, o := range w.plan.orders {
		if o.id == st.JobID || o.unique == nil || o.unique.Key != st.Job.Unique.Key {
			continue
		}
		if w.stateOf(o.id) == worker.StateRunning {
			w.blame("job %s started while %s ran, with the same unique key", st.JobID, o.id)
		}
	}
}

// entry is when a unique job came into the queue, as its producer knows it: between its first call and the answer.
type entry struct{ asked, told time.Time }

// entered blames a job that its producer was told is in, when another one kept the key all the while.
func (w *world) entered(o *order, asked time.Time) {
	if o.unique == nil {
		return
	}
	here, others := entry{asked, time.Now()}, make(map[*order]entry)
	w.mu.Lock()
	for _, other := range w.plan.orders {
		if e, in := w.entries[other.id]; in && other != o && other.unique != nil && other.unique.Key == o.unique.Key {
			others[other] = e
		}
	}
	if w.entries == nil {
		w.entries = make(map[string]entry)
	}
	w.entries[o.id] = here
	w.mu.Unlock()
	for other, e := range others {
		switch {
		case o.unique.Until == worker.ForPeriod:
			if first, last := earlier(e.asked, here.asked), here.told; last.Sub(first) < o.unique.For && !w.plan.movesClock() {
				w.blame("jobs %s and %s came within %v, with the same unique key", other.id, o.id, last.Sub(first))
			}
		case w.keepsKey(other) && w.keepsKey(o):
			w.blame("job %s came in while %s had the same unique key", o.id, other.id)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// movesClock reports whether Redis's clock, by which periods end, is off at times.
func (p *plan) movesClock() bool {
	return slices.ContainsFunc(p.faults, func(f *fault) bool { return f.kind == clock })
}

// keepsKey reports whether a job that is in the queue has its key yet, by its row: the final one, or any that a claim has
// saved, is there before the key is freed.
func (w *world) keepsKey(o *order) bool {
	row := w.rowOf(o.id)
	return row != nil && !row.State.Final() && (o.unique.Until == worker.UntilFinal || row.Token() == 0)
}

// What has come in while another job kept its key is noticed; what came when that was free is not.
func TestKeysThatLetTwoInAreNoticed(t *testing.T) {
	queued, running := worker.Status{State: worker.StateQueued}, worker.Status{State: worker.StateRunning, Version: 1 << 32}
	over := worker.Status{State: worker.StateSucceeded, Version: 1 << 32}
	for name, c := range map[string]struct {
		unique worker.UniquePolicy
		first  worker.Status // of the one that came first, when the other one comes
		wait   time.Duration
		blamed bool
	}{
		"final, waits":   {worker.UniquePolicy{}, queued, 0, true},
		"final, runs":    {worker.UniquePolicy{}, running, 0, true},
		"final, over":    {worker.UniquePolicy{}, over, 0, false},
		"started, waits": {worker.UniquePolicy{Until: worker.UntilStarted}, queued, 0, true},
		"started, runs":  {worker.UniquePolicy{Until: worker.UntilStarted}, running, 0, false},
		"started, over":  {worker.UniquePolicy{Until: worker.UntilStarted}, over, 0, false},
		"period, soon":   {worker.UniquePolicy{Until: worker.ForPeriod, For: period}, over, period - 1, true},
		"period, later":  {worker.UniquePolicy{Until: worker.ForPeriod, For: period}, over, period, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &worker.Unique{Key: "key", UniquePolicy: c.unique}
				first, second, plain := &order{id: "first", unique: u}, &order{id: "second", unique: u}, &order{id: "plain"}
				other := &order{id: "other", unique: &worker.Unique{Key: "another", UniquePolicy: c.unique}}
				w := &world{t: t, began: time.Now(), rows: workertest.NewStatusStore(),
					plan: &plan{orders: []*order{first, second, plain, other}}}
				for _, o := range []*order{plain, other, first} {
					w.row(o, c.first)
					w.entered(o, time.Now())
				}
				require.Empty(t, w.wrong)
				time.Sleep(c.wait)
				w.row(second, queued)
				w.entered(second, time.Now())
				require.Equal(t, c.blamed, len(w.wrong) > 0, w.wrong)
			})
		})
	}
}

func (w *world) row(o *order, st worker.Status) {
	st.JobID, st.Type, st.Queue = o.id, "t", "default"
	saved, err := w.rows.Save(context.Background(), st)
	require.NoError(w.t, err)
	require.True(w.t, saved[0].OK)
}

// stays are the keys of a queue that may be left when no job waits or runs any more. Of those with job ids in them only
// what is kept of dead jobs may.
var stays = []func(key string, expires bool) bool{
	func(key string, _ bool) bool {
		return key == "token" || key == "wake" || key == "dead" || key == "ticks" || strings.HasSuffix(key, ":queues") // the names of all queues
	},
	func(key string, expires bool) bool {
		return (key == "rates" || strings.HasPrefix(key, "overtaking:")) && expires
	},
	func(key string, expires bool) bool {
		return strings.HasPrefix(key, "unique:"+string(seldom)) && expires
	},
}

// keptOfDead are the hashes by job id that dead jobs have a part in.
var keptOfDead = map[string]bool{"jobs": true, "history": true, "checkpoints": true}

// leaks blames whatever is left in Redis and may not be: nobody would ever take it away.
func (w *world) leaks() {
	dead := make(map[string]bool)
	for _, id := range w.redisLeft.Keys["dead"] {
		dead[id] = true
	}
	w.direct(func(ctx context.Context, c *inspector) {
		names, err := c.client.Do(ctx, c.client.B().Keys().Pattern("*").Build()).AsStrSlice()
		if err != nil {
			w.blame("inspect: %v", err)
		}
		for _, name := range names {
			key := strings.TrimPrefix(name, prefix)
			if keptOfDead[key] {
				for _, id := range w.redisLeft.Keys[key] {
					if !dead[id] {
						w.blame("job %s is left in %s", id, key)
					}
				}
				continue
			}
			ttl, err := c.client.Do(ctx, c.client.B().Pttl().Key(name).Build()).AsInt64()
			if err != nil {
				w.blame("inspect: %v", err)
			}
			if gone := ttl == -2; !gone && !mayStay(key, ttl > 0) {
				w.blame("%s is left in Redis, with %v", name, w.redisLeft.Keys[key])
			}
		}
	})
}

// meetings counts, over all seeds, what unique jobs met.
type meetings struct{ sums[kind] }

func (m *meetings) add(w *world) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.sums.add(w.met)
}

// judge fails the test when there was nothing of a kind: uniqueness was not tried then.
func (m *meetings) judge(t *testing.T, seeds uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.Logf("unique jobs that were turned away, and replaced: %v", m.counts)
	for _, kind := range []kind{sole, fresh, seldom, replacedKind} {
		if m.counts[kind] == 0 && seeds >= defaultSeeds {
			t.Errorf("no job of kind %s met another one of its key", kind)
		}
	}
}

func mayStay(key string, expires bool) bool {
	for _, may := range stays {
		if may(key, expires) {
			return true
		}
	}
	return false
}
