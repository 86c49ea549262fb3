package predict

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
)

// parking is a host: a pool of one slot whose jobs are parked, and a server for webhooks beside it.
type parking struct {
	*rig
	pool   *worker.Pool
	server *http.Client // reaches it
}

func newParking(r *rig) *parking {
	r.t.Helper()
	r.cfg.Webhook = hook
	p := &parking{rig: r, pool: r.pool()}
	p.server = p.serve()
	return p
}

// serve starts a server for webhooks, that remembers nothing of those that others took.
func (p *parking) serve() *http.Client {
	p.t.Helper()
	handler, err := NewWebhookHandler(WebhookConfig{
		Secrets: []Secret{secret}, Logger: slog.New(slog.NewJSONHandler(&p.log, nil)),
		Wake: func(ctx context.Context, jobID, queue string) error {
			return p.pool.Client().RunNow(ctx, jobID, worker.OnQueue(queue))
		},
	})
	require.NoError(p.t, err)
	mux := http.NewServeMux()
	mux.Handle("POST /predictions", handler)
	return &http.Client{Transport: predicttest.Serve(p.t, mux)}
}

// call sends a webhook as it is, and returns the answer's code. One may be sent more than once.
func (p *parking) call(server *http.Client, webhook *http.Request) int {
	p.t.Helper()
	again := webhook.Clone(context.Background())
	var err error
	again.Body, err = webhook.GetBody()
	require.NoError(p.t, err)
	answer, err := server.Do(again)
	require.NoError(p.t, err)
	require.NoError(p.t, answer.Body.Close())
	return answer.StatusCode
}

// state is the job's latest.
func (p *parking) state(id string) worker.State {
	p.t.Helper()
	states := p.states(id)
	require.NotEmpty(p.t, states)
	return states[len(states)-1]
}

// A parked job holds no slot, and goes on the moment that the API calls. One that nobody calls for looks by itself.
func TestWebhookWakesItsJob(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		const takes = 20 * time.Minute
		r.api.Takes = takes
		p := newParking(r)
		began := time.Now()
		p.enqueue(p.pool, "job-1")
		p.enqueue(p.pool, "job-2")
		time.Sleep(takes + 5*time.Second)
		require.Equal(t, 2, r.api.Creations(), "the only slot served both")
		require.Equal(t, worker.StateScheduled, p.state("job-1"))

		assert.Equal(t, http.StatusNoContent, p.call(p.server, r.api.Webhook(t, "prediction1", secret)))
		st := p.await("job-1")
		assert.Less(t, time.Since(began), takes+10*time.Second)
		assert.Equal(t, "prediction1", resultOf(t, st).Prediction.ID)
		assert.Equal(t, 1, st.Attempt, "neither parking nor waking is an attempt")
		assert.Equal(t, worker.StateScheduled, p.state("job-2"), "only the job that was meant is woken")

		resultOf(t, p.await("job-2"))
		assert.Less(t, time.Since(began), takes+maxPark+time.Minute)
		assert.Equal(t, 2, r.api.Creations())
	})
}

// A webhook that comes while the job still has its slot is refused, so that the API repeats it. If it doesn't, the job
// looks by itself soon.
func TestWebhookComesBeforeTheJobIsParked(t *testing.T) {
	for name, row := range map[string]struct {
		repeats bool
		within  time.Duration
	}{
		"repeated": {true, 8 * time.Second},
		"lost":     {false, firstPark + 8*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.api.Takes = 2 * time.Second
				var p *parking
				early := make(chan int, 1)
				r.queue.Fault = func(_ context.Context, call string) error {
					if call == "Settle" && len(early) == 0 && r.api.Count(predicttest.OpGet) == 0 {
						time.Sleep(3 * time.Second)
						early <- p.call(p.server, r.api.Webhook(t, "prediction1", secret))
					}
					return nil
				}
				p = newParking(r)
				began := time.Now()
				p.enqueue(p.pool, "job")
				assert.Equal(t, http.StatusServiceUnavailable, <-early)
				if row.repeats {
					time.Sleep(time.Second)
					assert.Equal(t, http.StatusNoContent, p.call(p.server, r.api.Webhook(t, "prediction1", secret)))
				}
				st := p.await("job")
				resultOf(t, st)
				assert.Less(t, time.Since(began), row.within)
				assert.Equal(t, 1, st.Attempt)
				assert.Equal(t, 1, r.api.Creations())
			})
		})
	}
}

// A webhook that is sent again wakes nobody, or at worst a job that asks once and parks again. Nothing is paid for it.
func TestReplayedWebhooks(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.api.Takes = time.Minute
		r.api.Outcome = func(n int) predicttest.Outcome {
			if n == 1 {
				return predicttest.Outcome{Status: "failed", Error: "out of memory"}
			}
			return predicttest.Outcome{}
		}
		p := newParking(r)
		other := p.serve()
		p.enqueue(p.pool, "job")
		time.Sleep(r.api.Takes + time.Second)
		first := r.api.Webhook(t, "prediction1", secret)
		require.Equal(t, http.StatusNoContent, p.call(p.server, first))
		time.Sleep(10 * time.Second)
		require.Equal(t, 2, r.api.Creations(), "the job's second prediction is under way")
		require.Equal(t, worker.StateScheduled, p.state("job"))

		asked := r.api.Count(predicttest.OpGet)
		assert.Equal(t, http.StatusNoContent, p.call(p.server, first))
		time.Sleep(time.Second)
		assert.Equal(t, asked, r.api.Count(predicttest.OpGet), "who took it before doesn't pass it on")
		assert.Equal(t, http.StatusNoContent, p.call(other, first))
		time.Sleep(time.Second)
		assert.Equal(t, asked+1, r.api.Count(predicttest.OpGet), "another process does, and the job looks")
		assert.Equal(t, worker.StateScheduled, p.state("job"))

		resultOf(t, p.await("job"))
		assert.Equal(t, http.StatusNoContent, p.call(p.serve(), first), "of a job that is over there is nothing to wake")
		time.Sleep(replayWindow)
		assert.Equal(t, http.StatusUnauthorized, p.call(p.serve(), first))
		assert.Equal(t, 2, r.api.Creations())
	})
}

// What the API has not signed, or not for that job, wakes nobody.
func TestForgedWebhooks(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.api.Takes = 10 * time.Minute
		p := newParking(r)
		p.enqueue(p.pool, "job-1")
		p.enqueue(p.pool, "job-2")
		time.Sleep(r.api.Takes + time.Second)
		asked := r.api.Count(predicttest.OpGet)
		genuine := func() *http.Request { return r.api.Webhook(t, "prediction1", secret) }
		stranger := r.api.Webhook(t, "prediction1", "whsec_"+strings.Repeat("A", 32))
		unsigned := genuine()
		unsigned.Header.Del("webhook-signature")
		diverted := genuine()
		query := diverted.URL.Query()
		query.Set("job", "job-2")
		diverted.URL = &url.URL{Scheme: "https", Host: diverted.URL.Host, Path: diverted.URL.Path, RawQuery: query.Encode()}
		for name, forged := range map[string]*http.Request{"stranger": stranger, "unsigned": unsigned, "diverted": diverted} {
			assert.Equal(t, http.StatusUnauthorized, p.call(p.server, forged), name)
		}
		time.Sleep(time.Second)
		assert.Equal(t, asked, r.api.Count(predicttest.OpGet))
		assert.Equal(t, worker.StateScheduled, p.state("job-1"))
		assert.Equal(t, worker.StateScheduled, p.state("job-2"))

		assert.Equal(t, http.StatusNoContent, p.call(p.server, genuine()), "no forged one has used up its id")
		resultOf(t, p.await("job-1"))
		assert.Equal(t, 2, r.api.Creations())
	})
}
