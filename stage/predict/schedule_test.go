package predict

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
)

// Whatever happens in whatever order (workers stop and lose their leases, the queue is slow and loses checkpoints, the API
// fails, hangs and drops, before and after a create took effect), a job pays for one prediction and uses it; for a second
// one when the first fails, and never for a third. One that fails since its attempts are spent pays nothing more for a
// Requeue.
func TestAnySchedule(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) { newSchedule(r, seed).run(t) })
		})
	}
}

// schedule is what goes wrong while a job runs, by the dice.
type schedule struct {
	*rig
	trouble int // of a hundred calls, so many go wrong
	failing int // predictions that fail

	mu   sync.Mutex
	dice *rand.Rand
}

func newSchedule(r *rig, seed uint64) *schedule {
	s := &schedule{rig: r, dice: rand.New(rand.NewPCG(seed, 8)), trouble: []int{0, 10, 30}[seed%3]}
	s.failing = max(s.pick(6)-3, 0)
	r.cfg.Limiter, _ = NewLimiter(Limits{Concurrency: 1, PerMinute: 60})
	r.attempts = 40 // what is counted here is predictions
	if s.failing == 0 && s.pick(2) == 0 {
		r.attempts = 2 // a job that fails for that is requeued
	}
	r.api.Takes = time.Duration(s.pick(60)) * time.Second
	r.api.Misbehave, r.api.Created, r.queue.Fault = s.before, s.after, s.checkpoint
	how := []string{"failed", "aborted", "canceled"}[s.pick(3)]
	outcomes(s.failing, predicttest.Outcome{Status: how, Error: "out of memory"})(r)
	if s.pick(2) == 0 {
		r.cfg.Webhook = hook
	}
	return s
}

// pick returns a number from 0, less than n.
func (s *schedule) pick(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dice.IntN(n)
}

func (s *schedule) goesWrong() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dice.IntN(100) < s.trouble
}

// ambiguous are answers that say nothing of whether a request took effect.
var ambiguous = []http.HandlerFunc{code(500), code(503, "Retry-After", "20"), drop, silent}

// before has a request fail before it takes effect.
func (s *schedule) before(op string, _ int, w http.ResponseWriter, r *http.Request) bool {
	if !s.goesWrong() {
		return false
	}
	more := append(ambiguous[:len(ambiguous):len(ambiguous)], code(429, "Retry-After", "15"))
	if op != predicttest.OpOutput { // an output that is a page twice is none
		more = append(more, says(200, page))
	}
	more[s.pick(len(more))](w, r)
	return true
}

// after has the answer to a create fail that took effect, or come late.
func (s *schedule) after(_ int, w http.ResponseWriter, r *http.Request) bool {
	if s.goesWrong() {
		ambiguous[s.pick(len(ambiguous))](w, r)
		return true
	}
	time.Sleep(time.Duration(s.pick(5000)) * time.Millisecond)
	return false
}

func (s *schedule) checkpoint(_ context.Context, call string) error {
	if call != "Checkpoint" || !s.goesWrong() {
		return nil
	}
	time.Sleep(time.Duration(s.pick(8)) * time.Second)
	if s.pick(2) == 0 {
		return nil
	}
	return errors.New("redis is away")
}

// run has workers come and go until the job is over.
func (s *schedule) run(t *testing.T) {
	pool := s.pool()
	s.enqueue(pool, "job")
	crashes := 0
	for range s.pick(6) {
		time.Sleep(time.Duration(s.pick(15_000)) * time.Millisecond)
		consumers := s.queue.Consumers(worker.DefaultQueue)
		switch n := s.pick(4); {
		case n == 0 && crashes < 2 && len(consumers) > 0: // three are the job's end
			crashes++
			s.queue.Crash(consumers[0])
		case n == 3: // a webhook, early or late
			_ = pool.Client().RunNow(t.Context(), "job")
		case n == 1: // a deploy, one after the other
			_ = pool.Stop(context.Background())
			pool = s.pool()
		default: // both at once
			next := s.pool()
			_ = pool.Stop(context.Background())
			pool = next
		}
	}
	st := s.await("job")
	if s.attempts == 2 && st.State == worker.StateFailed {
		s.mu.Lock()
		s.trouble = 0
		s.mu.Unlock()
		assert.NoError(t, pool.Client().Requeue(t.Context(), "job"))
		st = s.await("job")
	}
	assert.LessOrEqual(t, s.api.Creations(), min(s.failing+1, 2), "%s %s", st.Error, s.log.String())
	assert.Empty(t, s.api.Canceled())
	time.Sleep(time.Minute) // for attempts that are another worker's by now
	assert.Zero(t, s.cfg.Limiter.running, "every place was left")
	assert.InDelta(t, 1, s.cfg.Limiter.tokens, 1, "no turn was made up")
	if s.failing < 2 {
		result := resultOf(t, st)
		assert.Equal(t, fmt.Sprint("prediction", s.failing+1), result.Prediction.ID)
		return
	}
	assert.Equal(t, worker.StateFailed, st.State)
	assert.Contains(t, st.Error, "prediction prediction2 ")
}

// However a job ends (it is over, it is canceled, its time is over twice), no prediction of it is left running, and it has
// paid for two at most.
func TestAnyEnd(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				s := newSchedule(r, seed)
				if seed%2 == 0 { // else the API may not hear of a cancel
					s.trouble, r.cfg.Webhook = 0, nil
				}
				r.timeout = time.Duration(5+s.pick(60)) * time.Second
				r.api.Created = func(n int, w http.ResponseWriter, req *http.Request) bool {
					if seed%2 != 0 {
						return s.after(n, w, req)
					}
					time.Sleep(time.Duration(s.pick(1900)) * time.Millisecond) // within Grace
					return false
				}
				pool := s.pool()
				s.enqueue(pool, "job")
				time.Sleep(time.Duration(s.pick(40_000)) * time.Millisecond)
				switch s.pick(3) {
				case 0:
					_, _ = pool.Client().Cancel(t.Context(), "job") // it may be over
				case 1:
					_ = pool.Stop(context.Background())
					s.pool()
				}
				st := s.await("job")
				time.Sleep(time.Minute) // for whatever is under way
				assert.LessOrEqual(t, s.api.Creations(), 2)
				if seed%2 != 0 {
					return
				}
				asks := s.model().api
				for _, p := range s.api.Predictions() {
					now, err := asks.get(t.Context(), p.ID)
					assert.NoError(t, err)
					assert.True(t, now.Status.over(), "%s: %s is %s", st.State, p.ID, now.Status)
				}
			})
		})
	}
}
