package sse

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/real-staging-ai/go-worker"
)

// Handler streams the statuses of jobs to the viewers of topics. It holds nothing while it has no viewers.
type Handler struct {
	subscriber worker.Subscriber
	config     Config
	snapshots  *snapshots // nil without Config.Snapshot
	clients    metric.Int64UpDownCounter
	closing    chan struct{}

	mu     sync.Mutex
	open   map[*response]struct{}
	closed bool
}

var _ http.Handler = (*Handler)(nil)

// Why a request that was in order is refused. Config.Error and the caller of Stream get them.
var (
	ErrTooManyStreams = errors.New("too many streams are open")
	ErrShutdown       = errors.New("the server is shutting down")
)

var errNoAuthorize = errors.New("nobody is authorised: Config.Authorize is not set")

// NewHandler makes a Handler that hears of statuses from subscriber. An error lists all that is wrong.
func NewHandler(subscriber worker.Subscriber, cfg Config) (*Handler, error) {
	cfg = cfg.withDefaults()
	problems := cfg.problems()
	if v := reflect.ValueOf(subscriber); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		problems = append([]error{errors.New("subscriber is nil")}, problems...)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("new SSE handler: %w", err)
	}
	clients, err := newClients(cfg.MeterProvider)
	if err != nil {
		return nil, fmt.Errorf("new SSE handler: %w", err)
	}
	h := &Handler{
		subscriber: subscriber, config: cfg, clients: clients,
		closing: make(chan struct{}), open: make(map[*response]struct{}),
	}
	if cfg.Snapshot != nil {
		h.snapshots = &snapshots{read: cfg.Snapshot, timeout: cfg.SnapshotTimeout, log: cfg.Logger}
	}
	return h, nil
}

// ServeHTTP streams the topics that Config.Topics finds and Config.Authorize allows.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	topics, refused := h.admit(r)
	if refused != nil {
		_ = h.refuse(w, r, refused) // the viewer is told
		return
	}
	switch err := h.serve(w, r, topics); {
	case errors.Is(err, http.ErrNotSupported):
		h.config.Logger.Error("the response cannot be flushed: a wrapper lacks Unwrap", "topics", topics, "error", err)
	case err != nil:
		h.config.Logger.Debug("an event stream has ended early", "topics", topics, "error", err)
	}
}

// Stream streams topics to a viewer whom the caller has authorised, until the viewer leaves, the stream has reached its
// age or its end, or Shutdown. Then it returns nil. An error says why the request was refused or the stream ended
// early; the response has been written in any case, so there is nothing more to send.
func (h *Handler) Stream(w http.ResponseWriter, r *http.Request, topics ...string) error {
	if refused := checkMethod(r); refused != nil {
		return h.refuse(w, r, refused)
	}
	topics, err := checkTopics(topics, h.config.MaxTopics)
	if err != nil {
		return h.refuse(w, r, &refusal{code: http.StatusBadRequest, err: err})
	}
	return h.serve(w, r, topics)
}

// Streams returns how many streams are open.
func (h *Handler) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// Shutdown ends all streams, also those whose viewers don't read, and refuses new ones with 503. It doesn't wait for
// them: pass it to http.Server.RegisterOnShutdown, as Server.Shutdown would wait for the viewers otherwise.
func (h *Handler) Shutdown() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	close(h.closing)
	for out := range h.open {
		out.hurry()
	}
}

// enter notes that a stream is open, if it may be; leave that it is not any more. The host's meter is told without the lock.
func (h *Handler) enter(out *response) error {
	err := h.add(out)
	if err == nil {
		h.count(1)
	}
	return err
}

func (h *Handler) add(out *response) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return ErrShutdown
	case len(h.open) >= h.config.MaxStreams:
		return ErrTooManyStreams
	}
	h.open[out] = struct{}{}
	return nil
}

func (h *Handler) leave(out *response) {
	h.mu.Lock()
	delete(h.open, out)
	h.mu.Unlock()
	h.count(-1)
}

// serve runs one stream.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, topics []string) error {
	out := &response{w: w, control: http.NewResponseController(w), timeout: h.config.WriteTimeout}
	if err := h.enter(out); err != nil {
		return h.refuse(w, r, &refusal{code: http.StatusServiceUnavailable, err: err})
	}
	defer h.leave(out)
	s := newStream(h, out, r, topics)
	defer s.close()
	if err := s.subscribe(); err != nil {
		return h.refuse(w, r, &refusal{code: http.StatusServiceUnavailable, err: err})
	}
	err := s.run()
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		return h.refuse(w, r, refused)
	}
	return err
}

// refuse answers a request that gets no stream, and returns why.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) error {
	w.Header().Set("Cache-Control", "no-store")
	switch refused.code {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodGet)
	case http.StatusServiceUnavailable:
		seconds := max(1, int(h.config.Retry.Round(time.Second)/time.Second))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	h.config.Error(w, r, refused.code, refused.err)
	return refused
}
