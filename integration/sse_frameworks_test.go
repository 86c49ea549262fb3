package integration

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gosse "github.com/tmaxmax/go-sse"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// moment is the nth status of a job on a topic.
func moment(topic, job string, n int64) worker.Status {
	return worker.Status{JobID: job, Type: "test:note", Topic: topic, State: worker.StateRunning, Version: 1<<14 | 1<<12 | n}
}

// ended is the final status of that job.
func ended(topic, job string) worker.Status {
	st := moment(topic, job, 0)
	st.State, st.Version = worker.StateSucceeded, 1<<14|3<<12
	return st
}

// parseOne returns what a foreign parser reads of a stream of m, and then of a message named "mark".
func parseOne(t *testing.T, m sse.Message) (read []gosse.Event) {
	t.Helper()
	recorder := workertest.NewNotifier()
	require.NoError(t, recorder.Notify(t.Context(), moment("t", "a", 0), ended("t", "a")))
	h, err := sse.NewHandler(recorder, sse.Config{
		EndAfterFinal: true, Logger: slog.New(slog.DiscardHandler),
		Encode: func(e worker.Event) (sse.Message, bool) {
			if e.Status.State.Final() {
				return sse.Message{Event: "mark", Data: []byte("mark")}, true
			}
			return m, true
		},
	})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	require.NoError(t, h.Stream(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), "t"))
	for e, err := range gosse.Read(bytes.NewReader(w.Body.Bytes()), &gosse.ReadConfig{MaxEventSize: 1 << 20}) {
		require.NoError(t, err)
		read = append(read, e)
	}
	return read
}

// Streams reach the page behind echo with its usual middleware. The user is echo's, so the route authorises.
func TestSSEBehindEcho(t *testing.T) {
	recorder := workertest.NewNotifier()
	h, err := sse.NewHandler(recorder, sse.Config{})
	require.NoError(t, err)
	e := echo.New()
	e.Use(echomiddleware.Recover(), echomiddleware.RequestID(), echomiddleware.BodyLimit("1M"), echomiddleware.Secure())
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Set("user", c.QueryParam("user"))
			return next(c)
		}
	})
	e.GET("/images/:id/events", func(c echo.Context) error {
		if c.Get("user") != "ann" {
			return echo.ErrForbidden
		}
		return h.Stream(c.Response(), c.Request(), "image:"+c.Param("id"))
	})
	server := standOn(t, h, e)
	watchBehind(t, recorder, h, server.URL+"/images/7/events?user=ann")
	b := &browser{client: browserClient(t), url: server.URL + "/images/7/events?user=bob"}
	err = b.visit(patient(t), nil)
	assert.ErrorContains(t, err, "403")
}

// Streams reach the page behind chi with its usual middleware, whose user is in the request's context.
func TestSSEBehindChi(t *testing.T) {
	type userKey struct{}
	recorder := workertest.NewNotifier()
	h, err := sse.NewHandler(recorder, sse.Config{
		Topics: func(r *http.Request) ([]string, error) { return []string{"image:" + chi.URLParam(r, "id")}, nil },
		Authorize: func(r *http.Request, _ string) error {
			if r.Context().Value(userKey{}) != "ann" {
				return errors.New("not yours")
			}
			return nil
		},
	})
	require.NoError(t, err)
	router := chi.NewRouter()
	router.Use(chimiddleware.RequestID, chimiddleware.Recoverer,
		chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: slog.NewLogLogger(slog.DiscardHandler, 0), NoColor: true}))
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), userKey{}, r.URL.Query().Get("user"))))
		})
	})
	router.Get("/images/{id}/events", h.ServeHTTP)
	server := standOn(t, h, router)
	watchBehind(t, recorder, h, server.URL+"/images/7/events?user=ann")
	b := &browser{client: browserClient(t), url: server.URL + "/images/7/events?user=bob"}
	assert.ErrorContains(t, b.visit(patient(t), nil), "403")
}

// watchBehind reads statuses as they are told, then again from the log, and leaves.
func watchBehind(t *testing.T, recorder *workertest.Recorder, h *sse.Handler, url string) {
	t.Helper()
	b := &browser{client: browserClient(t), url: url}
	require.NoError(t, recorder.Notify(t.Context(), moment("image:7", "a", 0)))
	n := int64(0)
	require.NoError(t, b.visit(patient(t), func(e gosse.Event) bool {
		require.Equal(t, moment("image:7", "a", n), statusOf(t, e))
		n++
		require.NoError(t, recorder.Notify(context.Background(), moment("image:7", "a", n)))
		return n < 20
	}))
	require.NoError(t, b.visit(patient(t), func(e gosse.Event) bool {
		require.Equal(t, moment("image:7", "a", 20), statusOf(t, e))
		return false
	}))
	require.Eventually(t, func() bool { return h.Streams() == 0 }, patience, streamsPoll, "a viewer who left is noticed")
}
