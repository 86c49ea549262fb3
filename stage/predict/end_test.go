package predict

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
)

// A job that is canceled cancels its prediction.
func TestCancelCancelsThePrediction(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		pool := r.pool()
		r.enqueue(pool, "job")
		time.Sleep(10 * time.Second)
		_, err := pool.Client().Cancel(t.Context(), "job")
		require.NoError(t, err)
		assert.Equal(t, worker.StateCanceled, r.await("job").State)
		assert.Equal(t, []string{"prediction1"}, r.api.Canceled())

		require.NoError(t, pool.Client().Requeue(t.Context(), "job"))
		assert.Equal(t, "prediction2", resultOf(t, r.await("job")).Prediction.ID, "a new round begins anew")
	})
}

// A job that is canceled while it is parked has no worker. Whoever cancels it can cancel its prediction, too.
func TestCancelOfAParkedJob(t *testing.T) {
	for _, lost := range []bool{false, true} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.api.Takes = 20 * time.Minute
			if lost {
				r.api.Created = after(drop)
			}
			known := map[string]string{}
			r.cfg.Created = func(_ context.Context, job *worker.Job, id string) { known[job.ID] = id }
			p := newParking(r)
			p.enqueue(p.pool, "job")
			time.Sleep(time.Minute)
			require.Equal(t, worker.StateScheduled, p.state("job"))
			_, err := p.pool.Client().Cancel(t.Context(), "job")
			require.NoError(t, err)
			assert.Equal(t, worker.StateCanceled, p.await("job").State)
			assert.Empty(t, r.api.Canceled(), "no worker hears of it")

			require.Equal(t, map[string]string{"job": "prediction1"}, known)
			elsewhere := r.model()
			require.NoError(t, elsewhere.Cancel(t.Context(), known["job"]))
			assert.Equal(t, []string{"prediction1"}, r.api.Canceled())
			require.NoError(t, elsewhere.Cancel(t.Context(), known["job"]), "one that is over stays as it is")

			var answer *APIError
			require.ErrorAs(t, elsewhere.Cancel(t.Context(), "unheard-of"), &answer)
			assert.Equal(t, http.StatusNotFound, answer.Status)
			asked := r.api.Count(predicttest.OpCancel)
			require.ErrorContains(t, elsewhere.Cancel(t.Context(), "../account"), "is no id of a prediction")
			assert.Equal(t, asked, r.api.Count(predicttest.OpCancel))
		})
	}
}

// A cancel that comes while the prediction is being created waits for the answer, to know what to cancel.
func TestCancelDuringCreate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		pool := r.pool()
		r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
			_, err := pool.Client().Cancel(context.Background(), "job")
			assert.NoError(t, err)
			time.Sleep(1500 * time.Millisecond)
			return false
		}
		r.enqueue(pool, "job")
		assert.Equal(t, worker.StateCanceled, r.await("job").State)
		assert.Equal(t, []string{"prediction1"}, r.api.Canceled())
	})
}

// A deploy leaves the prediction alone, and the next worker goes on with it.
func TestShutdownLeavesThePrediction(t *testing.T) {
	for name, created := range map[string]func(stop func()) bool{
		"while it runs":       func(stop func()) bool { time.AfterFunc(5*time.Second, stop); return false },
		"while it is created": func(stop func()) bool { go stop(); time.Sleep(2 * time.Second); return false },
		"before an answer":    func(stop func()) bool { go stop(); time.Sleep(8 * time.Second); return false },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				first := r.pool()
				stopped := make(chan struct{})
				r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
					return created(func() {
						_ = first.Stop(context.Background())
						close(stopped)
					})
				}
				r.enqueue(first, "job")
				<-stopped
				assert.NotContains(t, r.states("job"), worker.StateFailed)
				r.pool()
				st := r.await("job")
				assert.Equal(t, "prediction1", resultOf(t, st).Prediction.ID)
				assert.Equal(t, 1, st.Attempt)
				assert.Equal(t, 1, r.api.Creations())
				assert.Empty(t, r.api.Canceled())
			})
		})
	}
}

// The id that could not be kept when it was known is kept when the worker stops, so that nobody has to look for it.
func TestShutdownKeepsTheID(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.drain = 100 * time.Millisecond
		n := 0
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Checkpoint" {
				if n++; n == 2 {
					return errors.New("redis is away")
				}
			}
			return nil
		}
		first := r.pool()
		r.enqueue(first, "job")
		time.Sleep(500 * time.Millisecond) // before the first question
		_ = first.Stop(context.Background())
		r.pool()
		assert.Equal(t, "prediction1", resultOf(t, r.await("job")).Prediction.ID)
		assert.Zero(t, r.api.Count(predicttest.OpList))
	})
}

// A worker that loses its lease leaves the prediction to the one that has the job now: it may follow it already.
func TestLostLease(t *testing.T) {
	for _, row := range []struct {
		name     string
		answered time.Duration // after so long the create is
		cancels  bool
	}{
		{name: "while it runs"},
		{name: "while it is created", answered: 11 * time.Second},
		{name: "while it runs, canceling", cancels: true},
		{name: "while it is created, canceling", answered: 11 * time.Second, cancels: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.CancelOnLeaseLost = row.cancels
				r.api.Takes = time.Minute
				r.api.Created = func(n int, _ http.ResponseWriter, _ *http.Request) bool {
					if n == 1 {
						r.queue.Crash(r.queue.Consumers(worker.DefaultQueue)[0]) // the lease is over 10 seconds later
						time.Sleep(row.answered)
					}
					return false
				}
				pool := r.pool()
				r.enqueue(pool, "job")
				result := resultOf(t, r.await("job"))
				if row.cancels {
					assert.Equal(t, []string{"prediction1"}, r.api.Canceled())
					assert.Equal(t, "prediction2", result.Prediction.ID)
					return
				}
				assert.Equal(t, "prediction1", result.Prediction.ID)
				assert.Equal(t, 1, r.api.Creations())
				assert.Empty(t, r.api.Canceled())
			})
		})
	}
}

// A worker that stood still for so long that another one has its job finds first that the job's time is over. It must not
// cancel what the other one follows.
func TestTimeoutAfterALostLease(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.timeout, r.api.Takes = 30*time.Second, 40*time.Second
		r.wrap = func(q worker.Queue) worker.Queue { return deafQueue{q} }
		first := r.pool()
		r.enqueue(first, "job")
		time.Sleep(10 * time.Second)
		r.wrap = nil
		r.pool()
		r.queue.Crash(r.queue.Consumers(worker.DefaultQueue)[0])
		assert.Equal(t, "prediction1", resultOf(t, r.await("job")).Prediction.ID)
		assert.Empty(t, r.api.Canceled())
		assert.Equal(t, 1, r.api.Creations())
	})
}

// deafQueue opens sessions that don't hear that they are lost.
type deafQueue struct{ worker.Queue }

func (q deafQueue) Consume(ctx context.Context, name string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	consumer, err := q.Queue.Consume(ctx, name, opts)
	return deafConsumer{consumer}, err
}

type deafConsumer struct{ worker.Consumer }

func (deafConsumer) Lost() <-chan struct{} { return nil }

func (c deafConsumer) Checkpoint(ctx context.Context, job *worker.Job, data []byte) error {
	return c.Consumer.(worker.Checkpointer).Checkpoint(ctx, job, data)
}

// What somebody cancels on the API's page is tried once more.
func TestSomebodyElseCancels(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		pool := r.pool()
		r.enqueue(pool, "job")
		time.Sleep(10 * time.Second)
		r.api.Cancel("prediction1")
		st := r.await("job")
		assert.Equal(t, "prediction2", resultOf(t, st).Prediction.ID)
		assert.Equal(t, 2, st.Attempt)
	})
}

// A cancel that the API doesn't take leaves the prediction to the next attempt.
func TestTimeoutWhileTheAPIIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.timeout, r.api.Takes = 10*time.Second, 15*time.Second
		r.api.Misbehave = times(predicttest.OpCancel, always, silent)
		st := r.run()
		assert.Equal(t, "prediction1", resultOf(t, st).Prediction.ID)
		assert.Equal(t, 2, st.Attempt)
	})
}

// An attempt whose time is over while it notes that it is about to pay doesn't pay.
func TestTimeoutBeforeTheCreate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.timeout, r.api.Takes = 3*time.Second, time.Second
		n := 0
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Checkpoint" {
				if n++; n == 1 {
					time.Sleep(4 * time.Second)
				}
			}
			return nil
		}
		st := r.run()
		resultOf(t, st)
		assert.Equal(t, 2, st.Attempt)
		assert.Equal(t, 1, r.api.Creations())
		assert.Empty(t, r.api.Canceled())
	})
}

// However slow everything is, an attempt that was ended returns within two graces.
func TestLeavingTakesTwoGraces(t *testing.T) {
	for name, created := range map[string]time.Duration{
		"while it runs":       0,
		"while it is created": 11 * time.Second, // the answer comes so late
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.timeout, r.api.Takes = 10*time.Second, time.Hour
			r.api.Misbehave = func(op string, _ int, _ http.ResponseWriter, _ *http.Request) bool {
				if op == predicttest.OpCancel {
					time.Sleep(defaultGrace - 100*time.Millisecond)
				}
				return false
			}
			r.api.Created = func(int, http.ResponseWriter, *http.Request) bool { time.Sleep(created); return false }
			began, left := time.Now(), time.Duration(0)
			r.queue.Fault = func(ctx context.Context, call string) error {
				late := time.Since(began) >= r.timeout
				switch {
				case call == "Checkpoint" && late && left == 0:
					<-ctx.Done()
					return ctx.Err()
				case call == "Settle" && left == 0:
					left = time.Since(began)
				}
				return nil
			}
			r.attempts = 1
			assert.Equal(t, worker.StateFailed, r.run().State)
			assert.GreaterOrEqual(t, left, r.timeout+defaultGrace, name)
			assert.Less(t, left, r.timeout+2*defaultGrace+100*time.Millisecond, name)
		})
	}
}

// Whatever ends attempts again and again, two predictions are paid at most.
func TestAttemptsThatAreEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		job := &worker.Job{ID: "job", EnqueuedAt: time.Now()}
		req := stage.Request{OriginalURL: "https://photos.test/7.png", Progress: func(float64, string) {}}
		model := r.model()
		for n := range 3 {
			ctx, cancel := context.WithCancel(worker.ContextWithJob(t.Context(), job))
			time.AfterFunc(5*time.Second, cancel) // a middleware of the host's, say
			_, err := model.Stage(ctx, req)
			require.ErrorIs(t, err, context.Canceled)
			if n == 1 {
				assert.True(t, worker.IsPermanent(err))
				break
			}
		}
		assert.Equal(t, []string{"prediction1", "prediction2"}, r.api.Canceled())
	})
}

// Without checkpoints nothing is paid.
func TestQueueWithoutCheckpoints(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.wrap = func(q worker.Queue) worker.Queue { return plainQueue{q} }
		st := r.run()
		assert.Contains(t, st.Error, "without checkpoints a prediction would be paid again at each attempt")
		assert.Equal(t, 1, st.Attempt)
		assert.Zero(t, r.api.Creations())
	})
}

// plainQueue hides the powers of a queue and its consumers.
type plainQueue struct{ worker.Queue }

func (q plainQueue) Consume(ctx context.Context, name string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	consumer, err := q.Queue.Consume(ctx, name, opts)
	return plainConsumer{consumer}, err
}

type plainConsumer struct{ worker.Consumer }

// A checkpoint that fails before the create keeps it from being sent; one that fails after it doesn't lose the id.
func TestCheckpointsFail(t *testing.T) {
	for _, row := range []struct {
		from, to, creations, attempt int
		parks                        bool
	}{{1, 1, 1, 2, false}, {2, 2, 1, 1, false}, {2, 4, 1, 1, false}, {2, 4, 1, 1, true}} {
		inBubble(t, func(t *testing.T, r *rig) {
			if row.parks {
				r.cfg.Webhook = hook // as soon as the id is kept
			}
			n := 0
			r.queue.Fault = func(_ context.Context, call string) error {
				if call == "Checkpoint" {
					if n++; n >= row.from && n <= row.to {
						return errors.New("redis is away")
					}
				}
				return nil
			}
			st := r.run()
			resultOf(t, st)
			assert.Equal(t, row.attempt, st.Attempt)
			assert.Equal(t, row.creations, r.api.Creations())
			assert.Greater(t, n, row.to)
		})
	}
}

// Without a job there is nobody to go on, so whatever ends the call ends the prediction.
func TestWithoutAJob(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		req := stage.Request{OriginalURL: "https://photos.test/7.png", Progress: func(float64, string) {}}
		_, err := r.model().Stage(ctx, req)
		require.Error(t, err)
		assert.Equal(t, []string{"prediction1"}, r.api.Canceled())
		picture, err := r.model().Stage(t.Context(), req)
		require.NoError(t, err)
		assert.Equal(t, "prediction2", picture.Prediction.ID)
	})
}
