package worker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// serving makes a pool of some queues with slots of its own.
func serving(slots int, queues map[string]worker.QueueConfig) func(*worker.Config) {
	return func(c *worker.Config) { c.Concurrency, c.Queues = slots, queues }
}

func (r *rig) setQueue(name string, cfg worker.QueueConfig) {
	r.t.Helper()
	require.NoError(r.t, r.pool.SetQueue(r.t.Context(), name, cfg))
}

func (r *rig) removeQueue(name string) {
	r.t.Helper()
	require.NoError(r.t, r.pool.RemoveQueue(r.t.Context(), name))
}

// tally counts the jobs that ran, by queue, and the slots they hold.
type tally struct {
	mu            sync.Mutex
	ran           map[string]int
	running, most map[string]int
}

func newTally() *tally {
	return &tally{ran: make(map[string]int), running: make(map[string]int), most: make(map[string]int)}
}

// handler runs jobs that take as many milliseconds as they say.
func (y *tally) handler(_ context.Context, job *worker.Job, p ping) error {
	y.mu.Lock()
	y.running[job.Queue]++
	y.most[job.Queue] = max(y.most[job.Queue], y.running[job.Queue])
	y.mu.Unlock()
	time.Sleep(time.Duration(p.N) * time.Millisecond) // the bubble's clock
	y.mu.Lock()
	defer y.mu.Unlock()
	y.running[job.Queue]--
	y.ran[job.Queue]++
	return nil
}

// take returns how many jobs of each queue ran since the last call.
func (y *tally) take() map[string]int {
	y.mu.Lock()
	defer y.mu.Unlock()
	ran := y.ran
	y.ran = make(map[string]int)
	return ran
}

// load enqueues n jobs that take ms milliseconds each.
func (r *rig) load(queue string, n, ms int) []*worker.Job {
	r.t.Helper()
	jobs := make([]*worker.Job, n)
	for i := range jobs {
		var err error
		jobs[i], err = worker.NewJob(ping{ms}, worker.OnQueue(queue))
		require.NoError(r.t, err)
	}
	require.NoError(r.t, r.pool.Client().EnqueueMany(r.t.Context(), jobs...))
	return jobs
}

func TestAPoolsQueuesHaveTheirSharesOfTheSlots(t *testing.T) {
	tests := []struct {
		name       string
		most, long int // milliseconds that jobs of the two queues take
		limit      int // of the heavy one
		want       float64
	}{
		{"equal jobs", 10, 10, 0, .9},
		{"the light one is long", 10, 500, 0, .9},
		{"the heavy one is long", 500, 10, 0, .9},
		{"the heavy one has a limit", 10, 10, 4, .4},
	}
	for _, tt := range tests {
		inBubble(t, func(t *testing.T) {
			y := newTally()
			r := newRig(t, y.handler, withoutStore, serving(10, map[string]worker.QueueConfig{
				"heavy": {Weight: 9, Concurrency: tt.limit}, "light": {Weight: 1}}))
			r.load("heavy", 60_000/tt.most, tt.most)
			r.load("light", 60_000/tt.long*2, tt.long)
			r.start()
			r.after(5 * time.Second)
			ran := y.take()
			heavy, light := ran["heavy"]*tt.most, ran["light"]*tt.long
			assert.InEpsilon(t, tt.want, float64(heavy)/float64(heavy+light), .1, "%s: %v", tt.name, ran)
			if tt.limit > 0 {
				assert.Equal(t, tt.limit, y.most["heavy"])
			}
			r.stop()
		})
	}
}

func TestStrictPoolServesLowerQueuesWhenNothingElseWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, serving(2, map[string]worker.QueueConfig{"high": {Weight: 2}, "low": {}}),
			func(c *worker.Config) { c.Strict = true })
		r.load("low", 1000, 10)
		r.load("high", 20, 10)
		r.start()
		r.after(95 * time.Millisecond)
		assert.LessOrEqual(t, y.take()["low"], 2, "what is claimed runs on")
		r.after(time.Second)
		assert.Greater(t, y.take()["low"], 150, "nothing waits above")
		r.load("high", 100, 10)
		r.after(25 * time.Millisecond)
		y.take()
		r.after(400 * time.Millisecond)
		assert.Equal(t, map[string]int{"high": 80}, y.take())
		r.stop()
	})
}

// A queue that comes to have the weight of another one has equal shares from then on, whatever either had before.
func TestAStrictPoolsRanksForgetWhatWasBefore(t *testing.T) {
	for name, c := range map[string]struct {
		lowFirst, highThen time.Duration
		queue              string
		weight             int
	}{
		"raised":  {lowFirst: time.Minute, highThen: time.Second, queue: "low", weight: 10},
		"lowered": {highThen: 5 * time.Minute, queue: "high", weight: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				y := newTally()
				r := newRig(t, y.handler, withoutStore, serving(2, map[string]worker.QueueConfig{"high": {Weight: 10}, "low": {Weight: 1}}),
					func(c *worker.Config) { c.Strict = true })
				r.load("low", 4000, 100)
				r.start()
				defer r.stop()
				r.after(c.lowFirst)
				r.load("high", 10_000, 100)
				r.after(c.highThen)
				r.setQueue(c.queue, worker.QueueConfig{Weight: c.weight})
				y.take()
				r.after(time.Minute)
				ran := y.take()
				assert.InEpsilon(t, ran["low"], ran["high"], .05, "%v", ran)
			})
		})
	}
}

func TestQueuesChangeWhileThePoolRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		y := newTally()
		r := newRig(t, y.handler, withoutStore, serving(10, map[string]worker.QueueConfig{"a": {Weight: 9}})).start()
		r.load("a", 20_000, 10)
		r.load("b", 20_000, 10)
		r.after(time.Second)
		assert.Empty(t, y.take()["b"], "nobody serves it")

		r.setQueue("b", worker.QueueConfig{})
		r.after(time.Second)
		ran := y.take()
		assert.InEpsilon(t, .1, float64(ran["b"])/float64(ran["a"]+ran["b"]), .1, "added: %v", ran)

		r.setQueue("a", worker.QueueConfig{})
		r.after(time.Second)
		ran = y.take()
		assert.InEpsilon(t, .5, float64(ran["b"])/float64(ran["a"]+ran["b"]), .1, "another weight: %v", ran)

		r.setQueue("a", worker.QueueConfig{Concurrency: 1})
		r.after(20 * time.Millisecond)
		y.mu.Lock()
		y.most["a"] = 0
		y.mu.Unlock()
		r.after(time.Second)
		ran = y.take()
		assert.InEpsilon(t, .9, float64(ran["b"])/float64(ran["a"]+ran["b"]), .1, "a limit: %v", ran)
		assert.Equal(t, 1, y.most["a"])

		r.removeQueue("a")
		r.after(10 * time.Millisecond)
		y.take()
		r.after(time.Second)
		ran = y.take()
		assert.Zero(t, ran["a"], "removed")
		assert.Greater(t, ran["b"], 950, "the other one has all slots")
		r.stop()
	})
}
