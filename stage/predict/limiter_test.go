package predict

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
)

// Never more predictions run at once than the limits allow, and jobs that wait count no attempts.
func TestLimitedConcurrency(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{Concurrency: 2})
		require.NoError(t, err)
		r.cfg.Limiter, r.concurrent = limiter, 8
		var mu sync.Mutex
		var created []time.Time
		r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			created = append(created, time.Now())
			return false
		}
		pool := r.pool()
		for i := range 8 {
			r.enqueue(pool, fmt.Sprint("job-", i))
		}
		for i := range 8 {
			st := r.await(fmt.Sprint("job-", i))
			resultOf(t, st)
			assert.Equal(t, 1, st.Attempt)
		}
		for i := 2; i < len(created); i++ {
			assert.GreaterOrEqual(t, created[i].Sub(created[i-2]), r.api.Takes)
		}
		assert.Zero(t, limiter.running)
		assert.Empty(t, limiter.queue)
	})
}

func TestLimitedRate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{PerMinute: 6, Burst: 2})
		require.NoError(t, err)
		r.cfg.Limiter, r.concurrent = limiter, 8
		var mu sync.Mutex
		var created []time.Time
		r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			created = append(created, time.Now())
			return false
		}
		pool := r.pool()
		for i := range 8 {
			r.enqueue(pool, fmt.Sprint("job-", i))
		}
		for i := range 8 {
			st := r.await(fmt.Sprint("job-", i))
			resultOf(t, st)
			assert.Equal(t, 1, st.Attempt)
		}
		slices.SortFunc(created, time.Time.Compare)
		for i, at := range created {
			allowed := 2 + at.Sub(created[0]).Minutes()*6
			assert.LessOrEqual(t, float64(i+1), allowed+0.001)
		}
		assert.Less(t, created[7].Sub(created[0]), 4*time.Minute)
	})
}

// An original that comes slowly keeps nobody else from creating.
func TestSlowOriginalsHoldNoPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{Concurrency: 2, PerMinute: 60})
		require.NoError(t, err)
		r.cfg.Limiter, r.concurrent = limiter, 4
		var opened atomic.Int32
		r.source = func() error {
			if opened.Add(1) <= 2 {
				time.Sleep(2 * time.Minute)
			}
			return nil
		}
		pool, began := r.pool(), time.Now()
		r.enqueue(pool, "slow-1")
		r.enqueue(pool, "slow-2")
		time.Sleep(time.Second)
		r.enqueue(pool, "quick-1")
		r.enqueue(pool, "quick-2")
		resultOf(t, r.await("quick-1"))
		resultOf(t, r.await("quick-2"))
		assert.Less(t, time.Since(began), 40*time.Second)
		resultOf(t, r.await("slow-1"))
		resultOf(t, r.await("slow-2"))
	})
}

// A turn is one job's: those that wait with it don't open their originals for it.
func TestOneTurnOpensOneOriginal(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{Concurrency: 1})
		require.NoError(t, err)
		r.cfg.Limiter, r.concurrent, r.api.Takes = limiter, 8, 2*time.Second
		var opened, opening atomic.Int32
		r.source = func() error {
			opened.Add(1)
			assert.Equal(t, int32(1), opening.Add(1), "one at a time")
			time.Sleep(time.Second)
			opening.Add(-1)
			return nil
		}
		pool := r.pool()
		for i := range 8 {
			r.enqueue(pool, fmt.Sprint("job-", i))
		}
		for i := range 8 {
			resultOf(t, r.await(fmt.Sprint("job-", i)))
		}
		assert.Equal(t, int32(8), opened.Load(), "and for nothing never")
		assert.Zero(t, limiter.running)
	})
}

// A turn that came before the API wanted to be left alone is none any more.
func TestTurnThatIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter, err := NewLimiter(Limits{Concurrency: 1, PerMinute: 1})
		require.NoError(t, err)
		mine, err := limiter.await(t.Context())
		require.NoError(t, err)
		limiter.closeFor(3 * time.Second)
		began := time.Now()
		require.NoError(t, mine.enter(t.Context()))
		assert.Equal(t, 3*time.Second, time.Since(began))
		mine.drop()
		assert.Equal(t, 1, limiter.running, "to drop what was used does nothing")
		limiter.leave()

		time.Sleep(time.Minute)
		mine, err = limiter.await(t.Context())
		require.NoError(t, err)
		time.Sleep(limiter.limits.MaxWait + time.Second)
		synctest.Wait()
		assert.Zero(t, limiter.running, "it lasts for MaxWait")
		require.NoError(t, limiter.enter(t.Context()))
		var busy *busyError
		require.ErrorAs(t, mine.enter(t.Context()), &busy)
		mine.drop()
		assert.Equal(t, 1, limiter.running)
	})
}

// A job that waits for many turns opens its original when there is one, and who creates nothing takes nobody's turn.
func TestTurns(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{PerMinute: 1})
		require.NoError(t, err)
		r.cfg.Limiter, r.concurrent = limiter, 4
		began := time.Now()
		var opened atomic.Int32
		r.source = func() error {
			if opened.Add(1) <= 5 {
				return stage.ErrNotFound
			}
			return nil
		}
		pool := r.pool()
		for i := range 5 {
			r.enqueue(pool, fmt.Sprint("missing-", i))
			assert.Equal(t, worker.StateFailed, r.await(fmt.Sprint("missing-", i)).State)
		}
		assert.Less(t, time.Since(began), time.Second)
		for i := range 4 {
			r.enqueue(pool, fmt.Sprint("job-", i))
		}
		for i := range 4 {
			resultOf(t, r.await(fmt.Sprint("job-", i)))
		}
		assert.Greater(t, time.Since(began), 3*time.Minute)
		assert.LessOrEqual(t, opened.Load(), int32(5+4+3+2+1), "each time that there is a turn, at most")
	})
}

// A 429 stops all jobs that share the limiter.
func TestThrottlingStopsAll(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{})
		require.NoError(t, err)
		r.cfg.Limiter = limiter
		r.api.Misbehave = times("create", 1, code(429, "Retry-After", "60"))
		began := time.Now()
		r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
			assert.GreaterOrEqual(t, time.Since(began), time.Minute, "b did not ask before, either")
			return false
		}
		pool := r.pool()
		r.enqueue(pool, "a")
		r.enqueue(pool, "b")
		resultOf(t, r.await("a"))
		resultOf(t, r.await("b"))
		assert.Equal(t, 3, r.api.Count("create"))
		assert.Zero(t, r.api.Count("list"), "what was refused is not looked for")
	})
}

// A prediction that the next attempt goes on with counts, though it doesn't wait.
func TestResumedPredictionsCount(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		limiter, err := NewLimiter(Limits{Concurrency: 1})
		require.NoError(t, err)
		r.cfg.Limiter, r.concurrent = limiter, 2
		r.api.Takes = time.Minute
		first := r.pool()
		r.enqueue(first, "a")
		time.Sleep(time.Second)
		_ = first.Stop(t.Context())
		began := time.Now()
		second := r.pool()
		time.Sleep(time.Second)
		r.api.Created = func(int, http.ResponseWriter, *http.Request) bool {
			assert.GreaterOrEqual(t, time.Since(began), 55*time.Second)
			return false
		}
		r.enqueue(second, "b")
		resultOf(t, r.await("a"))
		resultOf(t, r.await("b"))
		assert.Equal(t, 2, r.api.Creations())
		assert.Zero(t, limiter.running)
	})
}

// A host of outputs that wants to be left alone is not the API, unless it is.
func TestThrottledOutputs(t *testing.T) {
	for output, stops := range map[string]bool{"": true, "https://api.test/output/x": true, "https://cdn.test/output/x": false,
		"https://api.test/to": false, "https://cdn.test/from": true} {
		inBubble(t, func(t *testing.T, r *rig) {
			limiter, err := NewLimiter(Limits{})
			require.NoError(t, err)
			r.cfg.Limiter, r.cfg.OutputHosts = limiter, []string{"cdn.test"}
			if output != "" {
				r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Output: output} }
			}
			r.api.Misbehave = func(op string, n int, w http.ResponseWriter, req *http.Request) bool {
				switch {
				case req.URL.Path == "/to":
					http.Redirect(w, req, "https://cdn.test/output/x", http.StatusFound)
				case req.URL.Path == "/from":
					http.Redirect(w, req, "https://api.test/output/x", http.StatusFound)
				case op == predicttest.OpOutput && n == 1:
					code(429, "Retry-After", "3000")(w, req)
				case op == predicttest.OpOutput:
					_, _ = w.Write(r.api.Picture)
				default:
					return false
				}
				return true
			}
			pool := r.pool()
			r.enqueue(pool, "a")
			r.enqueue(pool, "b")
			began := time.Now()
			resultOf(t, r.await("b"))
			assert.Equal(t, stops, time.Since(began) > 50*time.Minute, output)
			resultOf(t, r.await("a"))
		})
	}
}

// Whoever waited for a place as long as anybody may still gets a token that is there, and so none is lost.
func TestTokenWithoutPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter, err := NewLimiter(Limits{PerMinute: 6, Burst: 2})
		require.NoError(t, err)
		require.NoError(t, limiter.awaitToken(t.Context(), -time.Second))
		require.NoError(t, limiter.awaitToken(t.Context(), 0))
		var busy *busyError
		require.ErrorAs(t, limiter.awaitToken(t.Context(), -time.Second), &busy)
		assert.Equal(t, 10*time.Second, busy.after)
	})
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter, err := NewLimiter(Limits{Concurrency: 1, MaxWait: time.Second})
		require.NoError(t, err)
		require.NoError(t, limiter.enter(t.Context()))

		var busy *busyError
		began := time.Now()
		require.ErrorAs(t, limiter.enter(t.Context()), &busy)
		assert.Equal(t, time.Second, time.Since(began))

		boom := errors.New("boom")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(boom) })
		require.ErrorIs(t, limiter.enter(ctx), boom)

		time.AfterFunc(100*time.Millisecond, limiter.leave)
		require.NoError(t, limiter.enter(t.Context()), "whoever waits is next")
		limiter.join() // it doesn't ask
		assert.Equal(t, 2, limiter.running)
		limiter.leave()
		limiter.leave()
		assert.Zero(t, limiter.running)

		var none *Limiter
		require.NoError(t, none.enter(t.Context()))
		none.join()
		none.leave()
		none.closeFor(time.Second)
	})
	_, err := NewLimiter(Limits{Concurrency: -1, PerMinute: -1})
	assert.ErrorContains(t, err, "Concurrency is -1")
	assert.ErrorContains(t, err, "PerMinute is -1")
}
