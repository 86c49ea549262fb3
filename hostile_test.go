package worker_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"

	"github.com/real-staging-ai/go-worker"
)

// The tests here hold the pool to its promises beside handlers, stores and queues that misbehave.

func TestStoreOutageWithNothingToSaveIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		r := newRig(t, noop)
		r.store.Fault = func(context.Context, []worker.Status) error {
			if down.Load() {
				return errors.New("database is down")
			}
			return nil
		}
		job := r.enqueue(0)
		down.Store(true)
		r.start()
		r.after(20 * time.Second)
		assert.Equal(t, []worker.State{queued}, r.states(job.ID))
		down.Store(false)
		r.after(20 * time.Second)
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

func TestStoreThatComesBackWithARefusalIsBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var fault atomic.Value
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			if p.N == 0 {
				fault.Store(errFlaky)
				time.AfterFunc(time.Second, func() { fault.Store(worker.Permanent(errFlaky)) })
				time.AfterFunc(10*time.Second, func() { fault.Store(error(nilError{})) })
			}
			return nil
		}, func(c *worker.Config) { c.Concurrency = 1 })
		fault.Store(error(nilError{}))
		r.store.Fault = func(context.Context, []worker.Status) error {
			if err := fault.Load().(error); err != (nilError{}) { //nolint:errorlint // identity is meant
				return err
			}
			return nil
		}
		r.enqueue(0)
		other := r.enqueue(1)
		r.start()
		r.after(time.Minute)
		assert.Equal(t, succeeded, r.last(other.ID).State)
		r.stop()
	})
}

// nilError stands for no error, which an atomic.Value cannot hold.
type nilError struct{}

func (nilError) Error() string { return "none" }

func TestStoreThatPanicsForOneStatusHarmsNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		bad := r.enqueue(0)
		good := []*worker.Job{r.enqueue(1), r.enqueue(2), r.enqueue(3)}
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			for _, st := range statuses {
				if st.JobID == bad.ID {
					panic("cannot store this")
				}
			}
			return nil
		}
		r.start()
		r.after(time.Second)
		for _, job := range good {
			assert.Equal(t, succeeded, r.last(job.ID).State)
		}
		assert.Equal(t, worker.PlaceDead, r.queue.Place("default", bad.ID))
		r.stop()
	})
}

func TestOutageDoesNotPileUpProgress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			for i := range 400 {
				job.Progress(float64(i)/400, "on my way")
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		})
		var mu sync.Mutex
		most := 0
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, len(statuses))
			if down.Load() {
				return errors.New("database is down")
			}
			return nil
		}
		r.start()
		job := r.enqueue(1)
		r.after(time.Second)
		down.Store(true)
		r.after(20 * time.Second)
		down.Store(false)
		r.after(30 * time.Second)
		assert.Equal(t, 1, most, "one status of one job in a call")
		assert.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}

func TestHandlerThatIgnoresALostLeaseIsAbandonedToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			if p.N == 0 && job.Crashes == 0 {
				<-release
			}
			return nil
		}, func(c *worker.Config) { c.Concurrency = 2 }).start()
		r.enqueue(0)
		r.quiet()
		r.queue.Crash(r.queue.Consumers("default")[0])
		r.after(time.Minute)
		jobs := []*worker.Job{r.enqueue(1), r.enqueue(2)}
		r.after(time.Second)
		for _, job := range jobs {
			assert.Equal(t, succeeded, r.last(job.ID).State)
		}
		close(release)
		r.quiet()
		r.stop()
	})
}

func TestStopNamesAHandlerOfALostSession(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-release; return nil },
			func(c *worker.Config) { c.Concurrency, c.DrainTimeout = 2, time.Second }).start()
		r.enqueue(0)
		r.quiet()
		r.queue.Crash(r.queue.Consumers("default")[0])
		r.after(11 * time.Second)
		assert.ErrorIs(t, r.pool.Stop(context.Background()), worker.ErrAbandoned)
		close(release)
	})
}

// brokenError panics when it is read, as a nil pointer that was returned as an error does.
type brokenError struct{ text string }

func (e *brokenError) Error() string { return e.text }

func TestErrorThatPanicsIsAPanicOfTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			var err *brokenError
			return err
		}).start()
		job := r.enqueue(1, worker.MaxAttempts(1))
		r.quiet()
		assert.Equal(t, failed, r.last(job.ID).State)
		assert.Contains(t, r.last(job.ID).Error, "panic: ")
		r.stop()
	})
}

func TestQueuesOfEqualWeightShareEquallyWhateverWasBefore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var a, b atomic.Int64
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			if job.Queue == "a" {
				a.Add(1)
			} else {
				b.Add(1)
			}
			time.Sleep(time.Second)
			return nil
		}, func(c *worker.Config) {
			c.Concurrency = 1
			c.Queues = map[string]worker.QueueConfig{"a": {}, "b": {}}
		}).start()
		for i := range 200 {
			r.enqueue(i, worker.OnQueue("a"))
			r.after(2 * time.Second) // one at a time: b has paid nothing meanwhile
		}
		a.Store(0)
		for i := range 100 {
			r.enqueue(i, worker.OnQueue("a"))
			r.enqueue(i, worker.OnQueue("b"))
		}
		r.after(100 * time.Second)
		assert.InDelta(t, a.Load(), b.Load(), 2)
		r.after(5 * time.Minute)
		r.stop()
	})
}

func TestLookAheadEndsWhenLongJobsHoldTheSlots(t *testing.T) {
	for _, roundTrip := range []time.Duration{time.Millisecond, 120 * time.Millisecond, time.Second} {
		inBubble(t, func(t *testing.T) {
			var claimed atomic.Int64
			r := newRig(t, func(ctx context.Context, _ *worker.Job, p ping) error {
				lasts := time.Millisecond
				if p.N == 1 {
					lasts = time.Hour
				}
				select {
				case <-time.After(lasts):
				case <-ctx.Done():
				}
				return nil
			}, func(c *worker.Config) {
				c.Concurrency = 2
				c.Queue = odd{c.Queue, func(c worker.Consumer) worker.Consumer {
					return oddConsumer{Consumer: c, claim: func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
						time.Sleep(roundTrip) // so that there is look-ahead
						jobs, err := c.Claim(ctx, opts)
						claimed.Add(int64(len(jobs)))
						return jobs, err
					}}
				}}
			})
			for range 500 {
				r.enqueue(0)
			}
			r.enqueue(1)
			r.enqueue(1)
			for range 500 {
				r.enqueue(0)
			}
			r.start()
			r.after(10 * time.Minute)
			begun := claimed.Load()
			assert.Less(t, begun, int64(502+2*256+50))
			r.after(10 * time.Minute)
			assert.Equal(t, begun, claimed.Load(), "what did not start in time is not claimed over and over")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = r.pool.Stop(ctx)
		})
	}
}

func TestHostileNumbersAreRefused(t *testing.T) {
	reg := worker.NewRegistry()
	_, err := worker.NewPool(worker.Config{Registry: reg, Concurrency: math.MaxInt})
	assert.ErrorContains(t, err, "between 0 and 100000")
	var zero worker.Registry
	worker.Handle(&zero, noop)
}

func TestTypedNilProvidersAreReported(t *testing.T) {
	_, err := worker.NewClient(worker.Backend{TracerProvider: (*nilProvider)(nil)})
	assert.ErrorContains(t, err, "TracerProvider is a nil")
}

func TestInjectedHeadersNeverExceedTheLimitNorTouchTheCallersMap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.Propagator = propagation.Baggage{} })
		var members []baggage.Member
		for _, key := range []string{"a", "b"} {
			m, err := baggage.NewMember(key, strings.Repeat("x", 4000))
			require.NoError(t, err)
			members = append(members, m)
		}
		bag, err := baggage.New(members...)
		require.NoError(t, err)
		headers := map[string]string{"own": strings.Repeat("y", 10_000)}
		job, err := worker.NewJob(ping{1})
		require.NoError(t, err)
		job.Headers = headers
		require.NoError(t, r.pool.Client().EnqueueMany(baggage.ContextWithBaggage(t.Context(), bag), job))
		assert.Len(t, headers, 1)
		assert.Equal(t, headers, job.Headers, "baggage that doesn't fit is left out")
		assert.Equal(t, 1, r.queue.Count("default", worker.PlaceWaiting))
	})
}

func TestOneRefusedStatusFailsOneJobOfAnEnqueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		jobs := make([]*worker.Job, 7)
		for i := range jobs {
			var err error
			jobs[i], err = worker.NewJob(ping{i})
			require.NoError(t, err)
		}
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			for _, st := range statuses {
				if st.JobID == jobs[3].ID {
					return worker.Permanent(errors.New("value too long"))
				}
			}
			return nil
		}
		var failed *worker.EnqueueError
		require.ErrorAs(t, r.pool.Client().EnqueueMany(t.Context(), jobs...), &failed)
		assert.Len(t, failed.Failed, 1)
		assert.ErrorContains(t, failed.Failed[jobs[3].ID], "value too long")
		assert.Equal(t, 6, r.queue.Count("default", worker.PlaceWaiting))
	})
}

func TestAnIDBelongsToOneQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { time.Sleep(20 * time.Second); return nil }).start()
		r.enqueue(1, worker.WithID("1"))
		r.after(time.Second)
		_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.WithID("1"), worker.OnQueue("other"))
		assert.ErrorContains(t, err, `on queue "default"`)
		assert.Zero(t, r.queue.Count("other", worker.PlaceWaiting))
		r.stop()
	})
}

func TestUncertainEnqueueReturnsTheJobToTryAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		r.queue.Fault = func(context.Context, string) error { return errors.New("connection reset") }
		job, err := r.pool.Client().Enqueue(t.Context(), ping{1})
		require.Error(t, err)
		require.NotNil(t, job)
		r.queue.Fault = nil
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), job))
		assert.Equal(t, 1, r.queue.Count("default", worker.PlaceWaiting))
	})
}

func TestWithoutStoreNobodyHearsOfAnOlderState(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { time.Sleep(time.Second); return nil }, withoutStore).start()
		job := r.enqueue(1, worker.WithID("1"))
		r.after(500 * time.Millisecond)
		r.enqueue(1, worker.WithID("1"))
		r.after(time.Minute)
		assert.Equal(t, []worker.State{queued, running, succeeded}, r.toldStates(job.ID))
		r.stop()
	})
}

func TestJobDelayedForDaysOfAnUnknownTypeGetsItsDay(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, nil).start()
		job := r.enqueue(1, worker.After(48*time.Hour))
		r.after(49 * time.Hour)
		assert.Equal(t, scheduled, r.last(job.ID).State)
		r.after(24 * time.Hour)
		assert.Equal(t, failed, r.last(job.ID).State)
		r.stop()
	})
}
