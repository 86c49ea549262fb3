package redisqueue_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// hookbook keeps what the hooks of a session are told.
type hookbook struct {
	mu        sync.Mutex
	renewals  []error
	recovered []int
}

func (b *hookbook) options() worker.ConsumeOptions {
	return worker.ConsumeOptions{
		OnRenewal:   func(err error) { b.mu.Lock(); defer b.mu.Unlock(); b.renewals = append(b.renewals, err) },
		OnRecovered: func(n int) { b.mu.Lock(); defer b.mu.Unlock(); b.recovered = append(b.recovered, n) },
	}
}

// told returns what came since the last call.
func (b *hookbook) told() (renewals []error, recovered []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	renewals, recovered = b.renewals, b.recovered
	b.renewals, b.recovered = nil, nil
	return renewals, recovered
}

func openWith(t testing.TB, q worker.Queue, opts worker.ConsumeOptions) worker.Consumer {
	t.Helper()
	c, err := q.Consume(context.Background(), "default", opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func TestRenewalsAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		book := &hookbook{}
		c := openWith(t, q, book.options())
		time.Sleep(11 * time.Second)
		renewals, _ := book.told()
		require.Equal(t, []error{nil, nil, nil, nil, nil}, renewals, "each fifth of a lease")
		s.mini.SetError("LOADING Redis is loading the dataset in memory")
		time.Sleep(4 * time.Second)
		s.mini.SetError("")
		renewals, _ = book.told()
		require.Len(t, renewals, 2)
		for _, err := range renewals {
			require.ErrorIs(t, err, worker.ErrRefused)
		}
		time.Sleep(2 * time.Second)
		renewals, _ = book.told()
		require.Equal(t, []error{nil}, renewals)
		s.ok("ZADD", key("workers"), "0", keysOf(s.zset("workers"))[0])
		requireLost(t, c, 3*time.Second)
		synctest.Wait()
		renewals, _ = book.told()
		require.Len(t, renewals, 1)
		require.ErrorIs(t, renewals[0], worker.ErrLeaseLost)
		time.Sleep(time.Minute)
		renewals, recovered := book.told()
		require.Empty(t, renewals)
		require.Empty(t, recovered)
	})
}

func TestRecoveriesAreTold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		idle := open(t, q, 0)
		dead := open(t, q, 0)
		enqueue(t, q, newJobs(t, 1203)...)
		for range 11 {
			claim(t, dead, 100)
		}
		redisqueue.Kill(idle)
		redisqueue.Kill(dead)
		book := &hookbook{}
		openWith(t, q, book.options())
		time.Sleep(time.Minute)
		_, recovered := book.told()
		require.Equal(t, []int{1100}, recovered, "a worker that held nothing is not told of")
	})
}

// A takeover that isn't done within one beat is told of in parts.
func TestAPartialRecoveryIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		dead := open(t, q, 0)
		for range 21 {
			enqueue(t, q, newJobs(t, 500)...)
			claim(t, dead, 500)
		}
		redisqueue.Kill(dead)
		book := &hookbook{}
		openWith(t, q, book.options())
		time.Sleep(time.Minute)
		_, recovered := book.told()
		require.Equal(t, []int{10_000, 500}, recovered)
	})
}

// Hooks that panic cost nobody the lease.
func TestPanickingHooksAreLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		dead := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, dead, 1)
		redisqueue.Kill(dead)
		c := openWith(t, q, worker.ConsumeOptions{
			OnRenewal:   func(error) { panic("no") },
			OnRecovered: func(int) { panic("no") },
		})
		time.Sleep(time.Minute + time.Second)
		requireNotLost(t, c)
		require.Equal(t, 30, book.count("OnRenewal panicked"))
		require.Equal(t, 1, book.count("OnRecovered panicked"))
		require.Equal(t, []string{"a"}, ids(claim(t, c, 1)))
	})
}

// fullLog keeps messages, but panics over each.
type fullLog struct{ *logbook }

func (l fullLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l fullLog) Handle(ctx context.Context, r slog.Record) error {
	_ = l.logbook.Handle(ctx, r)
	panic("no space left on device")
}

// A log that panics as a worker is taken over costs neither the lease nor the process.
func TestPanickingLogHarmsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		cfg.Logger = slog.New(fullLog{book})
		q := s.queue(cfg)
		dead := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, dead, 1)
		redisqueue.Kill(dead)
		c := open(t, q, 0)
		time.Sleep(time.Minute + time.Second)
		requireNotLost(t, c)
		require.Equal(t, 1, book.count("given back"))
		require.Equal(t, []string{"a"}, ids(claim(t, c, 1)))
	})
}

// Close ends the calls, also one that cannot wait for a beat under way; that the session ended in the middle of a beat
// is no failed renewal.
func TestNoHookIsCalledAfterClose(t *testing.T) {
	for _, patient := range []bool{true, false} {
		inBubble(t, func(t *testing.T, s *server) {
			cfg, _ := quiet()
			q := s.queue(cfg)
			book := &hookbook{}
			opts := book.options()
			first, entered, release := true, make(chan struct{}), make(chan struct{})
			opts.OnRenewal = func(err error) {
				book.options().OnRenewal(err)
				if first {
					first = false
					close(entered)
					<-release
				}
			}
			dead := open(t, q, 0)
			enqueue(t, q, named(t, "a")...)
			claim(t, dead, 1)
			redisqueue.Kill(dead)
			s.ok("ZADD", key("workers"), "1", keysOf(s.zset("workers"))[0])
			c := openWith(t, q, opts)
			<-entered
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if patient {
				time.AfterFunc(time.Millisecond, func() { close(release) })
			}
			err := c.Close(ctx)
			if !patient {
				require.ErrorIs(t, err, context.DeadlineExceeded)
				close(release)
			}
			synctest.Wait()
			renewals, _ := book.told()
			require.Equal(t, []error{nil}, renewals)
			time.Sleep(time.Minute)
			renewals, recovered := book.told()
			require.Empty(t, renewals)
			require.Empty(t, recovered)
		})
	}
}

// stopper is a client whose calls get no answer once it is stopped.
type stopper struct {
	rueidis.Client
	stopped atomic.Bool
}

func (c *stopper) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	if c.stopped.Load() {
		<-ctx.Done()
	}
	return c.Client.Do(ctx, command)
}

// A beat that Close ends in the middle is no failed renewal.
func TestCloseInTheMiddleOfABeatIsNoFailedRenewal(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		client := &stopper{Client: s.client}
		q, err := redisqueue.New(client, cfg)
		require.NoError(t, err)
		book := &hookbook{}
		c := openWith(t, q, book.options())
		time.Sleep(time.Second)
		client.stopped.Store(true)
		time.Sleep(1500 * time.Millisecond) // a beat is under way
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.Error(t, c.Close(ctx))
		renewals, _ := book.told()
		require.Empty(t, renewals)
	})
}
