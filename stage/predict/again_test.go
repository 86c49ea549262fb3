package predict

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
)

// An attempt that died at any request of it is gone on with by the next one, which pays nothing more.
func TestAttemptDiesAtAnyRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var mu sync.Mutex
		var left [][]byte // the checkpoint at each request
		job := &worker.Job{ID: "job", EnqueuedAt: time.Now()}
		note := func() {
			mu.Lock()
			defer mu.Unlock()
			left = append(left, slices.Clone(job.CheckpointData))
		}
		r.api.Misbehave = func(string, int, http.ResponseWriter, *http.Request) bool { note(); return false }
		r.api.Created = func(int, http.ResponseWriter, *http.Request) bool { note(); return false }
		model := r.model()
		req := stage.Request{OriginalURL: "https://photos.test/7.png", Seed: 7, Progress: func(float64, string) {}}
		_, err := model.Stage(worker.ContextWithJob(t.Context(), job), req)
		require.NoError(t, err)
		r.api.Misbehave = nil
		time.Sleep(defaultSettle)

		require.Greater(t, len(left), 5)
		for _, checkpoint := range left {
			next := &worker.Job{ID: "job", EnqueuedAt: job.EnqueuedAt, CheckpointData: checkpoint}
			picture, err := model.Stage(worker.ContextWithJob(t.Context(), next), req)
			require.NoError(t, err)
			assert.Equal(t, "prediction1", picture.Prediction.ID, "%s", checkpoint)
		}
		assert.Equal(t, 1, r.api.Creations())
	})
}

// An original that cannot be opened any more, as its URL was signed for ten minutes, costs no prediction that was paid for.
func TestOriginalIsNeededOnce(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"parked": func(r *rig) { r.cfg.Webhook, r.api.Takes = hook, 20*time.Minute },
		"put off by the API": func(r *rig) {
			r.api.Misbehave = times(predicttest.OpOutput, 1, code(429, "Retry-After", "1800"))
		},
		"after a lost create": func(r *rig) { r.api.Created, r.cfg.Settle = after(drop), 15*time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				change(r)
				opened, began := 0, time.Now()
				r.source = func() error {
					if opened++; time.Since(began) > 10*time.Minute {
						return stage.ErrRefused
					}
					return nil
				}
				st := r.run()
				assert.Equal(t, "prediction1", resultOf(t, st).Prediction.ID)
				assert.Greater(t, time.Since(began), 10*time.Minute)
				assert.Equal(t, 1, opened)
			})
		})
	}
}

// An original that cannot be opened when a prediction is to be created is no matter of the API.
func TestOriginalCannotBeOpened(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.source = func() error { return stage.ErrNotFound }
		st := r.run()
		assert.Equal(t, "stage: open original: original not found", st.Error)
		assert.Equal(t, 1, st.Attempt)
		assert.Zero(t, r.api.Count(predicttest.OpCreate))
	})
}

// A Requeue begins anew: the job may pay for two predictions again.
func TestRequeueBeginsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		outcomes(3, predicttest.Outcome{Status: "failed", Error: "out of memory"})(r)
		pool := r.pool()
		r.enqueue(pool, "job")
		assert.Equal(t, worker.StateFailed, r.await("job").State)
		require.Equal(t, 2, r.api.Creations())
		require.NoError(t, pool.Client().Requeue(t.Context(), "job"))
		assert.Equal(t, "prediction4", resultOf(t, r.await("job")).Prediction.ID)
	})
}

// A job that fails while its prediction is fine keeps it for a Requeue.
func TestRequeueGoesOn(t *testing.T) {
	for name, misbehave := range map[string]func(string, int, http.ResponseWriter, *http.Request) bool{
		"the API was away":      times(predicttest.OpGet, always, code(500)),
		"the token was wrong":   times(predicttest.OpGet, always, code(401)),
		"the output was away":   times(predicttest.OpOutput, always, code(503)),
		"the list was away":     times(predicttest.OpList, always, code(500)),
		"the list was not ours": times(predicttest.OpList, always, code(403)),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.api.Misbehave = misbehave
				if strings.Contains(name, "list") {
					r.api.Created = after(drop)
				}
				pool := r.pool()
				r.enqueue(pool, "job")
				require.Equal(t, worker.StateFailed, r.await("job").State)
				r.api.Misbehave = nil
				require.NoError(t, pool.Client().Requeue(t.Context(), "job"))
				assert.Equal(t, "prediction1", resultOf(t, r.await("job")).Prediction.ID)
				assert.Equal(t, 1, r.api.Creations())
			})
		})
	}
}

// That a prediction was the job's last is known to the next attempt, too: the worker that found out may have died, or been
// stopped, before it could say so.
func TestVerdictSurvivesItsWorker(t *testing.T) {
	for name, row := range map[string]struct {
		final bool
		calls int
	}{"the second one": {false, 2}, "useless to try": {true, 1}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				outcomes(always, predicttest.Outcome{Status: "failed", Error: "out of memory"})(r)
				r.cfg.Final = func(string) bool { return row.final }
				model, job := r.model(), &worker.Job{ID: "job", EnqueuedAt: time.Now()}
				ctx := worker.ContextWithJob(t.Context(), job)
				req := stage.Request{OriginalURL: "https://photos.test/7.png", Progress: func(float64, string) {}}
				var verdict error
				for range row.calls {
					_, verdict = model.Stage(ctx, req)
				}
				require.True(t, worker.IsPermanent(verdict))

				_, again := model.Stage(ctx, req)
				assert.True(t, worker.IsPermanent(again))
				assert.EqualError(t, again, verdict.Error())
				assert.Equal(t, row.calls, r.api.Creations())
			})
		})
	}
}

// What the API has removed doesn't come back: another prediction is paid at once.
func TestOutputThatWasRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Transport = dialect{r.cfg.Transport, map[string]any{"output": nil, "data_removed": true}}
		st := r.run()
		assert.Contains(t, st.Error, "it is gone")
		assert.Equal(t, 2, st.Attempt)
		assert.Equal(t, 2, r.api.Creations())
	})
}

// A worker that died a moment ago may have a create under way: the job waits until it would be seen, and counts no attempt.
func TestLookWaitsForWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		rec := record{Round: time.Now().UnixMilli(), Key: "k", First: time.Now().UnixMilli(), Last: time.Now().UnixMilli()}
		data, err := json.Marshal(rec)
		require.NoError(t, err)
		job := &worker.Job{ID: "job", EnqueuedAt: time.UnixMilli(rec.Round), CheckpointData: data}
		time.Sleep(4 * time.Second)
		_, err = r.model().Stage(worker.ContextWithJob(t.Context(), job), stage.Request{Progress: func(float64, string) {}})
		assert.ErrorContains(t, err, "snooze for 6s")
		assert.Zero(t, r.api.Count(predicttest.OpList)+r.api.Creations())
	})
}

// A prediction that the API doesn't know is not waited for until the clock of the worker that created it is reached.
func TestClockThatWasAhead(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		ahead := time.Now().Add(2 * time.Hour).UnixMilli()
		data, err := json.Marshal(record{Round: time.Now().UnixMilli(), Key: "k", First: ahead, Last: ahead, ID: "gone"})
		require.NoError(t, err)
		job := &worker.Job{ID: "job", EnqueuedAt: time.Now(), CheckpointData: data}
		began := time.Now()
		picture, err := r.model().Stage(worker.ContextWithJob(t.Context(), job), stage.Request{Progress: func(float64, string) {}})
		require.NoError(t, err)
		assert.Equal(t, "prediction1", picture.Prediction.ID)
		assert.Less(t, time.Since(began), time.Minute)
	})
}

// A worker that dies after it kept the prediction's id, and before it could tell the host of it, leaves that to the next
// one, however the job goes on.
func TestCreatedIsToldAgain(t *testing.T) {
	for name, change := range map[string]func(*rig){
		"parked":  func(*rig) {},
		"put off": func(r *rig) { r.api.Misbehave = times(predicttest.OpGet, 1, code(429, "Retry-After", "60")) },
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			change(r)
			r.cfg.Webhook, r.api.Takes = hook, 20*time.Minute
			job := &worker.Job{ID: "job", Queue: worker.DefaultQueue, EnqueuedAt: time.Now()}
			var left []byte // the checkpoint when the host is told
			var told []string
			r.cfg.Created = func(_ context.Context, job *worker.Job, id string) {
				told = append(told, id)
				left = slices.Clone(job.CheckpointData)
			}
			model := r.model()
			req := stage.Request{OriginalURL: "https://photos.test/7.png", Progress: func(float64, string) {}}
			attempt := func() {
				_, err := model.Stage(worker.ContextWithJob(t.Context(), job), req)
				require.ErrorContains(t, err, "snooze for", name)
			}
			attempt()
			require.Equal(t, []string{"prediction1"}, told)

			job = &worker.Job{ID: "job", Queue: worker.DefaultQueue, EnqueuedAt: job.EnqueuedAt, CheckpointData: left}
			attempt()
			assert.Equal(t, []string{"prediction1", "prediction1"}, told, name)
			attempt()
			assert.Len(t, told, 2, "once that is kept it is not told any more")
			assert.Equal(t, 1, r.api.Creations())
		})
	}
}

// What a worker whose clock was ahead has created is found all the same: by one whose clock is right it was sent in the
// future, or some time after it was.
func TestPredictionOfAClockThatWasAhead(t *testing.T) {
	for _, row := range []struct {
		ahead    time.Duration
		enqueues bool // the same clock did
		fails    int  // lists do, for so many minutes
	}{{70 * time.Second, false, 0}, {2 * time.Minute, false, 0}, {2 * time.Minute, true, 0}, {3 * time.Hour, false, 0},
		{3 * time.Hour, true, 0}, {3 * time.Minute, false, 4}} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.api.Created, r.api.Misbehave = after(drop), times(predicttest.OpList, row.fails, code(500))
			job := &worker.Job{ID: "job", EnqueuedAt: time.Now()}
			if row.enqueues {
				job.EnqueuedAt = job.EnqueuedAt.Add(row.ahead)
			}
			time.Sleep(5 * time.Minute)
			model := r.model()
			req := stage.Request{OriginalURL: "https://photos.test/7.png", Seed: 7, Progress: func(float64, string) {}}
			_, err := model.Stage(worker.ContextWithJob(t.Context(), job), req)
			require.ErrorContains(t, err, "may have been created")

			var rec record
			require.NoError(t, json.Unmarshal(job.CheckpointData, &rec))
			rec.First += row.ahead.Milliseconds()
			rec.Last += row.ahead.Milliseconds()
			job.CheckpointData, err = json.Marshal(rec)
			require.NoError(t, err)
			var picture stage.Picture
			for n, err := 0, errors.New("not yet"); err != nil; n++ {
				require.Less(t, n, 10, "it is not waited for long: %v", err)
				time.Sleep(defaultSettle + time.Second)
				if n > 0 && n <= row.fails {
					time.Sleep(time.Minute)
				}
				picture, err = model.Stage(worker.ContextWithJob(t.Context(), job), req)
			}
			assert.Equal(t, "prediction1", picture.Prediction.ID, "%+v", row)
			assert.Equal(t, 1, r.api.Creations())
		})
	}
}

// Another job's prediction is never taken, unless it is of the very same input.
func TestOtherJobsPredictionsAreNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.concurrent = 2
		r.api.Created = after(drop) // of the first job
		pool := r.pool()
		r.enqueue(pool, "a")
		time.Sleep(100 * time.Millisecond)
		r.enqueue(pool, "b")
		assert.Equal(t, "prediction1", resultOf(t, r.await("a")).Prediction.ID)
		assert.Equal(t, "prediction2", resultOf(t, r.await("b")).Prediction.ID)
		assert.Equal(t, 2, r.api.Creations())
	})
}

// A key in the input finds a prediction whatever else the input is, and an idempotent API is simply asked again.
func TestKeys(t *testing.T) {
	unsteady := func(c *Config) {
		n := 0
		c.Input = func(_ context.Context, req stage.Request) (map[string]any, error) {
			n++
			return map[string]any{"image": "https://photos.test/?signed=" + string(rune('a'+n)), "seed": req.Seed}, nil
		}
	}
	for name, row := range map[string]struct {
		change          func(*Config)
		creations, list int
	}{
		"none":          {func(*Config) {}, 1, 1}, // what was sent is what counts
		"in the input":  {func(c *Config) { c.KeyInput = "note" }, 1, 1},
		"in the header": {func(c *Config) { c.IdempotencyHeader = "Idempotency-Key" }, 2, 0}, // the fake promises nothing
		"own match": {func(c *Config) {
			c.Match = func(sent Sent, p Prediction) bool { return sent.Key != "" && p.ID == "prediction1" }
		}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				unsteady(&r.cfg)
				row.change(&r.cfg)
				r.api.Created = after(drop)
				resultOf(t, r.run())
				assert.Equal(t, row.creations, r.api.Creations())
				assert.Equal(t, row.list, r.api.Count(predicttest.OpList))
				all := r.api.Predictions()
				assert.Equal(t, all[0].Header.Get("Idempotency-Key"), all[len(all)-1].Header.Get("Idempotency-Key"))
			})
		})
	}
}
