package predict

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
)

const body = `{"id":"prediction1","status":"succeeded"}`

var hook = &Webhook{URL: "https://hook.test/predictions?tenant=7", Secret: secret}

// sign signs as the API does.
var sign = predicttest.Sign

func delivery(target, id string, at time.Time, signature, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	r.Header.Set("webhook-signature", signature)
	return r
}

func TestWebhooksAreVerified(t *testing.T) {
	const other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	const long = `{"id":"prediction1","status":"succeeded","logs":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`
	mine := hook.urlFor("job-1", "renders", "key-1")
	edit := func(edit func(url.Values)) string {
		u, err := url.Parse(mine)
		require.NoError(t, err)
		query := u.Query()
		edit(query)
		u.RawQuery = query.Encode()
		return u.String()
	}
	for _, row := range []struct {
		name    string
		request func(now time.Time) *http.Request
		code    int
		wakes   bool
	}{
		{"good", func(now time.Time) *http.Request { return delivery(mine, "a", now, sign(secret, "a", now, body), body) }, 204, true},
		{"the second signature", func(now time.Time) *http.Request {
			return delivery(mine, "a", now, "v1a,AAAA v1,!! "+sign(other, "a", now, "x")+" "+sign(secret, "a", now, body), body)
		}, 204, true},
		{"in a header of its own", func(now time.Time) *http.Request {
			r := delivery(mine, "a", now, sign(other, "a", now, "x"), body)
			r.Header.Add("webhook-signature", sign(secret, "a", now, body))
			return r
		}, 204, true},
		{"the old secret", func(now time.Time) *http.Request { return delivery(mine, "a", now, sign(other, "a", now, body), body) }, 204, true},
		{"4 minutes old", func(now time.Time) *http.Request {
			at := now.Add(-4 * time.Minute)
			return delivery(mine, "a", at, sign(secret, "a", at, body), body)
		}, 204, true},
		{"still running", func(now time.Time) *http.Request {
			const body = `{"status":"processing"}`
			return delivery(mine, "a", now, sign(secret, "a", now, body), body)
		}, 204, false},

		{"6 minutes old", func(now time.Time) *http.Request {
			at := now.Add(-6 * time.Minute)
			return delivery(mine, "a", at, sign(secret, "a", at, body), body)
		}, 401, false},
		{"from the future", func(now time.Time) *http.Request {
			at := now.Add(6 * time.Minute)
			return delivery(mine, "a", at, sign(secret, "a", at, body), body)
		}, 401, false},
		{"of another time", func(now time.Time) *http.Request {
			return delivery(mine, "a", now, sign(secret, "a", now.Add(-time.Second), body), body)
		}, 401, false},
		{"of another id", func(now time.Time) *http.Request { return delivery(mine, "a", now, sign(secret, "b", now, body), body) }, 401, false},
		{"of another body", func(now time.Time) *http.Request {
			return delivery(mine, "a", now, sign(secret, "a", now, body), body+" ")
		}, 401, false},
		{"of a stranger", func(now time.Time) *http.Request {
			return delivery(mine, "a", now, sign("whsec_"+strings.Repeat("A", 32), "a", now, body), body)
		}, 401, false},
		{"of another version", func(now time.Time) *http.Request {
			return delivery(mine, "a", now, "v2"+strings.TrimPrefix(sign(secret, "a", now, body), "v1"), body)
		}, 401, false},
		{"no signature", func(now time.Time) *http.Request { return delivery(mine, "a", now, "", body) }, 401, false},
		{"no id", func(now time.Time) *http.Request { return delivery(mine, "", now, sign(secret, "", now, body), body) }, 401, false},
		{"an endless id", func(now time.Time) *http.Request {
			id := strings.Repeat("a", 257)
			return delivery(mine, id, now, sign(secret, id, now, body), body)
		}, 401, false},
		{"no time", func(now time.Time) *http.Request {
			r := delivery(mine, "a", now, sign(secret, "a", now, body), body)
			r.Header.Set("webhook-timestamp", "now")
			return r
		}, 401, false},
		{"another job", func(now time.Time) *http.Request {
			target := edit(func(q url.Values) { q.Set("job", "job-2") })
			return delivery(target, "a", now, sign(secret, "a", now, body), body)
		}, 401, false},
		{"another queue", func(now time.Time) *http.Request {
			target := edit(func(q url.Values) { q.Set("queue", "default") })
			return delivery(target, "a", now, sign(secret, "a", now, body), body)
		}, 401, false},
		{"parts moved", func(now time.Time) *http.Request {
			target := edit(func(q url.Values) { q.Set("queue", "render"); q.Set("key", "skey-1") })
			return delivery(target, "a", now, sign(secret, "a", now, body), body)
		}, 401, false},
		{"no job", func(now time.Time) *http.Request {
			return delivery("https://hook.test/", "a", now, sign(secret, "a", now, body), body)
		}, 401, false},
		{"a page", func(now time.Time) *http.Request { return delivery(mine, "a", now, sign(secret, "a", now, page), page) }, 400, false},
		{"too large", func(now time.Time) *http.Request { return delivery(mine, "a", now, sign(secret, "a", now, long), long) }, 413, false},
		{"cut short", func(now time.Time) *http.Request {
			r := delivery(mine, "a", now, sign(secret, "a", now, body), body)
			r.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
			return r
		}, 400, false},
		{"read", func(now time.Time) *http.Request { return httptest.NewRequest(http.MethodGet, mine, nil) }, 405, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var woken []string
			handler, err := NewWebhookHandler(WebhookConfig{Secrets: []Secret{other, secret}, MaxBytes: 64,
				Wake: func(_ context.Context, job, queue string) error { woken = append(woken, job+"@"+queue); return nil }})
			require.NoError(t, err)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, row.request(time.Now()))
			assert.Equal(t, row.code, answer.Code, answer.Body)
			assert.Equal(t, row.wakes, len(woken) == 1)
			if row.wakes {
				assert.Equal(t, "job-1@renders", woken[0])
			}
		})
	}
}

// Of strangers not a byte is read: only the API knows a URL that is signed.
func TestWebhooksOfStrangersAreNotRead(t *testing.T) {
	handler, err := NewWebhookHandler(WebhookConfig{Secrets: []Secret{secret},
		Wake: func(context.Context, string, string) error { return nil }})
	require.NoError(t, err)
	for _, target := range []string{
		"https://hook.test/", "https://hook.test/?job=job-1&queue=q&key=k&sig=AAAA",
		(&Webhook{URL: hook.URL, Secret: "whsec_" + Secret(strings.Repeat("A", 32))}).urlFor("job-1", "q", "k"),
	} {
		request := delivery(target, "a", time.Now(), sign(secret, "a", time.Now(), body), body)
		read := false
		request.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { read = true; return 0, io.EOF }))
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		assert.Equal(t, http.StatusUnauthorized, answer.Code)
		assert.False(t, read, target)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// The example that implementations of Standard Webhooks are compared with.
func TestStandardWebhooksExample(t *testing.T) {
	handler, err := NewWebhookHandler(WebhookConfig{Secrets: []Secret{secret},
		Wake: func(context.Context, string, string) error { return nil }})
	require.NoError(t, err)
	assert.True(t, handler.signed("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`),
		[]string{"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}))
}

// What Wake says of the job is no trouble of anybody's.
func TestWebhooksOfJobsThatDoNotWait(t *testing.T) {
	for _, row := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("run job now: %w", worker.ErrJobActive), 503},
		{fmt.Errorf("run job now: %w", worker.ErrCanceled), 204},
		{fmt.Errorf("run job now: %w", worker.ErrJobNotFound), 204},
		{fmt.Errorf("run job now: %w", &worker.FinishedError{ID: "job-1", State: worker.StateSucceeded}), 204},
	} {
		var log strings.Builder
		handler, err := NewWebhookHandler(WebhookConfig{Secrets: []Secret{secret}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Wake: func(context.Context, string, string) error { return row.err }})
		require.NoError(t, err)
		answer, now := httptest.NewRecorder(), time.Now()
		handler.ServeHTTP(answer, delivery(hook.urlFor("job-1", "q", "k"), "a", now, sign(secret, "a", now, body), body))
		assert.Equal(t, row.code, answer.Code)
		assert.Empty(t, log.String())
	}
}

// A webhook that was taken is not passed on again; one that failed is.
func TestRepeatedWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wakes, fails := 0, true
		var log strings.Builder
		handler, err := NewWebhookHandler(WebhookConfig{Secrets: []Secret{secret}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Wake: func(context.Context, string, string) error {
				if wakes++; fails {
					return errors.New("redis is away")
				}
				return nil
			}})
		require.NoError(t, err)
		deliver := func(id string) int {
			answer := httptest.NewRecorder()
			now := time.Now()
			handler.ServeHTTP(answer, delivery(hook.urlFor("job-1", "q", "k"), id, now, sign(secret, id, now, body), body))
			return answer.Code
		}
		assert.Equal(t, 500, deliver("a"))
		assert.Contains(t, log.String(), "redis is away")
		fails = false
		for range 3 {
			assert.Equal(t, 204, deliver("a"))
		}
		assert.Equal(t, 2, wakes)
		for i := range 2*maxSeen + 1 {
			handler.learn(fmt.Sprint(i))
		}
		assert.LessOrEqual(t, len(handler.seen), maxSeen)
	})
}

func TestWebhookConfigIsChecked(t *testing.T) {
	_, err := NewWebhookHandler(WebhookConfig{Secrets: []Secret{token, "whsec_AAAA"}, MaxBytes: -1})
	require.Error(t, err)
	for _, text := range []string{"Secrets[0]", "Secrets[1]", "Wake is nil", "MaxBytes is -1"} {
		assert.ErrorContains(t, err, text)
	}
	assert.NotContains(t, err.Error(), token)
	_, err = NewWebhookHandler(WebhookConfig{Wake: func(context.Context, string, string) error { return nil }})
	assert.ErrorContains(t, err, "Secrets is empty")
}

// Parked jobs hold no slot: five predictions run at once in one slot. Nobody wakes the jobs, so they look by themselves.
func TestParkedJobsHoldNoSlot(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Webhook, r.api.Takes = hook, 10*time.Minute
		pool := r.pool()
		for i := range 5 {
			r.enqueue(pool, fmt.Sprint("job-", i))
		}
		time.Sleep(5 * time.Second)
		assert.Equal(t, 5, r.api.Creations())
		for i := range 5 {
			st := r.await(fmt.Sprint("job-", i))
			resultOf(t, st)
			assert.Equal(t, 1, st.Attempt)
		}
		assert.Equal(t, 5, r.api.Creations())
		assert.LessOrEqual(t, r.api.Count(predicttest.OpGet), 5*8)
		assert.Equal(t, []worker.State{worker.StateQueued, worker.StateRunning, worker.StateScheduled}, r.states("job-0")[:3])

		target, err := url.Parse(r.api.Predictions()[0].Webhook)
		require.NoError(t, err)
		assert.Equal(t, "job-0", target.Query().Get("job"))
		assert.Equal(t, "default", target.Query().Get("queue"))
		assert.Equal(t, "7", target.Query().Get("tenant"))
	})
}

// A lost create of a parked job is found by the key in the webhook's URL.
func TestParkedJobFindsALostCreate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.cfg.Webhook, r.api.Created = hook, after(drop)
		resultOf(t, r.run())
		assert.Equal(t, 1, r.api.Creations())
	})
}

// A parked job does not pay again and again for predictions that somebody stops, nor wait for ever for one.
func TestParkedJobsEnd(t *testing.T) {
	t.Run("stopped", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.cfg.Webhook = hook
			r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Status: "aborted"} }
			assert.Equal(t, worker.StateFailed, r.run().State)
			assert.Equal(t, 2, r.api.Creations())
		})
	})
	t.Run("never over", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.cfg.Webhook = hook
			r.api.Outcome = func(int) predicttest.Outcome { return predicttest.Outcome{Never: true} }
			began := time.Now()
			assert.Contains(t, r.run().Error, "it took longer than 1h0m0s")
			assert.Len(t, r.api.Canceled(), 2)
			assert.Less(t, time.Since(began), 3*time.Hour)
		})
	})
}

func TestParkedFor(t *testing.T) {
	assert.Equal(t, 15*time.Second, parkedFor(0))
	assert.Equal(t, 2*time.Minute, parkedFor(3))
	assert.Equal(t, 5*time.Minute, parkedFor(5))
	assert.Equal(t, 5*time.Minute, parkedFor(1000))
}
