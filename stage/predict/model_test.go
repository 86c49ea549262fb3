package predict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/predicttest"
	"github.com/real-staging-ai/go-worker/stage"
)

func TestAPredictionBecomesAPicture(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		began := time.Now()
		st := r.run()
		result := resultOf(t, st)

		assert.Equal(t, &stage.Prediction{ID: "prediction1", Model: "owner/model:v1", Seconds: 2.5, Cost: 0.015}, result.Prediction)
		assert.Equal(t, "owner/model:v1", result.Model)
		assert.Equal(t, 8, result.Width)
		assert.Equal(t, 1, st.Attempt)
		assert.InDelta(t, 22.5, time.Since(began).Seconds(), 2.5, "it is seen at most 5 seconds late")
		assert.Less(t, r.api.Count(predicttest.OpGet), 15)
		assert.Empty(t, r.api.Canceled())

		require.Equal(t, 1, r.api.Creations())
		p := r.api.Predictions()[0]
		var input map[string]any
		require.NoError(t, json.Unmarshal(p.Input, &input))
		assert.Equal(t, map[string]any{"image": "https://photos.test/7.png", "seed": float64(result.Seed),
			"prompt": "Virtual staging of the room in this photo. Room: living room. Style: modern. Add fitting furniture and " +
				"decoration. Keep walls, windows, doors, floor, ceiling, light and the camera's position."}, input)
		assert.Equal(t, "owner/model:v1", p.Version)
		assert.Equal(t, "60m", p.Header.Get("Cancel-After"))
		assert.Empty(t, p.Header.Get("Idempotency-Key"), "net/http would send such a request twice")
	})
}

func TestWhatIsRun(t *testing.T) {
	for _, row := range []struct {
		change func(*Config)
		name   string
	}{
		{func(c *Config) { c.Version, c.Model = "", "owner/model" }, "owner/model"},
		{func(c *Config) { c.Version, c.Deployment = "", "owner/model" }, "owner/model"},
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			row.change(&r.cfg)
			assert.Equal(t, row.name, resultOf(t, r.run()).Model)
			assert.Equal(t, "owner/model", r.api.Predictions()[0].Model)
		})
	}
}

// times has a request misbehave the first n times.
func times(op string, n int, do http.HandlerFunc) func(string, int, http.ResponseWriter, *http.Request) bool {
	return func(asked string, nth int, w http.ResponseWriter, r *http.Request) bool {
		if asked != op || nth > n {
			return false
		}
		do(w, r)
		return true
	}
}

// after has the answer to a create that took effect misbehave, the first time.
func after(do http.HandlerFunc) func(int, http.ResponseWriter, *http.Request) bool {
	return func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			do(w, r)
		}
		return n == 1
	}
}

func code(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func drop(http.ResponseWriter, *http.Request) { predicttest.Drop() }

// halfway drops the connection within a picture.
func halfway(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write(picture(8)[:20])
	w.(http.Flusher).Flush()
	predicttest.Drop()
}

func endless(w http.ResponseWriter, r *http.Request) {
	for _, err := io.WriteString(w, `{"id":"prediction1","logs":"`); err == nil; {
		_, err = w.Write(bytes.Repeat([]byte("x"), 1<<16))
	}
}

func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

const page = "<html><body>502 Bad Gateway"

const always = 1 << 30

// Whatever the API does, a picture is paid once if it can be had, and at most twice.
func TestAPIMisbehaves(t *testing.T) {
	for _, row := range []struct {
		name      string
		misbehave func(string, int, http.ResponseWriter, *http.Request) bool
		created   func(int, http.ResponseWriter, *http.Request) bool
		change    func(*rig)
		fails     string // with this; empty: succeeds
		attempt   int
		creations int
		least     time.Duration // that it takes, beyond the prediction
		most      time.Duration
	}{
		{name: "create: 429 with Retry-After", misbehave: times(predicttest.OpCreate, 3, code(429, "Retry-After", "40")),
			attempt: 1, creations: 1, least: 2 * time.Minute, most: 3 * time.Minute},
		{name: "create: 429 with a date", misbehave: times(predicttest.OpCreate, 1, func(w http.ResponseWriter, r *http.Request) {
			code(429, "Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))(w, r)
		}), attempt: 1, creations: 1, least: 59 * time.Second, most: 2 * time.Minute},
		{name: "create: 429 as Replicate says it", misbehave: times(predicttest.OpCreate, 1,
			says(429, `{"detail":"Request was throttled. Your rate limit resets in ~30s."}`)),
			attempt: 1, creations: 1, least: 30 * time.Second, most: time.Minute},
		{name: "create: 429 without a word", misbehave: times(predicttest.OpCreate, 30, code(429)),
			attempt: 1, creations: 1, least: 5 * time.Minute, most: 10 * time.Minute},
		{name: "create: 429 for ever", misbehave: times(predicttest.OpCreate, always, code(429, "Retry-After", "60")),
			fails: "429", attempt: 5, creations: 0, least: time.Hour, most: 2 * time.Hour},
		{name: "get: 429", misbehave: times(predicttest.OpGet, 2, code(429, "Retry-After", "30")),
			attempt: 1, creations: 1, least: 40 * time.Second, most: 2 * time.Minute},

		{name: "create: 500", misbehave: times(predicttest.OpCreate, 1, code(500)), attempt: 2, creations: 1, least: 10 * time.Second},
		{name: "create: 500 after it took effect", created: after(code(500)), attempt: 2, creations: 1},
		{name: "create: 503 with Retry-After", misbehave: times(predicttest.OpCreate, 1, code(503, "Retry-After", "60")),
			attempt: 2, creations: 1, least: time.Minute},
		{name: "create: dropped", misbehave: times(predicttest.OpCreate, 1, drop), attempt: 2, creations: 1},
		{name: "create: dropped after it took effect", created: after(drop), attempt: 2, creations: 1},
		{name: "create: a page after it took effect", created: after(says(200, page)), attempt: 2, creations: 1},
		{name: "create: wrong types after it took effect", created: after(says(201, `{"id":7,"status":["x"]}`)), attempt: 2, creations: 1},
		{name: "create: no id after it took effect", created: after(says(201, `{"status":"starting"}`)), attempt: 2, creations: 1},
		{name: "create: an id that is a path", created: after(says(201, `{"id":"../account"}`)), attempt: 2, creations: 1},
		{name: "create: endless after it took effect", created: after(endless), attempt: 2, creations: 1},
		{name: "create: no answer after it took effect", created: after(silent), attempt: 2, creations: 1},
		{name: "create: a redirect", misbehave: times(predicttest.OpCreate, 1, code(307, "Location", "https://evil.test/")), attempt: 2, creations: 1},
		{name: "create: out of service", misbehave: times(predicttest.OpCreate, always, code(500)), fails: "500", attempt: 5},

		{name: "create: 400", misbehave: times(predicttest.OpCreate, always, code(400)), fails: "400", attempt: 1},
		{name: "create: 401", misbehave: times(predicttest.OpCreate, always, code(401)), fails: "401", attempt: 1},
		{name: "create: 402", misbehave: times(predicttest.OpCreate, always, code(402)), fails: "402", attempt: 1},
		{name: "create: 403", misbehave: times(predicttest.OpCreate, always, code(403)), fails: "403", attempt: 1},
		{name: "create: 404", misbehave: times(predicttest.OpCreate, always, code(404)), fails: "404", attempt: 1},
		{name: "create: 422", misbehave: times(predicttest.OpCreate, always, says(422, `{"detail":"seed is missing"}`)),
			fails: "422 Unprocessable Entity: seed is missing", attempt: 1},

		{name: "get: 500", misbehave: times(predicttest.OpGet, 4, code(500)), attempt: 1, creations: 1},
		{name: "get: 500 for long", misbehave: times(predicttest.OpGet, 9, code(500)), attempt: 2, creations: 1},
		{name: "get: dropped", misbehave: times(predicttest.OpGet, 4, drop), attempt: 1, creations: 1},
		{name: "get: a page", misbehave: times(predicttest.OpGet, 4, says(200, page)), attempt: 1, creations: 1},
		{name: "get: wrong types", misbehave: times(predicttest.OpGet, 4, says(200, `[]`)), attempt: 1, creations: 1},
		{name: "get: another one", misbehave: times(predicttest.OpGet, 4, says(200, `{"id":"prediction9","status":"succeeded"}`)), attempt: 1, creations: 1},
		{name: "get: slow", misbehave: func(op string, _ int, _ http.ResponseWriter, _ *http.Request) bool {
			time.Sleep(25 * time.Second)
			return false
		}, attempt: 1, creations: 1},
		{name: "get: silent", misbehave: times(predicttest.OpGet, 4, silent), attempt: 1, creations: 1},
		{name: "get: endless", misbehave: times(predicttest.OpGet, 1, endless), attempt: 2, creations: 1},
		{name: "get: 401", misbehave: times(predicttest.OpGet, always, code(401)), fails: "401", attempt: 1, creations: 1},
		{name: "get: 404 at first", misbehave: times(predicttest.OpGet, 4, code(404)), attempt: 1, creations: 1},
		{name: "get: 404 for ever", misbehave: times(predicttest.OpGet, always, code(404)), fails: "is gone", creations: 2, attempt: 2},

		{name: "fails once", change: outcomes(1, predicttest.Outcome{Status: "failed", Error: "CUDA out of memory"}), attempt: 2, creations: 2},
		{name: "fails always", change: outcomes(always, predicttest.Outcome{Status: "failed", Error: "CUDA out of memory"}),
			fails: "prediction prediction2 failed: CUDA out of memory", attempt: 2, creations: 2},
		{name: "fails by policy", change: outcomes(always, predicttest.Outcome{Status: "failed", Error: "NSFW content detected"}),
			fails: "NSFW", attempt: 1, creations: 1},
		{name: "fails for a URL", change: outcomes(always, predicttest.Outcome{Status: "failed",
			Error: "cannot open https://s3.test/photo.png?X-Amz-Signature=" + token + "\x00"}),
			fails: "cannot open https://s3.test/photo.png", attempt: 2, creations: 2},
		{name: "is aborted", change: outcomes(1, predicttest.Outcome{Status: "aborted"}), attempt: 2, creations: 2},
		{name: "never ends", change: func(r *rig) {
			outcomes(always, predicttest.Outcome{Never: true})(r)
			r.timeout = time.Minute
		}, fails: "the job's time was over", attempt: 2, creations: 2},
		{name: "lives too long", change: func(r *rig) {
			outcomes(1, predicttest.Outcome{Never: true})(r)
			r.cfg.Lifetime = time.Minute
		}, attempt: 2, creations: 2, least: time.Minute},

		{name: "output: gone once", misbehave: times(predicttest.OpOutput, 1, code(404)), attempt: 2, creations: 1, least: 30 * time.Second},
		{name: "output: gone", misbehave: times(predicttest.OpOutput, 2, code(404)), attempt: 3, creations: 2},
		{name: "output: gone for ever", misbehave: times(predicttest.OpOutput, always, code(404)), fails: "it is gone: 404", attempt: 4, creations: 2},
		{name: "output: a page", misbehave: times(predicttest.OpOutput, 1, says(200, page)), attempt: 2, creations: 1},
		{name: "output: a page for ever", misbehave: times(predicttest.OpOutput, always, says(200, page)), fails: "it looks like text/html", attempt: 4, creations: 2},
		{name: "output: empty", misbehave: times(predicttest.OpOutput, 1, code(200)), attempt: 2, creations: 1},
		{name: "output: 500", misbehave: times(predicttest.OpOutput, 3, code(500)), attempt: 4, creations: 1},
		{name: "output: 429", misbehave: times(predicttest.OpOutput, 9, code(429)), attempt: 1, creations: 1},
		{name: "output: 429 for ever", misbehave: times(predicttest.OpOutput, always, code(429, "Retry-After", "60")),
			fails: "429", attempt: 5, creations: 1, least: time.Hour, most: 2 * time.Hour},
		{name: "output: dropped", misbehave: times(predicttest.OpOutput, 2, drop), attempt: 2, creations: 1},
		{name: "output: dropped halfway", misbehave: times(predicttest.OpOutput, 1, halfway), attempt: 2, creations: 1},
		{name: "output: never comes", misbehave: times(predicttest.OpOutput, 1, silent), attempt: 2, creations: 1, least: 2 * time.Minute},
		{name: "output: too large", change: func(r *rig) { r.cfg.MaxOutput = 20 }, fails: "the limit is 20 bytes", attempt: 1, creations: 1},
		{name: "output: endless", misbehave: times(predicttest.OpOutput, always, endless), change: func(r *rig) { r.cfg.MaxOutput = 1 << 20 },
			fails: "the limit is 1048576 bytes", attempt: 1, creations: 1},
		{name: "output: of a strange form", change: outcomes(always, predicttest.Outcome{Output: map[string]any{"mask": 1}}),
			fails: "none of the known forms", attempt: 1, creations: 1},

		{name: "list: 500 after a lost create", created: after(drop), misbehave: times(predicttest.OpList, 1, code(500)), attempt: 3, creations: 1},
		{name: "list: 429 after a lost create", created: after(drop), misbehave: times(predicttest.OpList, 1, code(429)), attempt: 2, creations: 1},
		{name: "list: a page after a lost create", created: after(drop), misbehave: times(predicttest.OpList, 1, says(200, page)), attempt: 3, creations: 1},
		{name: "list: wrong types after a lost create", created: after(drop), misbehave: times(predicttest.OpList, 1, says(200, `{"results":{}}`)), attempt: 3, creations: 1},
		{name: "list: there is none", created: after(drop), misbehave: times(predicttest.OpList, always, code(404)), attempt: 2, creations: 2},
		{name: "list: shows nothing of inputs", created: after(drop), change: func(r *rig) { r.api.HidesInput = true }, attempt: 2, creations: 2},
		{name: "a lost create whose prediction fails", created: after(drop), change: outcomes(1, predicttest.Outcome{Status: "failed"}), attempt: 3, creations: 2},
		{name: "a create that is lost after a failure", change: outcomes(1, predicttest.Outcome{Status: "failed"}),
			created: func(n int, _ http.ResponseWriter, _ *http.Request) bool {
				if n == 2 {
					predicttest.Drop()
				}
				return false
			}, attempt: 3, creations: 2},
		{name: "a create that is lost before it took effect, after a failure", change: outcomes(1, predicttest.Outcome{Status: "failed"}),
			misbehave: func(op string, n int, _ http.ResponseWriter, _ *http.Request) bool {
				if op == predicttest.OpCreate && n == 2 {
					predicttest.Drop()
				}
				return false
			}, attempt: 3, creations: 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.cfg.Final = func(message string) bool { return strings.Contains(message, "NSFW") }
				r.api.Misbehave, r.api.Created = row.misbehave, row.created
				if row.change != nil {
					row.change(r)
				}
				began := time.Now()
				st := r.run()
				took := time.Since(began)

				if row.fails == "" {
					resultOf(t, st)
				} else {
					assert.Equal(t, worker.StateFailed, st.State)
					assert.Contains(t, st.Error, row.fails)
				}
				assert.Equal(t, row.attempt, st.Attempt, "%s", r.log.String())
				assert.Equal(t, row.creations, r.api.Creations())
				assert.GreaterOrEqual(t, took, row.least)
				assert.Less(t, took, max(row.most, 15*time.Minute))
				for _, p := range r.api.Predictions() { // none is left running
					assert.Subset(t, []string{"succeeded", "failed", "aborted", "canceled"}, []string{r.statusOf(p)})
				}
			})
		})
	}
}

// outcomes gives the first n predictions an outcome.
func outcomes(n int, o predicttest.Outcome) func(*rig) {
	return func(r *rig) {
		r.api.Outcome = func(nth int) predicttest.Outcome {
			if nth > n {
				return predicttest.Outcome{}
			}
			return o
		}
	}
}

// statusOf is what the API says of a prediction when it is left to itself for a minute: nobody cancels it any more.
func (r *rig) statusOf(p predicttest.Prediction) string {
	time.Sleep(time.Minute)
	r.api.Misbehave = nil
	model := r.model()
	told, err := model.api.get(r.t.Context(), p.ID)
	require.NoError(r.t, err)
	return string(told.Status)
}

func TestConfigIsChecked(t *testing.T) {
	for _, row := range []struct {
		change func(*Config)
		says   string
	}{
		{func(c *Config) { c.Token = "" }, "Token is empty"},
		{func(c *Config) { c.Token = "two\nlines" }, "characters that a header cannot carry"},
		{func(c *Config) { c.Version = "" }, "0 of Version, Model and Deployment"},
		{func(c *Config) { c.Model = "owner/name" }, "2 of Version, Model and Deployment"},
		{func(c *Config) { c.Version, c.Model = "", "../account" }, "owner/name"},
		{func(c *Config) { c.Version, c.Deployment = "", "a/b/c" }, "owner/name"},
		{func(c *Config) { c.BaseURL = "http://api.test" }, `BaseURL: its scheme is "http"`},
		{func(c *Config) { c.BaseURL = "https://me:" + token + "@api.test" }, "BaseURL: it has credentials"},
		{func(c *Config) { c.BaseURL = "https://api.test\x7f" + token }, "BaseURL: it is no URL"},
		{func(c *Config) { c.MaxOutput = -1 }, "MaxOutput is -1"},
		{func(c *Config) { c.PricePerSecond = math.Inf(1) }, "PricePerSecond is +Inf: the limit is 1e+30"},
		{func(c *Config) { c.Lifetime = -time.Second }, "Lifetime is"},
		{func(c *Config) { c.IdempotencyHeader = "Idempotency Key" }, `IdempotencyHeader is "Idempotency Key": a name has`},
		{func(c *Config) { c.IdempotencyHeader = "authorization" }, `IdempotencyHeader is "Authorization": that one is taken`},
		{func(c *Config) { c.IdempotencyHeader = "host" }, `IdempotencyHeader is "Host": that one is the connection's`},
		{func(c *Config) { c.IdempotencyHeader = "Content-Length" }, "is not sent"},
		{func(c *Config) { c.IdempotencyHeader = "transfer-encoding" }, "is not sent"},
		{func(c *Config) { c.IdempotencyHeader = "TRAILER" }, "is not sent"},
		{func(c *Config) { c.IdempotencyHeader = "Connection" }, "is not sent"},
		{func(c *Config) { c.PollMin, c.PollMax = 2, 1 }, "PollMin is 2ns: it must not exceed PollMax"},
		{func(c *Config) { c.OutputHosts = []string{"https://cdn.test"} }, "is no host"},
		{func(c *Config) { c.Webhook = &Webhook{URL: "http://hook.test", Secret: secret} }, `Webhook: URL: its scheme is "http"`},
		{func(c *Config) { c.Webhook = &Webhook{URL: "https://hook.test", Secret: token} }, "Webhook: a webhook secret"},
	} {
		cfg := Config{Token: token, Version: "v1"}
		row.change(&cfg)
		_, err := New(cfg)
		require.ErrorContains(t, err, row.says)
		assert.NotContains(t, err.Error(), token)
	}
	model, err := New(Config{Token: token, Version: "v1", Webhook: &Webhook{URL: "https://hook.test", Secret: secret}})
	require.NoError(t, err, "the zero value of the rest works")
	for _, text := range []string{fmt.Sprintf("%+v %#v", model, model), fmt.Sprintf("%+v", Config{Token: token}),
		fmt.Sprintf("%#v %q %x", Secret(token), Secret(token), Secret(token))} {
		assert.NotContains(t, text, token)
	}
}
