package redisnotify_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

// patience is how long a test waits for what ought to happen soon. Only a broken notifier takes that long.
const patience = 30 * time.Second

// do sends one command, as words.
func (s *server) do(words ...string) rueidis.RedisResult {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.client.Do(ctx, s.client.B().Arbitrary(words...).Build())
}

// ok sends a command that must not fail.
func (s *server) ok(words ...string) rueidis.RedisResult {
	s.t.Helper()
	result := s.do(words...)
	if err := result.Error(); err != nil && !rueidis.IsRedisNil(err) {
		require.NoError(s.t, err, strings.Join(words, " "))
	}
	return result
}

// busy is how long the server's main thread has worked.
func (s *server) busy() time.Duration {
	s.t.Helper()
	info, err := s.ok("INFO", "cpu").ToString()
	require.NoError(s.t, err)
	total := 0.0
	for _, name := range []string{"used_cpu_user_main_thread:", "used_cpu_sys_main_thread:"} {
		_, rest, ok := strings.Cut(info, name)
		require.True(s.t, ok, info)
		var seconds float64
		_, err := fmt.Sscan(rest, &seconds)
		require.NoError(s.t, err)
		total += seconds
	}
	return time.Duration(total * float64(time.Second))
}

// text sends a command that answers with a text.
func (s *server) text(words ...string) string {
	s.t.Helper()
	text, err := s.ok(words...).ToString()
	require.NoError(s.t, err)
	return text
}

// number sends a command that answers with a number.
func (s *server) number(words ...string) int64 {
	s.t.Helper()
	n, err := s.ok(words...).AsInt64()
	require.NoError(s.t, err)
	return n
}

// quiet is a config whose log goes to a book.
func quiet() (redisnotify.Config, *logbook) {
	book := &logbook{}
	return redisnotify.Config{Logger: slog.New(book)}, book
}

// logbook is a slog.Handler that keeps messages.
type logbook struct {
	mu       sync.Mutex
	messages []string
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }
func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, r.Message)
	return nil
}

func (l *logbook) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, m := range l.messages {
		if strings.Contains(m, message) {
			n++
		}
	}
	return n
}

// logKey is the key of a topic's log.
func logKey(topic string) string { return "worker:topic:{:" + topic + "}:log" }

// status is the nth of a job on a topic.
func status(topic, job string, n int) worker.Status {
	return worker.Status{
		JobID: job, Type: "test:note", Queue: "default", Topic: topic, State: worker.StateRunning,
		Version: int64(n)<<14 | 1<<12, Attempt: 1, MaxAttempts: 5, Message: fmt.Sprint(job, " ", n),
		At: time.UnixMilli(1_763_930_000_000).UTC(),
	}
}

// statuses are those of a job from the first to the last.
func statuses(topic, job string, first, last int) []worker.Status {
	var all []worker.Status
	for n := first; n <= last; n++ {
		all = append(all, status(topic, job, n))
	}
	return all
}

func notify(t testing.TB, n worker.Notifier, statuses ...worker.Status) {
	t.Helper()
	require.NoError(t, n.Notify(context.Background(), statuses...))
}

// subscription is a subscriber that the test's end ends.
type subscription struct {
	t      testing.TB
	events <-chan worker.Event
	end    context.CancelFunc
}

func subscribe(t testing.TB, n worker.Subscriber, topic, after string) *subscription {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	events, err := n.Subscribe(ctx, topic, after)
	require.NoError(t, err)
	return &subscription{t: t, events: events, end: cancel}
}

func (s *subscription) next() worker.Event {
	s.t.Helper()
	select {
	case e, open := <-s.events:
		require.True(s.t, open, "the channel was closed")
		return e
	case <-time.After(patience):
		s.t.Fatalf("no event came within %v", patience)
		panic("unreachable")
	}
}

// reads fails the test unless the next events are these, told in words: "reset", "caught up", "plain x", or a status's
// message. It returns the position after the last one that has one.
func (s *subscription) reads(want ...string) (position string) {
	s.t.Helper()
	for i, w := range want {
		e := s.next()
		require.Equal(s.t, w, told(e), "event %d", i+1)
		if e.Status != nil || e.CaughtUp {
			position = e.Position
		}
	}
	return position
}

func told(e worker.Event) string {
	switch {
	case e.Reset:
		return "reset"
	case e.CaughtUp:
		return "caught up"
	case e.Status != nil:
		return e.Status.Message
	}
	return "plain " + string(e.Plain)
}

// messages are what reads wants to see of statuses.
func messages(statuses ...worker.Status) []string {
	all := make([]string, len(statuses))
	for i := range statuses {
		all[i] = statuses[i].Message
	}
	return all
}

// closed fails the test unless the channel is closed soon, whatever comes before.
func (s *subscription) closed() {
	s.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-s.events:
			if !open {
				return
			}
		case <-deadline:
			s.t.Fatalf("the channel was not closed within %v", patience)
		}
	}
}

// until waits for what comes about without an event to wait for, on another process.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		require.True(t, time.Now().Before(deadline), "%s did not come about within %v", what, patience)
		time.Sleep(5 * time.Millisecond)
	}
}

// receive returns what comes from a channel, and fails the test when nothing comes.
func receive[V any](t testing.TB, c <-chan V) V {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
		panic("unreachable")
	}
}

type message = rueidis.PubSubMessage

// withConfirmation calls back when a subscription is confirmed.
func withConfirmation(ctx context.Context, confirmed func()) context.Context {
	return rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { confirmed() })
}

type event = worker.Event
