package redisqueue_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// sized makes a job with a payload of so many bytes.
func sized(t testing.TB, id string, bytes int) *worker.Job {
	t.Helper()
	job := newJob(t, worker.WithID(id))
	job.Payload = []byte(`"` + strings.Repeat("x", bytes-2) + `"`)
	return job
}

const mebibyte = 1 << 20

// A claim takes what fits into one reply, at least one job; the rest stays where it is, in order.
func TestAClaimsReplyIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			enqueue(t, q, sized(t, id, mebibyte))
		}
		enqueue(t, q, sized(t, "giant", 6*mebibyte))
		enqueue(t, q, named(t, "small1", "small2")...)
		s.ok("DEL", key("wake"))
		require.Equal(t, []string{"a", "b", "c"}, ids(claim(t, c, 100)))
		require.Equal(t, []string{"d", "e", "giant", "small1", "small2"}, s.list("pending"))
		require.Len(t, s.list("wake"), 1, "the rest is for others")
		require.Equal(t, []string{"d", "e"}, ids(claim(t, c, 100)))
		require.Equal(t, []string{"giant"}, ids(claim(t, c, 100)))
		require.Equal(t, []string{"small1", "small2"}, ids(claim(t, c, 100)))
		accounted(t, s, "a", "b", "c", "d", "e", "giant", "small1", "small2")
	})
}

// Small jobs first, so that the script expects more of them.
func TestLargeJobsBehindSmallOnesAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		small := enqueue(t, q, newJobs(t, 100)...)
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			enqueue(t, q, sized(t, id, mebibyte))
		}
		require.Equal(t, append(ids(small), "a", "b", "c"), ids(claim(t, c, 500)))
		require.Equal(t, []string{"d", "e"}, ids(claim(t, c, 500)))
	})
}

// Entries that do not count go with what was taken before them, and no others.
func TestABoundedClaimUsesUpVoidEntries(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		for _, id := range []string{"v0", "a", "v1", "b", "c", "v2", "d", "v3"} {
			enqueue(t, q, sized(t, id, mebibyte))
		}
		for _, id := range []string{"v0", "v1", "v2", "v3"} {
			mark(t, q, id)
			remove(t, q, id)
		}
		require.Equal(t, []string{"a", "b", "c"}, ids(claim(t, c, 100)))
		require.Equal(t, []string{"d", "v3"}, s.list("pending"))
		require.Equal(t, map[string]string{"v3": "1"}, s.hash("void"))
		require.NoError(t, q.Reopen(context.Background(), named(t, "v3")[0]))
		require.Equal(t, []string{"d", "v3"}, ids(claim(t, c, 100)))
		require.NotContains(t, s.keyNames(), "void")
		accounted(t, s, "a", "b", "c", "d", "v0", "v1", "v2", "v3")
	})
}

// Checkpoints and the bodies of suspects count, too.
func TestCheckpointsAndSuspectsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 3)
		for _, id := range []string{"s1", "s2", "s3"} { // handed out in order not to be run
			suspect(t, s, id, 3)
			s.ok("HSET", key("checkpoints"), id, strings.Repeat("c", mebibyte+mebibyte/2))
		}
		enqueue(t, q, named(t, "a", "b", "c")...)
		for _, id := range []string{"a", "b", "c"} {
			s.ok("HSET", key("checkpoints"), id, strings.Repeat("c", mebibyte+mebibyte/2))
		}
		for _, want := range [][]string{{"s1", "s2"}, {"s3", "a"}, {"b", "c"}} {
			got := claim(t, c, 100)
			require.Equal(t, want, ids(got))
			for _, job := range got {
				require.Len(t, job.CheckpointData, mebibyte+mebibyte/2)
			}
		}
	})
}

// slowConn delivers so many bytes a second. One goroutine reads from it.
type slowConn struct {
	net.Conn
	rate int
	busy time.Time // until then with what was delivered
}

func (c *slowConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if now := time.Now(); c.busy.Before(now) {
		c.busy = now
	}
	c.busy = c.busy.Add(time.Duration(n) * time.Second / time.Duration(c.rate))
	time.Sleep(time.Until(c.busy))
	return n, err
}

// A slow link and large jobs: one reply with all that was asked for would come too late, again and again.
func TestLargeJobsComeOverASlowLink(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	const n = 30
	jobs := make([]*worker.Job, n)
	for i := range jobs {
		jobs[i] = sized(t, newJob(t).ID, mebibyte)
	}
	enqueue(t, q, jobs...)
	slow := *s
	slow.client = s.connect(func(opt *rueidis.ClientOption) {
		dial := opt.DialCtxFn
		opt.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
			conn, err := dial(ctx, addr, d, cfg)
			return &slowConn{Conn: conn, rate: 8 * mebibyte}, err
		}
	})
	cfg, _ := quiet()
	cfg.Timeout = 3 * time.Second // too short for all
	c := open(t, slow.queue(cfg), 0)
	require.Equal(t, ids(jobs), ids(claimN(t, c, n)))
}

// After a claim that was not answered the next ones ask for half as much, and for all again as answers come.
func TestUnansweredClaimsMakeTheNextOnesSmaller(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cut, w := wired(s)
		cfg, _ := quiet()
		q := cut.queue(cfg)
		c := open(t, q, 0)
		claim(t, c, 1) // the script is known to the server
		enqueue(t, q, newJobs(t, 100)...)
		for _, limit := range []int{16, 16} {
			cut.ok("PING") // there is a connection
			w.swallow.Store(true)
			_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: limit})
			require.Error(t, err)
			require.NotErrorIs(t, err, worker.ErrRefused)
		}
		require.Len(t, s.list("pending"), 100-16-8)
		for _, want := range []int{4, 8, 16, 16} {
			require.Len(t, claim(t, c, 16), want)
		}
		s.mini.SetError("LOADING Redis is loading the dataset in memory")
		_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 16})
		require.ErrorIs(t, err, worker.ErrRefused)
		s.mini.SetError("")
		require.Len(t, claim(t, c, 16), 16, "a refusal says nothing about size")
		for range 6 {
			cut.ok("PING")
			w.swallow.Store(true)
			_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 2})
			require.Error(t, err)
		}
		require.Len(t, claim(t, c, 2), 1, "never less than one")
	})
}

// Who replaces gets the holders' bodies, of which one call answers a few only.
func TestHoldersAreAskedForInParts(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	var ask []*worker.Job
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		unique := worker.UniqueBy(id, worker.UniquePolicy{Replace: true})
		enqueue(t, q, newJob(t, worker.WithID(id), unique))
		ask = append(ask, newJob(t, unique))
	}
	s.ok("CONFIG", "RESETSTAT")
	holders, err := q.Holders(t.Context(), ask...)
	require.NoError(t, err)
	require.Len(t, holders, len(ask))
	for i, holder := range holders {
		require.Equal(t, ask[i].Unique.Key, holder.ID)
		require.Equal(t, holder.ID, holder.Job.ID)
	}
	require.Contains(t, s.text("INFO", "commandstats"), "cmdstat_evalsha:calls=4,")
}
