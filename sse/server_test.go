package sse_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// onBoth runs a test over HTTP/1.1 and over HTTP/2, each in a bubble of its own.
func onBoth(t *testing.T, test func(t *testing.T, speak func(*http.Protocols, bool))) {
	t.Run("HTTP/1.1", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, (*http.Protocols).SetHTTP1) })
	})
	t.Run("HTTP/2", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, (*http.Protocols).SetUnencryptedHTTP2) })
	})
}

func TestStreamOutlivesTheServersTimeouts(t *testing.T) {
	onBoth(t, func(t *testing.T, speak func(*http.Protocols, bool)) {
		recorder := workertest.NewNotifier()
		h, err := sse.NewHandler(recorder, sse.Config{Authorize: sse.Public, Encode: brief, WriteTimeout: 3 * time.Second})
		require.NoError(t, err)
		s := serve(t, h, h, recorder, func(server *http.Server) {
			server.ReadTimeout, server.WriteTimeout = time.Second, time.Second
		})
		s.speak(speak)
		v := s.view("topic=job:a", "")
		for _, st := range life("a") {
			v.idle(time.Minute)
			s.tell(st)
			v.reads(text(st))
		}
	})
}

func TestViewerWhoLeavesIsForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, speak func(*http.Protocols, bool)) {
		s := open(t, sse.Config{Snapshot: (&table{}).read})
		s.speak(speak)
		for range 3 {
			v := s.view("topic=a&topic=b", "")
			synctest.Wait()
			require.Equal(t, 1, s.handler.Streams())
			v.body.Close()
			synctest.Wait()
			require.Zero(t, s.handler.Streams())
		}
	})
}

func TestShutdownEndsAllStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, speak func(*http.Protocols, bool)) {
		s := open(t, sse.Config{})
		s.server.RegisterOnShutdown(s.handler.Shutdown)
		s.speak(speak)
		var viewers []*viewer
		for range 5 {
			viewers = append(viewers, s.view("topic=a", ""))
		}
		begun := time.Now()
		down := make(chan error, 1)
		go func() { down <- s.server.Shutdown(context.Background()) }()
		for _, v := range viewers {
			v.ends()
		}
		s.client.CloseIdleConnections()
		require.NoError(t, <-down)
		assert.Less(t, time.Since(begun), 3*time.Second, "what the server itself takes")
		assert.Zero(t, s.handler.Streams())
	})
}

func TestConnectionIsOfUseAfterAStream(t *testing.T) {
	onBoth(t, func(t *testing.T, speak func(*http.Protocols, bool)) {
		s := open(t, sse.Config{Encode: brief, EndAfterFinal: true})
		s.speak(speak)
		s.tell(life("a")...)
		v := s.view("topic=job:a", "")
		v.reads(texts(life("a")...)...)
		v.ends()
		for range 3 {
			finished(t, s, "topic=job:a", v.id)
			time.Sleep(time.Minute) // of the bubble: no deadline may be left from before
		}
		assert.EqualValues(t, 1, s.listener.dials.Load())
	})
}

// wrapped is what middleware makes of a ResponseWriter.
type wrapped struct{ http.ResponseWriter }

// unwrapped is one that can be seen through.
type unwrapped struct{ wrapped }

func (w unwrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestBehindWrappersThatUnwrap(t *testing.T) {
	recorder := workertest.NewNotifier()
	h, err := sse.NewHandler(recorder, sse.Config{Encode: brief, Authorize: sse.Public})
	require.NoError(t, err)
	s := serve(t, h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(unwrapped{wrapped{unwrapped{wrapped{w}}}}, r)
	}), recorder)
	v := s.view("topic=job:a", "")
	s.tell(life("a")...)
	v.reads(texts(life("a")...)...)
}

func TestBehindAWrapperThatCannotFlush(t *testing.T) {
	h, err := sse.NewHandler(workertest.NewNotifier(), sse.Config{})
	require.NoError(t, err)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	assert.ErrorIs(t, h.Stream(wrapped{httptest.NewRecorder()}, r, "a"), http.ErrNotSupported)
	assert.Zero(t, h.Streams())
}

// undeadlined is a writer that flushes and knows no deadlines.
type undeadlined struct {
	*httptest.ResponseRecorder
	fail error
}

func (w undeadlined) Write(b []byte) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	return w.ResponseRecorder.Write(b)
}

func TestWritersWithoutDeadlinesAreOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, err := sse.NewHandler(workertest.NewNotifier(), sse.Config{MaxAge: time.Minute})
		require.NoError(t, err)
		w := undeadlined{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		require.NoError(t, h.Stream(w, r, "a"))
		assert.Contains(t, w.Body.String(), ":\n\n")
		assert.Equal(t, "no-cache, no-transform", w.Header().Get("Cache-Control"))
		assert.Equal(t, "no", w.Header().Get("X-Accel-Buffering"))
	})
}

func TestWriteThatFailsEndsTheStream(t *testing.T) {
	h, err := sse.NewHandler(workertest.NewNotifier(), sse.Config{})
	require.NoError(t, err)
	broken := errors.New("broken pipe")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	assert.ErrorIs(t, h.Stream(undeadlined{ResponseRecorder: httptest.NewRecorder(), fail: broken}, r, "a"), broken)
}
