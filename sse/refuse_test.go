package sse_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestNewHandlerReportsAllProblems(t *testing.T) {
	_, err := sse.NewHandler((*workertest.Recorder)(nil), sse.Config{Heartbeat: -1, MaxTopics: -1, WriteTimeout: time.Microsecond})
	require.Error(t, err)
	for _, part := range []string{"subscriber is nil", "Heartbeat is -1ns", "MaxTopics is -1", "WriteTimeout is 1µs"} {
		assert.ErrorContains(t, err, part)
	}
	_, err = sse.NewHandler(nil, sse.Config{})
	assert.ErrorContains(t, err, "subscriber is nil")
	_, err = sse.NewHandler(workertest.NewNotifier(), sse.Config{MaxTopics: 101})
	require.EqualError(t, err, "new SSE handler: MaxTopics is 101: the most is 100")
	_, err = sse.NewHandler(workertest.NewNotifier(), sse.Config{MaxTopics: 100})
	require.NoError(t, err)
	_, err = sse.NewHandler(workertest.NewNotifier(), sse.Config{})
	assert.NoError(t, err)
}

func TestBadTopicsAreRefused(t *testing.T) {
	s := open(t, sse.Config{MaxTopics: 2})
	for query, want := range map[string]string{
		"":                                     "topic is missing",
		"topic=":                               "topic is empty",
		"topic=" + strings.Repeat("x", 513):    "topic has 513 bytes: the limit is 512",
		"topic=%0a":                            `topic "\n" contains a control character`,
		"topic=%ff":                            `topic "\xff" is not valid UTF-8`,
		"topic=a&topic=b&topic=c":              "topic is given more than 2 times: that is the limit",
		"topic=" + url.QueryEscape("a\u0085b"): `topic "a\u0085b" contains a control character`,
	} {
		resp := s.get(query, "")
		assert.Equal(t, http.StatusBadRequest, resp.code, query)
		assert.Equal(t, want, resp.body, query)
	}
	s.view("topic=a&topic=b&topic=a", "")
}

func TestAuthorisation(t *testing.T) {
	s := open(t, sse.Config{Authorize: func(r *http.Request, topic string) error {
		if c, err := r.Cookie("user"); err == nil && strings.HasPrefix(topic, c.Value+":") {
			return nil
		}
		return errors.New("the secret reason")
	}})
	s.recorder.Publish("ann:1", []byte("news"))
	resp := s.get("topic=ann:1", "")
	assert.Equal(t, http.StatusForbidden, resp.code)
	assert.Equal(t, "Forbidden", resp.body)
	ask := func(query string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+query, http.NoBody)
		ctx, cancel := context.WithCancel(r.Context())
		cancel() // one that may see the topic is gone at once
		r.AddCookie(&http.Cookie{Name: "user", Value: "ann"})
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r.WithContext(ctx))
		return w.Code
	}
	assert.Equal(t, http.StatusForbidden, ask("topic=ann:1&topic=bob:1"), "each topic is asked for")
	assert.NotEqual(t, http.StatusForbidden, ask("topic=ann:1"))
}

func TestWithoutAuthorizeNobodyIsAuthorised(t *testing.T) {
	recorder := workertest.NewNotifier()
	h, err := sse.NewHandler(recorder, sse.Config{})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	mux.HandleFunc("/mine", func(w http.ResponseWriter, r *http.Request) { _ = h.Stream(w, r, "job:a") })
	s := serve(t, h, mux, recorder)
	assert.Equal(t, http.StatusForbidden, s.get("topic=job:a", "").code)
	s.tell(life("a")...)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://site/mine", http.NoBody)
	require.NoError(t, err)
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

func TestOnlyGETStreams(t *testing.T) {
	s := open(t, sse.Config{})
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodOptions} {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/?topic=a", http.NoBody))
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
		assert.Equal(t, "GET", w.Header().Get("Allow"))
		assert.Error(t, s.handler.Stream(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), method, "/", http.NoBody), "a"))
	}
}

func TestStreamsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{MaxStreams: 2})
		first := s.view("topic=a", "")
		s.view("topic=a", "")
		assert.Equal(t, 2, s.handler.Streams())
		resp := s.get("topic=a", "")
		assert.Equal(t, http.StatusServiceUnavailable, resp.code)
		assert.Equal(t, "2", resp.header.Get("Retry-After"))
		first.body.Close()
		synctest.Wait()
		s.view("topic=a", "")
	})
}

func TestSubscriberThatFails(t *testing.T) {
	s := openOver(t, subscriberFunc(func(context.Context, string, string) (<-chan worker.Event, error) {
		return nil, errors.New("no Redis")
	}), nil, sse.Config{})
	resp := s.get("topic=a", "")
	assert.Equal(t, http.StatusServiceUnavailable, resp.code)
	assert.Equal(t, "Service Unavailable", resp.body)
	assert.Zero(t, s.handler.Streams())
}

func TestErrorsInTheHostsWords(t *testing.T) {
	s := open(t, sse.Config{
		Topics: func(r *http.Request) ([]string, error) {
			if id := r.FormValue("image"); id != "" {
				return []string{"image:" + id}, nil
			}
			return nil, errors.New("which image?")
		},
		Error: func(w http.ResponseWriter, _ *http.Request, code int, err error) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, "%q", err)
		},
	})
	assert.Equal(t, `"which image?"`, s.get("", "").body)
	s.view("image=7", "")
	s.handler.Shutdown()
	resp := s.get("image=7", "")
	assert.Equal(t, http.StatusServiceUnavailable, resp.code)
	assert.Equal(t, `"the server is shutting down"`, resp.body)
	err := s.handler.Stream(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), "a")
	assert.ErrorIs(t, err, sse.ErrShutdown)
}
