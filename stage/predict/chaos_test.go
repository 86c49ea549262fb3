package predict

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/predicttest"
)

// In whatever order an API misbehaves, and however often: a job ends, it has paid for two predictions at most, and its place
// of the limiter is free. (No answer here says of a create that took effect that it did not: nobody could know better.)
func TestChaos(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 0))
				limiter, err := NewLimiter(Limits{Concurrency: 1, PerMinute: 60})
				require.NoError(t, err)
				r := newRig(t)
				r.cfg.Limiter = limiter
				if seed%3 == 0 {
					r.cfg.Webhook = hook
				}
				badly := []float64{0.1, 0.3, 0.6}[seed%3]
				r.api.Misbehave = func(_ string, _ int, w http.ResponseWriter, req *http.Request) bool {
					bad := dice.Float64() < badly
					if bad {
						anyOf(dice, unclear, refusals)(w, req)
					}
					return bad
				}
				r.api.Created = func(_ int, w http.ResponseWriter, req *http.Request) bool {
					bad := dice.Float64() < 0.5
					if bad {
						anyOf(dice, unclear)(w, req)
					}
					return bad
				}
				r.api.Outcome = func(int) predicttest.Outcome {
					return []predicttest.Outcome{{}, {Never: true}, {Status: "failed", Error: "x"}, {Status: "aborted"}}[dice.IntN(4)]
				}
				began := time.Now()
				st := r.run()
				assert.True(t, st.State.Final())
				assert.LessOrEqual(t, r.api.Creations(), 2, st.Error)
				assert.Less(t, time.Since(began), 12*time.Hour)
				assert.Zero(t, limiter.running)
			})
		})
	}
}

// unclear are answers after which nobody knows what came of a request, refusals those that say so.
var (
	unclear = []http.HandlerFunc{
		drop, silent, halfway, code(500), code(503, "Retry-After", "100"), code(409), code(408), says(200, page), says(200, `[]`), says(201, `{"id":""}`),
		says(200, `{"results":7}`),
	}
	refusals = []http.HandlerFunc{
		code(429), code(429, "Retry-After", "4000"), code(302, "Location", "https://evil.test/"), code(404), code(300),
	}
)

func anyOf(dice *rand.Rand, kinds ...[]http.HandlerFunc) http.HandlerFunc {
	kind := kinds[dice.IntN(len(kinds))]
	return kind[dice.IntN(len(kind))]
}
