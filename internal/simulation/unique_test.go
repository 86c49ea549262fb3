package simulation

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/real-staging-ai/go-worker"
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

// stays are the keys of a queue that may be left when no job waits or runs any more. Of those with job ids in them only
// what is kept of dead jobs may.
var stays = []func(key string, expires bool) bool{
	func(key string, _ bool) bool {
		return key == "token" || key == "wake" || key == "dead" || strings.HasSuffix(key, ":queues") // the names of all queues
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
type meetings struct {
	mu     sync.Mutex
	counts map[kind]int
}

func (m *meetings) add(w *world) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = make(map[kind]int)
	}
	for kind, n := range w.met {
		m.counts[kind] += n
	}
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
