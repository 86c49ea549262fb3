package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// points writes a metric's points down, one a line: its attributes, and what was counted or measured.
func points(m metricdata.Metrics) (lines []string) {
	switch d := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			lines = append(lines, fmt.Sprintf("%s %d", attrsIn(p.Attributes), p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			lines = append(lines, fmt.Sprintf("%s %d", attrsIn(p.Attributes), p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			lines = append(lines, fmt.Sprintf("%s %.6g", attrsIn(p.Attributes), p.Value))
		}
	case metricdata.Histogram[int64]:
		for _, p := range d.DataPoints {
			lines = append(lines, fmt.Sprintf("%s n=%d sum=%d", attrsIn(p.Attributes), p.Count, p.Sum))
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			lines = append(lines, fmt.Sprintf("%s n=%d sum=%.6g", attrsIn(p.Attributes), p.Count, p.Sum))
		}
	}
	slices.Sort(lines)
	return lines
}

// attrsIn are the values of a point's attributes, by their names' order.
func attrsIn(set attribute.Set) string {
	var values []string
	for _, kv := range set.ToSlice() {
		values = append(values, kv.Value.String())
	}
	return strings.Join(values, " ")
}

// bounds are those of each histogram.
func bounds(all map[string]metricdata.Metrics) map[string][]float64 {
	got := make(map[string][]float64)
	for name, m := range all {
		switch d := m.Data.(type) {
		case metricdata.Histogram[int64]:
			got[name] = d.DataPoints[0].Bounds
		case metricdata.Histogram[float64]:
			got[name] = d.DataPoints[0].Bounds
		}
	}
	return got
}

// Calls of the script's backends take so long.
const (
	enqueueTakes = 5 * time.Millisecond
	claimTakes   = 2 * time.Millisecond
	settleTakes  = 40 * time.Millisecond
	saveTakes    = 20 * time.Millisecond
)

// scripted is a run of which is known to the millisecond what happens. It returns what is told while jobs wait, and in the
// end.
func scripted(t *testing.T, rec *recorded) (waiting, end map[string]metricdata.Metrics) {
	t.Helper()
	free, held := make(chan struct{}), make(chan struct{})
	q := &renewing{}
	r := newRig(t, func(ctx context.Context, job *worker.Job, p ping) error {
		switch {
		case p.N == 1 && job.Attempt == 1:
			time.Sleep(3 * time.Second)
			return worker.RetryAfter(10*time.Second, errFlaky)
		case p.N == 2:
			time.Sleep(700 * time.Second)
			return worker.Permanent(errFlaky)
		case p.N == 3 && job.Crashes == 0:
			<-ctx.Done() // loses its lease
			return ctx.Err()
		case p.N == 4:
			<-free // ignores the end of its context
		case p.N == 5:
			<-held
		default:
			time.Sleep(time.Duration(p.N) * time.Second)
		}
		return nil
	}, rec.by, func(c *worker.Config) {
		q.MemoryQueue = c.Queue.(*workertest.MemoryQueue)
		c.Queue, c.SweepInterval = q, -1
	})
	var refuse, deaf atomic.Bool
	r.queue.Fault = func(_ context.Context, call string) error {
		switch call {
		case "Enqueue":
			time.Sleep(enqueueTakes)
			if refuse.Load() {
				return errFlaky
			}
		case "Claim":
			time.Sleep(claimTakes)
		case "Settle":
			time.Sleep(settleTakes)
		}
		return nil
	}
	r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
		if statuses[0].State != worker.StateRunning { // how many starts share a call is chance
			time.Sleep(saveTakes)
		}
		return nil
	}
	r.told.Fault = func(context.Context, []worker.Status) error {
		if deaf.Load() {
			time.Sleep(100 * time.Millisecond)
			return errFlaky
		}
		return nil
	}
	many := func(seconds ...int) {
		jobs := make([]*worker.Job, len(seconds))
		for i, n := range seconds {
			var err error
			jobs[i], err = worker.NewJob(ping{n})
			require.NoError(t, err)
		}
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), jobs...))
		r.after(time.Minute)
	}
	r.enqueue(14)
	r.enqueue(15)
	dead, err := r.queue.Consume(t.Context(), "default", worker.ConsumeOptions{})
	require.NoError(t, err)
	_, err = dead.Claim(t.Context(), worker.ClaimOptions{Limit: 2})
	require.NoError(t, err)
	r.start()
	r.after(time.Minute)
	r.queue.Crash(dead) // the pool recovers both
	r.after(time.Minute)

	refuse.Store(true)
	_, err = r.pool.Client().Enqueue(t.Context(), ping{0})
	require.ErrorIs(t, err, errFlaky)
	refuse.Store(false)

	many(10)      // 10 s
	many(1)       // 3 s that fail, and 1 s ten seconds later
	many(7, 8, 9) // one claim
	r.enqueue(2)  // fails after 700 s
	r.after(13 * time.Minute)

	q.told(nil)
	q.told(nil)
	q.told(errFlaky)
	r.enqueue(3)
	r.after(time.Second)
	r.queue.Crash(r.queue.Consumers("default")[0])
	r.after(10 * time.Minute) // another session takes it over, and it runs for 3 s

	deaf.Store(true)
	many(6, 11, 12, 13)
	deaf.Store(false)
	r.after(10 * time.Minute)

	r.enqueue(4, worker.Timeout(time.Second), worker.MaxAttempts(1))
	r.after(time.Minute)
	close(free)

	many(5, 5, 5, 5)
	many(16, 17)
	r.enqueue(0, worker.After(time.Hour))
	r.after(time.Minute)
	rec.metrics(t) // the pool takes samples from now on
	r.after(30 * time.Second)
	waiting = rec.metrics(t)
	for range 4 { // one after the other, so that each is settled alone
		held <- struct{}{}
		r.after(time.Minute)
	}
	r.stop()
	return waiting, rec.metrics(t)
}

// While jobs wait. The age is that of the last sample, 1.2 s before.
var gaugesOfTheScript = map[string][]string{
	"worker.pool.active": {
		" 4",
	},
	"worker.pool.slots": {
		" 4",
	},
	"worker.queue.depth": {
		"default dead 2",
		"default running 4",
		"default scheduled 1",
		"default waiting 2",
	},
	"worker.queue.oldest.age": {
		"default 148.775",
	},
	"worker.queue.workers": {
		"default 1",
	},
	"worker.queue.paused": {
		"default 0",
	},
}

// In the end. A job that nobody has claimed before waits for its save, its push and its claim: 27 ms.
var countsOfTheScript = map[string][]string{
	"messaging.client.consumed.messages": {
		"default receive redis 22",
	},
	"messaging.client.operation.duration": {
		"_OTHER default send send redis n=1 sum=0.025",
		"default receive receive redis n=13 sum=0.026",
		"default send send redis n=12 sum=0.3",
		"default settle settle redis n=21 sum=0.84",
	},
	"messaging.client.sent.messages": {
		"default send redis 21",
	},
	"messaging.process.duration": {
		"_OTHER default process redis retrying ping n=1 sum=3",
		"abandoned default process redis failed ping n=1 sum=6.298",
		"default process redis succeeded ping n=18 sum=1342.19",
		"lease_lost default process redis lost ping n=1 sum=10.998",
		"permanent default process redis failed ping n=1 sum=700",
	},
	"worker.claim.size": {
		"default n=13 sum=22",
	},
	"worker.job.finished": {
		"_OTHER default retrying ping 1",
		"abandoned default failed ping 1",
		"default succeeded ping 18",
		"lease_lost default lost ping 1",
		"permanent default failed ping 1",
	},
	"worker.job.retries": {
		"default ping 1",
	},
	"worker.job.wait.duration": {
		"default ping n=19 sum=316.594",
	},
	"worker.jobs.abandoned": {
		"default 1",
	},
	"worker.jobs.recovered": {
		"default 2",
	},
	"worker.lease.lost": {
		"default 1",
	},
	"worker.lease.renewals": {
		"default error 1",
		"default ok 2",
	},
	"worker.notify.dropped": {
		" 12",
	},
	"worker.status.lag": {
		"default n=43 sum=0.42",
	},
}

var boundsOfTheScript = map[string][]float64{
	"messaging.process.duration":          {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600},
	"worker.job.wait.duration":            {.001, .005, .025, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400},
	"messaging.client.operation.duration": {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	"worker.status.lag":                   {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	"worker.claim.size":                   {1, 2, 5, 10, 20, 50, 100, 200, 500},
}

// Units are easily wrong by a thousand, and counts by one: of each metric all that a run tells is asserted.
func TestMetricsSayHowMuchAndHowLong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		waiting, end := scripted(t, record())
		for name, want := range gaugesOfTheScript {
			assert.Equal(t, want, points(waiting[name]), name)
		}
		got := make(map[string][]string)
		for name, m := range end {
			got[name] = points(m)
		}
		assert.Equal(t, countsOfTheScript, got)
		assert.Equal(t, boundsOfTheScript, bounds(end))
	})
}
