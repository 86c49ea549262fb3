package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	gosse "github.com/tmaxmax/go-sse"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// news is a Notifier with its Subscriber.
type news struct {
	notifier   worker.Notifier
	subscriber worker.Subscriber
}

// overNews runs a test over each pair of Notifier and Subscriber that streams are to work with. The logs hold at least
// logSize events.
func overNews(t *testing.T, logSize int, test func(t *testing.T, n news)) {
	t.Run("memory", func(t *testing.T) {
		recorder := workertest.NewNotifier()
		test(t, news{notifier: recorder, subscriber: recorder})
	})
	t.Run("redis", func(t *testing.T) { test(t, redisNews(t, redistest.Server(t), logSize)) })
}

// stand serves a handler on a port of its own.
func stand(t testing.TB, subscriber worker.Subscriber, cfg sse.Config) (*httptest.Server, *sse.Handler) {
	t.Helper()
	if cfg.Authorize == nil {
		cfg.Authorize = sse.Public
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	h, err := sse.NewHandler(subscriber, cfg)
	require.NoError(t, err)
	return standOn(t, h, h), h
}

// standOn serves root, which has h in it.
func standOn(t testing.TB, h *sse.Handler, root http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(root)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.Start()
	t.Cleanup(func() {
		h.Shutdown()
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

// browser reads a stream as EventSource does: it comes back with the last id until it is answered with anything but a
// stream. Its parser is not ours.
type browser struct {
	client *http.Client
	url    string
	lastID string
}

// errStopped says that the browser was answered with anything but a stream.
var errStopped = errors.New("stopped for good")

// visit opens the stream once and passes on its messages until it ends, see returns false, or ctx ends.
func (b *browser) visit(ctx context.Context, see func(gosse.Event) bool) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, http.NoBody)
	if err != nil {
		return err
	}
	if b.lastID != "" {
		req.Header.Set("Last-Event-ID", b.lastID)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%w: %s: %s", errStopped, resp.Status, body)
	}
	for e, err := range gosse.Read(resp.Body, nil) {
		if err != nil {
			return err
		}
		b.lastID = e.LastEventID
		if e.Data == "" { // which EventSource doesn't dispatch
			continue
		}
		if !see(e) {
			return nil
		}
	}
	return nil
}

// watch visits until see returns false.
func (b *browser) watch(ctx context.Context, see func(gosse.Event) bool) error {
	for done := false; !done; {
		err := b.visit(ctx, func(e gosse.Event) bool {
			done = !see(e)
			return !done
		})
		if errors.Is(err, errStopped) || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// statusOf is the status that a message carries.
func statusOf(t testing.TB, e gosse.Event) worker.Status {
	t.Helper()
	st := worker.Status{}
	require.NoError(t, json.Unmarshal([]byte(e.Data), &st), e.Data)
	return st
}

// patient is a context for what must happen.
func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// browserClient is an http.Client with connections of its own.
func browserClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
