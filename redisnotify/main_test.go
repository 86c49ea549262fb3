package redisnotify_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker/internal/redistest"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a Redis that a test works on.
type server struct {
	t      testing.TB
	client rueidis.Client
	addr   string
	mini   *miniredis.Miniredis // nil for a real one
	real   *redistest.Redis     // nil for miniredis
}

// onBoth runs a test on miniredis and on a real server, if there is one.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { test(t, onMini(t)) })
	t.Run("redis", func(t *testing.T) { test(t, onReal(t)) })
}

// onMini returns a miniredis that lives in the test's own bubble, if it has one: it listens nowhere.
func onMini(t testing.TB) *server {
	t.Helper()
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	t.Cleanup(m.Close)
	s := &server{t: t, mini: m}
	s.client = s.connect(nil)
	return s
}

func onReal(t testing.TB, args ...string) *server {
	t.Helper()
	r := redistest.Server(t, args...)
	s := &server{t: t, real: r, addr: r.Addr()}
	s.client = s.connect(nil)
	return s
}

// connect returns a client of its own; change may alter its options.
func (s *server) connect(change func(*rueidis.ClientOption)) rueidis.Client {
	s.t.Helper()
	opt := rueidis.ClientOption{
		InitAddress: []string{"mini:6379"}, DisableCache: true, ForceSingleClient: true, DialCtxFn: s.dial,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10, RingScaleEachConn: 8,
	}
	if change != nil {
		change(&opt)
	}
	client, err := rueidis.NewClient(opt)
	require.NoError(s.t, err)
	s.t.Cleanup(client.Close)
	return client
}

func (s *server) dial(ctx context.Context, _ string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	if s.mini != nil {
		return s.mini.Dial()
	}
	return d.DialContext(ctx, "tcp", s.addr)
}

// notifier returns a Notifier on the server, which the test's end closes.
func (s *server) notifier(cfg redisnotify.Config) *redisnotify.Notifier {
	s.t.Helper()
	n, err := redisnotify.New(redistest.Watch(s.t, s.client), cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(n.Close)
	return n
}
