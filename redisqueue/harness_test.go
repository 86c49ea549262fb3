package redisqueue_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// patience is how long a test waits for what ought to happen soon. Only a broken queue takes that long.
const patience = 30 * time.Second

// inBubble runs a test on miniredis with fake time.
func inBubble(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, onMini(t)) })
}

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

// text sends a command that answers with a text.
func (s *server) text(words ...string) string {
	s.t.Helper()
	text, err := s.ok(words...).ToString()
	require.NoError(s.t, err)
	return text
}

// key is the name of a key of the default queue.
func key(name string) string { return "{worker:default}:" + name }

func (s *server) list(name string) []string {
	s.t.Helper()
	list, err := s.ok("LRANGE", key(name), "0", "-1").AsStrSlice()
	require.NoError(s.t, err)
	return list
}

func (s *server) zset(name string) map[string]float64 {
	s.t.Helper()
	scores, err := s.ok("ZRANGE", key(name), "0", "-1", "WITHSCORES").AsZScores()
	require.NoError(s.t, err)
	m := make(map[string]float64)
	for _, z := range scores {
		m[z.Member] = z.Score
	}
	return m
}

func (s *server) hash(name string) map[string]string {
	s.t.Helper()
	m, err := s.ok("HGETALL", key(name)).AsStrMap()
	require.NoError(s.t, err)
	return m
}

// keyNames returns what exists of the default queue, without its prefix, and whatever else but the names of all queues.
func (s *server) keyNames() []string {
	s.t.Helper()
	keys, err := s.ok("KEYS", "*").AsStrSlice()
	require.NoError(s.t, err)
	keys = slices.DeleteFunc(keys, func(name string) bool { return name == "worker:queues" })
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], key(""))
	}
	slices.Sort(keys)
	return keys
}

// inflight returns what each worker holds, as id → token by worker.
func (s *server) inflight() map[string]map[string]string {
	s.t.Helper()
	m := make(map[string]map[string]string)
	for _, name := range s.keyNames() {
		if w, ok := strings.CutPrefix(name, "inflight:"); ok {
			m[w] = s.hash(name)
		}
	}
	return m
}

// open opens a session on the default queue, which the test's end closes.
func open(t testing.TB, q worker.Queue, maxCrashes int) worker.Consumer {
	t.Helper()
	c, err := q.Consume(context.Background(), "default", worker.ConsumeOptions{MaxCrashes: maxCrashes})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func enqueue(t testing.TB, q worker.Queue, jobs ...*worker.Job) []*worker.Job {
	t.Helper()
	require.NoError(t, q.Enqueue(context.Background(), jobs...))
	return jobs
}

// claim claims once, without waiting.
func claim(t testing.TB, c worker.Consumer, limit int) []*worker.Job {
	t.Helper()
	jobs, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: limit})
	require.NoError(t, err)
	return jobs
}

// claimN claims exactly n jobs, waiting for them.
func claimN(t testing.TB, c worker.Consumer, n int) []*worker.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var jobs []*worker.Job
	for len(jobs) < n {
		more, err := c.Claim(ctx, worker.ClaimOptions{Limit: n - len(jobs), Wait: patience})
		require.NoError(t, err)
		jobs = append(jobs, more...)
	}
	return jobs
}

func verdicts(action worker.Action, jobs ...*worker.Job) []worker.Verdict {
	vs := make([]worker.Verdict, len(jobs))
	for i, job := range jobs {
		vs[i] = worker.Verdict{Job: job, Action: action}
	}
	return vs
}

func settle(t testing.TB, c worker.Consumer, action worker.Action, jobs ...*worker.Job) {
	t.Helper()
	require.NoError(t, c.Settle(context.Background(), verdicts(action, jobs...)...))
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

func ids(jobs []*worker.Job) []string {
	names := make([]string, len(jobs))
	for i, job := range jobs {
		names[i] = job.ID
	}
	return names
}

// named makes jobs with short ids.
func named(t testing.TB, names ...string) []*worker.Job {
	t.Helper()
	jobs := make([]*worker.Job, len(names))
	for i, name := range names {
		jobs[i] = newJob(t, worker.WithID(name))
	}
	return jobs
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

// quiet is a config whose log goes to a book.
func quiet() (redisqueue.Config, *logbook) {
	book := &logbook{}
	return redisqueue.Config{Logger: slog.New(book)}, book
}
