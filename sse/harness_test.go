package sse_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// The phases of Status.Version.
const (
	waiting = iota
	running
	putBack
	final
)

var states = [...]worker.State{worker.StateQueued, worker.StateRunning, worker.StateRetrying, worker.StateSucceeded}

// status makes a status of a job on the topic "job:<id>".
func status(job string, token, phase, sequence int64) worker.Status {
	return worker.Status{
		JobID: job, Type: "test:note", Queue: "default", Topic: "job:" + job, State: states[phase],
		Version: token<<14 | phase<<12 | sequence,
	}
}

// on moves statuses to a topic.
func on(topic string, statuses ...worker.Status) []worker.Status {
	for i := range statuses {
		statuses[i].Topic = topic
	}
	return statuses
}

// life is a job's, from its enqueue to its success.
func life(job string) []worker.Status {
	return []worker.Status{status(job, 0, waiting, 0), status(job, 1, running, 0), status(job, 1, running, 1),
		status(job, 1, final, 0)}
}

// site is a server with a Handler, in memory: it works in a bubble of testing/synctest.
type site struct {
	t        testing.TB
	recorder *workertest.Recorder
	handler  *sse.Handler
	server   *http.Server
	listener *pipes
	client   *http.Client
}

// open serves a handler that anybody may use unless cfg says otherwise.
func open(t testing.TB, cfg sse.Config) *site {
	t.Helper()
	recorder := workertest.NewNotifier()
	return openOver(t, recorder, recorder, cfg)
}

func openOver(t testing.TB, subscriber worker.Subscriber, recorder *workertest.Recorder, cfg sse.Config) *site {
	t.Helper()
	if cfg.Authorize == nil {
		cfg.Authorize = sse.Public
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	h, err := sse.NewHandler(subscriber, cfg)
	require.NoError(t, err)
	return serve(t, h, h, recorder)
}

// serve serves root, which has h in it.
func serve(t testing.TB, h *sse.Handler, root http.Handler, recorder *workertest.Recorder, setup ...func(*http.Server)) *site {
	t.Helper()
	s := &site{t: t, recorder: recorder, handler: h, listener: newPipes()}
	s.server = &http.Server{Handler: root, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	s.server.Protocols = new(http.Protocols)
	s.server.Protocols.SetHTTP1(true)
	s.server.Protocols.SetUnencryptedHTTP2(true)
	for _, f := range setup {
		f(s.server)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.server.Serve(s.listener)
	}()
	t.Cleanup(func() {
		h.Shutdown()
		_ = s.server.Close()
		<-served
	})
	s.speak((*http.Protocols).SetHTTP1)
	return s
}

// speak makes the client use one protocol.
func (s *site) speak(choose func(*http.Protocols, bool)) {
	protocols := new(http.Protocols)
	choose(protocols, true)
	transport := &http.Transport{DialContext: s.listener.dial, Protocols: protocols}
	s.client = &http.Client{Transport: transport}
	s.t.Cleanup(transport.CloseIdleConnections)
}

func (s *site) tell(statuses ...worker.Status) {
	s.t.Helper()
	require.NoError(s.t, s.recorder.Notify(context.Background(), statuses...))
}

func (s *site) request(query, lastID string) *http.Request {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://site/events?"+query, http.NoBody)
	require.NoError(s.t, err)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	return req
}

// answer is the whole of one that is no stream.
type answer struct {
	code   int
	header http.Header
	body   string
}

// get makes a request that is answered with anything but a stream.
func (s *site) get(query, lastID string) answer {
	s.t.Helper()
	resp, err := s.client.Do(s.request(query, lastID))
	require.NoError(s.t, err)
	defer resp.Body.Close()
	require.NotEqual(s.t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return answer{code: resp.StatusCode, header: resp.Header, body: strings.TrimSpace(string(body))}
}

// view opens a stream.
func (s *site) view(query, lastID string) *viewer {
	s.t.Helper()
	resp, err := s.client.Do(s.request(query, lastID))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { resp.Body.Close() })
	require.Equal(s.t, http.StatusOK, resp.StatusCode)
	require.Equal(s.t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewReader(resp.Body)
	retry, err := lines.ReadString('\n')
	require.NoError(s.t, err)
	require.Regexp(s.t, `^retry: [123]\d\d\d\n$`, retry)
	return &viewer{t: s.t, body: resp.Body, lines: lines, id: lastID}
}

// viewer reads a stream as a browser does.
type viewer struct {
	t     testing.TB
	body  io.Closer
	lines *bufio.Reader
	id    string // the last id, which a browser sends when it comes back
}

// message is an event that a browser dispatches.
type message struct {
	id, event, data string
}

// block is what stands between two empty lines.
type block []string

// block returns the next one, io.EOF after the stream's end.
func (v *viewer) block() (block, error) {
	var b block
	for {
		line, err := v.lines.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return b, nil
		}
		b = append(b, line)
	}
}

// receive returns the next message, or how the stream ended.
func (v *viewer) receive() (message, error) {
	v.t.Helper()
	for {
		b, err := v.block()
		if err != nil {
			return message{}, err
		}
		m, data := message{}, []string(nil)
		for _, line := range b {
			name, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch name {
			case "id":
				v.id = value
			case "event":
				m.event = value
			case "data":
				data = append(data, value)
			case "", "retry":
			default:
				require.Failf(v.t, "unknown field", "%q", line)
			}
		}
		if data != nil {
			m.id, m.data = v.id, strings.Join(data, "\n")
			return m, nil
		}
	}
}

// next returns the next message.
func (v *viewer) next() message {
	v.t.Helper()
	m, err := v.receive()
	require.NoError(v.t, err)
	return m
}

// reads fails the test unless the next messages have this data.
func (v *viewer) reads(want ...string) {
	v.t.Helper()
	for i, data := range want {
		m, err := v.receive()
		require.NoErrorf(v.t, err, "message %d of %q", i, want)
		require.Equalf(v.t, data, m.data, "message %d of %q", i, want)
	}
}

// ends fails the test unless the stream ends in good order without another message.
func (v *viewer) ends() {
	v.t.Helper()
	m, err := v.receive()
	require.ErrorIs(v.t, err, io.EOF, "got %+v", m)
}

// readsNow is reads, in a bubble, with no time passing.
func (v *viewer) readsNow(want ...string) {
	v.t.Helper()
	begun := time.Now()
	v.reads(want...)
	require.Zero(v.t, time.Since(begun), "it was late")
}

// idle reads heartbeats until d has passed, and fails the test when there is anything else.
func (v *viewer) idle(d time.Duration) {
	v.t.Helper()
	for begun := time.Now(); time.Since(begun) < d; {
		b, err := v.block()
		require.NoError(v.t, err)
		require.Equal(v.t, block{":"}, b)
	}
}

// brief encodes a status as text does.
func brief(e worker.Event) (sse.Message, bool) {
	if e.Plain != nil {
		return sse.Message{Data: e.Plain}, true
	}
	return sse.Message{Event: "status", Data: []byte(text(*e.Status))}, true
}

// text is "job token.phase.sequence".
func text(s worker.Status) string {
	return fmt.Sprintf("%s %d.%d.%d", s.JobID, s.Version>>14, s.Version>>12&3, s.Version&4095)
}

func texts(statuses ...worker.Status) []string {
	all := make([]string, len(statuses))
	for i, s := range statuses {
		all[i] = text(s)
	}
	return all
}

// pipes is a network in memory.
type pipes struct {
	dials atomic.Int64
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.dials.Add(1)
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }
