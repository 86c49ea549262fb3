package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// One job that cannot be reopened keeps none of the others from it, and the error tells of it.
func TestRequeueDeadGoesOnAfterWhatCannotBeReopened(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) }).start()
		unique := worker.UniqueBy("one", worker.UniquePolicy{})
		const taken, large, refused = "00-taken", "00-large", "00-refused" // the first ones of all that died at the same moment
		r.enqueue(1, unique, worker.WithID(taken))
		r.enqueue(123456789, worker.WithID(large))
		r.enqueue(1, worker.WithID(refused))
		for n := range 247 {
			r.enqueue(n)
		}
		r.after(time.Minute)
		r.stop()
		require.Equal(t, 250, r.queue.Count("default", worker.PlaceDead))
		holder := r.enqueue(1, unique).ID
		client, err := worker.NewClient(worker.Backend{Queue: r.queue, StatusStore: r.store, MaxPayload: len(`{"n":12345}`)})
		require.NoError(t, err)
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].JobID == refused {
				return worker.Permanent(errFlaky)
			}
			return nil
		}

		for _, want := range []int{247, 0} {
			n, err := client.RequeueDead(t.Context(), "default", nil)
			require.Equal(t, want, n)
			var duplicate *worker.DuplicateError
			require.ErrorAs(t, err, &duplicate)
			require.Equal(t, holder, duplicate.Holder)
			require.ErrorContains(t, err, fmt.Sprintf("%q", taken))
			require.ErrorContains(t, err, fmt.Sprintf("%q", large))
			require.ErrorContains(t, err, fmt.Sprintf("%q", refused))
		}
		require.Equal(t, 3, r.queue.Count("default", worker.PlaceDead))
	})
}

// The error is one that people can read, however many jobs it is about.
func TestRequeueDeadTellsOfSomeJobs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) }).start()
		for range 150 {
			r.enqueue(123456789)
		}
		r.after(time.Minute)
		r.stop()
		client, err := worker.NewClient(worker.Backend{Queue: r.queue, MaxPayload: 3})
		require.NoError(t, err)
		n, err := client.RequeueDead(t.Context(), "default", nil)
		require.Zero(t, n)
		require.Equal(t, 10, strings.Count(err.Error(), "the limit is 3"))
	})
}

// What isn't one job's fault ends the call, with what is under way.
func TestRequeueDeadEndsWithTheQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) }).start()
		for n := range 250 {
			r.enqueue(n)
		}
		r.after(time.Minute)
		r.stop()
		var calls atomic.Int64
		r.queue.Fault = func(_ context.Context, call string) error {
			if call != "DrawToken" {
				return nil
			}
			if calls.Add(1) > 50 {
				return errFlaky
			}
			return nil
		}
		n, err := r.pool.Client().RequeueDead(t.Context(), "default", nil)
		require.ErrorIs(t, err, errFlaky)
		require.Equal(t, 50, n)
		require.LessOrEqual(t, calls.Load(), int64(50+16))
		r.queue.Fault = nil
		n, err = r.pool.Client().RequeueDead(t.Context(), "default", nil)
		require.NoError(t, err)
		require.Equal(t, 200, n)
	})
}

// slowQueue is a queue whose calls take a second.
type slowQueue struct{ *workertest.MemoryQueue }

func (q slowQueue) MarkCanceled(ctx context.Context, queue, id string) (worker.CancelMark, error) {
	time.Sleep(time.Second)
	return q.MemoryQueue.MarkCanceled(ctx, queue, id)
}

func TestPurgeDeletesSeveralJobsAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = slowQueue{c.Queue.(*workertest.MemoryQueue)} })
		for n := range 320 {
			r.enqueue(n)
		}
		start := time.Now()
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceWaiting, nil)
		require.NoError(t, err)
		require.Equal(t, 320, n)
		require.LessOrEqual(t, time.Since(start), 40*time.Second)
		require.GreaterOrEqual(t, time.Since(start), 20*time.Second, "no more than 16 at a time")
	})
}

// match is the host's, and need not be safe for concurrent use.
func TestPurgeAsksAboutOneJobAfterAnother(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		for n := range 250 {
			r.enqueue(n)
		}
		asked := make(map[string]int)
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceWaiting, func(info *worker.JobInfo) bool {
			asked[info.ID]++
			var p ping
			return json.Unmarshal(info.Job.Payload, &p) == nil && p.N%2 == 0
		})
		require.NoError(t, err)
		require.Equal(t, 125, n)
		require.Len(t, asked, 250)
		require.Equal(t, 125, r.queue.Count("default", worker.PlaceWaiting))
	})
}

// A store of a test may end the goroutine that calls it, as FailNow does. Purge returns all the same.
func TestPurgeOutlivesACallThatNeverReturns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		for i := range 40 {
			r.enqueue(i)
		}
		r.store.Fault = func(context.Context, []worker.Status) error { runtime.Goexit(); return nil }
		n, _ := r.pool.Client().Purge(t.Context(), worker.DefaultQueue, worker.PlaceWaiting, nil)
		require.Zero(t, n)
	})
}
