package redisstatus_test

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisstatus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a Redis that a test works on.
type server struct {
	t      testing.TB
	client rueidis.Client
	addr   string
	real   *redistest.Redis // nil for miniredis
}

// onBoth runs a test on miniredis and on a real server, if there is one.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { test(t, onMini(t)) })
	t.Run("redis", func(t *testing.T) { test(t, onReal(t)) })
}

func onMini(t testing.TB) *server {
	t.Helper()
	s := &server{t: t, addr: miniredis.RunT(t).Addr()}
	s.client = s.connect(true)
	return s
}

func onReal(t testing.TB) *server {
	t.Helper()
	r := redistest.Server(t)
	s := &server{t: t, real: r, addr: r.Addr()}
	s.client = s.connect(true)
	return s
}

// connect returns a client of its own, for a server that stands alone or for one that it takes for a cluster.
func (s *server) connect(alone bool) rueidis.Client {
	s.t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.addr}, DisableCache: true, ForceSingleClient: alone,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10, RingScaleEachConn: 8,
	})
	require.NoError(s.t, err)
	s.t.Cleanup(client.Close)
	return client
}

// store returns a Store on the server.
func (s *server) store(cfg redisstatus.Config) *redisstatus.Store {
	s.t.Helper()
	store, err := redisstatus.New(redistest.Watch(s.t, s.client), cfg)
	require.NoError(s.t, err)
	return store
}

// ok sends one command, as words, that must not fail.
func (s *server) ok(words ...string) rueidis.RedisResult {
	s.t.Helper()
	result := s.client.Do(context.Background(), s.client.B().Arbitrary(words...).Build())
	if err := result.Error(); err != nil && !rueidis.IsRedisNil(err) {
		require.NoError(s.t, err, words)
	}
	return result
}

// rowKey is the key of a job's row.
func rowKey(id string) string { return "worker:status:" + id }

// left is how long a job's row still lives.
func (s *server) left(id string) time.Duration {
	s.t.Helper()
	ms, err := s.ok("PTTL", rowKey(id)).AsInt64()
	require.NoError(s.t, err)
	return time.Duration(ms) * time.Millisecond
}

// The phases of a version.
const (
	waiting = iota
	running
	putBack
	final
)

func status(id string, state worker.State, token int64, phase int) worker.Status {
	return worker.Status{
		JobID: id, Type: "test:note", Queue: "default", Topic: "job:" + id, State: state,
		Version: token<<14 | int64(phase)<<12, MaxAttempts: 5, At: time.UnixMilli(1_763_930_000_000).UTC(),
	}
}

func save(t testing.TB, store worker.StatusStore, statuses ...worker.Status) []worker.Saved {
	t.Helper()
	saved, err := store.Save(context.Background(), statuses...)
	require.NoError(t, err)
	require.Len(t, saved, len(statuses))
	return saved
}
