package redisqueue_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// wire counts what a client sends, and can swallow a reply: the server has executed the call, the client sees its
// connection end.
type wire struct {
	scripts, pops atomic.Int64
	swallow       atomic.Bool
}

type wireConn struct {
	net.Conn
	*wire
}

func (c wireConn) Write(p []byte) (int, error) {
	c.scripts.Add(int64(bytes.Count(p, []byte("\r\nEVALSHA\r\n"))))
	c.pops.Add(int64(bytes.Count(p, []byte("\r\nBLPOP\r\n"))))
	return c.Conn.Write(p)
}

func (c wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.swallow.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// wired returns a server whose client's connections are watched.
func wired(s *server) (*server, *wire) {
	w := &wire{}
	client := s.connect(func(opt *rueidis.ClientOption) {
		opt.PipelineMultiplex = -1 // one connection: a second one would begin with a reply of its own
		dial := opt.DialCtxFn
		opt.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
			conn, err := dial(ctx, addr, d, cfg)
			return wireConn{conn, w}, err
		}
	})
	copied := *s
	copied.client = client
	return &copied, w
}

// A claim whose reply was lost is noticed within three beats, given back to the head, and run once.
func TestALostClaimReplyIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cut, w := wired(s)
		cfg, book := quiet()
		q := cut.queue(cfg)
		c := open(t, q, 0)
		claim(t, c, 1) // the script is known to the server
		jobs := enqueue(t, q, newJobs(t, 5)...)
		w.swallow.Store(true)
		got, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 3})
		require.Error(t, err)
		require.NotErrorIs(t, err, worker.ErrRefused)
		require.Empty(t, got)
		require.Len(t, s.list("pending"), 2)

		start := time.Now()
		for len(s.list("pending")) < 5 {
			time.Sleep(100 * time.Millisecond)
			require.LessOrEqual(t, time.Since(start), 6*time.Second)
		}
		require.Greater(t, time.Since(start), 2*time.Second, "two beats must agree")
		got = claimN(t, c, 5)
		require.Equal(t, ids(jobs), ids(got))
		for _, job := range got {
			require.Equal(t, 1, job.Attempt)
			require.Zero(t, job.Crashes)
		}
		time.Sleep(time.Minute)
		require.Empty(t, s.list("pending"), "what is known here stays")
		require.Equal(t, 1, book.count("given back"))
		require.Empty(t, c.(worker.CancelWatcher).Revoked())
	})
}

// While a claim's outcome is unknown it may hold a suspect: no other is taken.
func TestALostClaimReplyKeepsSuspectsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cut, w := wired(s)
		cfg, _ := quiet()
		q := cut.queue(cfg)
		c := open(t, q, 5)
		claim(t, c, 1)
		suspect(t, s, "s1", 2)
		suspect(t, s, "s2", 2)
		w.swallow.Store(true)
		_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1})
		require.Error(t, err)
		require.Empty(t, claim(t, c, 9))
		got := claimN(t, c, 1)
		require.Equal(t, "s1", got[0].ID)
		require.Empty(t, claim(t, c, 9))
	})
}

func TestASettleWhoseReplyWasLostIsRepeated(t *testing.T) {
	for _, action := range []worker.Action{worker.ActionComplete, worker.ActionRetry, worker.ActionRelease, worker.ActionBury} {
		t.Run(action.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cut, w := wired(s)
				cfg, _ := quiet()
				q := cut.queue(cfg)
				c := open(t, q, 0)
				require.NoError(t, c.Settle(context.Background(), verdicts(worker.ActionComplete, newJob(t))...))
				enqueue(t, q, named(t, "a")...)
				job := claim(t, c, 1)[0]
				w.swallow.Store(true)
				err := c.Settle(context.Background(), verdicts(action, job)...)
				require.Error(t, err)
				require.NotErrorIs(t, err, worker.ErrRefused)
				require.NotErrorIs(t, err, worker.ErrLeaseLost)
				before := places(s)

				time.Sleep(time.Minute) // the heartbeat must not take it for a lost lease meanwhile
				require.Empty(t, c.(worker.CancelWatcher).Revoked())
				require.NoError(t, c.Settle(context.Background(), verdicts(action, job)...))
				require.Equal(t, before, places(s))
				require.Empty(t, s.inflight())
				requireNotLost(t, c)
			})
		})
	}
}

// The repetition is refused: Redis may lack the job all the same, which is no loss of data.
func TestASettleWhoseReplyWasLostMayBeRefusedThen(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cut, w := wired(s)
		cfg, book := watched()
		c := open(t, cut.queue(cfg), 0)
		settle(t, c, worker.ActionComplete, newJob(t)) // the script is known to the server
		enqueue(t, s.queue(redisqueue.Config{}), named(t, "a")...)
		job := claim(t, c, 1)[0]
		w.swallow.Store(true)
		require.Error(t, c.Settle(context.Background(), verdicts(worker.ActionComplete, job)...))
		require.Empty(t, s.inflight(), "it was executed")
		s.mini.SetError("LOADING Redis is loading the dataset in memory")
		require.ErrorIs(t, c.Settle(context.Background(), verdicts(worker.ActionComplete, job)...), worker.ErrRefused)
		s.mini.SetError("")
		time.Sleep(time.Minute)
		require.Empty(t, c.(worker.CancelWatcher).Revoked())
		require.Empty(t, book.told(t))
		settle(t, c, worker.ActionComplete, job)
	})
}

func TestAnEnqueueWhoseReplyWasLostIsRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cut, w := wired(s)
		q := cut.queue(redisqueue.Config{})
		enqueue(t, q, named(t, "a")...)
		w.swallow.Store(true)
		err := q.Enqueue(context.Background(), named(t, "b", "c")...)
		require.Error(t, err)
		require.NotErrorIs(t, err, worker.ErrRefused)
		enqueue(t, q, named(t, "b", "c")...)
		require.Equal(t, []string{"a", "b", "c"}, s.list("pending"))
	})
}

// After one call failed on the way, Enqueue doesn't wait for every other one to fail as well.
func TestEnqueueStopsAtABrokenServer(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{Timeout: time.Second})
	enqueue(t, q, newJob(t))
	s.real.Pause()
	defer s.real.Resume()
	start := time.Now()
	jobs := newJobs(t, 50_000)
	jobs[1999].Queue = "other"
	var failed *worker.EnqueueError
	require.ErrorAs(t, q.Enqueue(context.Background(), jobs...), &failed)
	require.Equal(t, len(jobs), len(failed.Failed))
	for i, job := range jobs { // what was not sent was not written
		require.Equal(t, i >= 500, errors.Is(failed.Failed[job.ID], worker.ErrRefused), i)
	}
	require.Less(t, time.Since(start), patience, "a hundred calls of a second each")
}

// An idle worker sends at most two commands a second.
func TestAnIdleWorkerIsQuiet(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		watched, w := wired(s)
		c := open(t, watched.queue(redisqueue.Config{}), 0)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		scripts, pops := w.scripts.Load(), w.pops.Load()
		for ctx.Err() == nil {
			_, _ = c.Claim(ctx, worker.ClaimOptions{Limit: 8, Wait: 2 * time.Second})
		}
		synctest.Wait()
		scripts, pops = w.scripts.Load()-scripts, w.pops.Load()-pops
		require.InDelta(t, 150, pops, 3)
		require.InDelta(t, 150+150+5, scripts, 6, "a claim and a heartbeat every two seconds, and the look for old dead jobs")
	})
}

// The same when one call waits for long.
func TestALongWaitIsQuiet(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		watched, w := wired(s)
		c := open(t, watched.queue(redisqueue.Config{}), 0)
		_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 8, Wait: 5 * time.Minute})
		require.NoError(t, err)
		require.LessOrEqual(t, w.scripts.Load()+w.pops.Load(), int64(5*60*2))
	})
}

// With rueidis in cluster mode a key of another slot would panic.
func TestAllCallsStayInOneSlot(t *testing.T) {
	s := onMini(t)
	require.NoError(t, s.mini.Start()) // cluster clients dial what the server tells them
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.mini.Addr()}, DisableCache: true, RingScaleEachConn: 8,
	})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	require.Equal(t, rueidis.ClientModeCluster, client.Mode())
	q, err := redisqueue.New(client, redisqueue.Config{})
	require.NoError(t, err)
	ctx := context.Background()
	c := open(t, q, 0)
	jobs := named(t, "a", "b", "c", "d")
	jobs[3].Queue = "other.queue"
	enqueue(t, q, jobs...)
	enqueue(t, q, newJob(t, worker.After(time.Hour)))
	got := claimN(t, c, 2)
	require.NoError(t, c.(worker.Checkpointer).Checkpoint(ctx, got[0], []byte("1")))
	settle(t, c, worker.ActionComplete, got[0])
	settle(t, c, worker.ActionBury, got[1])
	mark(t, q, "c")
	remove(t, q, "c")
	_, _, err = q.DrawToken(ctx, "default", "b")
	require.NoError(t, err)
	require.NoError(t, q.Reopen(ctx, named(t, "b")[0]))
	_, err = c.Claim(ctx, worker.ClaimOptions{Wait: time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, c.Close(ctx))
}
