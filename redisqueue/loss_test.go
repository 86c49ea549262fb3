package redisqueue_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

const lossMessage = "redis has lost data"

// lossbook is a config whose losses are kept.
type lossbook struct {
	*logbook
	mu     sync.Mutex
	losses []redisqueue.DataLoss
}

func watched() (redisqueue.Config, *lossbook) {
	cfg, log := quiet()
	book := &lossbook{logbook: log}
	cfg.OnDataLoss = func(l redisqueue.DataLoss) {
		book.mu.Lock()
		defer book.mu.Unlock()
		book.losses = append(book.losses, l)
	}
	return cfg, book
}

// told returns the losses that were told of so far, the hook and the log alike.
func (b *lossbook) told(t *testing.T) []redisqueue.DataLoss {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Equal(t, len(b.losses), b.count(lossMessage), "the log tells of each, once")
	return slices.Clone(b.losses)
}

// snapshot returns a function that brings back what Redis has now, and nothing else.
func (s *server) snapshot() (restore func()) {
	s.t.Helper()
	keys, err := s.ok("KEYS", "*").AsStrSlice()
	require.NoError(s.t, err)
	var commands [][]string
	read := func(words ...string) []string {
		values, err := s.ok(words...).AsStrSlice()
		require.NoError(s.t, err)
		return values
	}
	for _, k := range keys {
		switch kind := s.text("TYPE", k); kind {
		case "string":
			commands = append(commands, []string{"SET", k, s.text("GET", k)})
		case "list":
			commands = append(commands, append([]string{"RPUSH", k}, read("LRANGE", k, "0", "-1")...))
		case "hash":
			fields, err := s.ok("HGETALL", k).AsStrMap()
			require.NoError(s.t, err)
			for field, value := range fields {
				commands = append(commands, []string{"HSET", k, field, value})
			}
		case "zset":
			flat := read("ZRANGE", k, "0", "-1", "WITHSCORES")
			for i := 0; i < len(flat); i += 2 {
				commands = append(commands, []string{"ZADD", k, flat[i+1], flat[i]})
			}
		case "set":
			commands = append(commands, append([]string{"SADD", k}, read("SMEMBERS", k)...))
		default:
			s.t.Fatalf("%s is a %s", k, kind)
		}
	}
	return func() {
		s.ok("FLUSHALL")
		for _, command := range commands {
			s.ok(command...)
		}
	}
}

// runClock lets Redis's clock run apart from the bubble's by what the returned function says.
func (s *server) runClock() (step func(time.Duration)) {
	var mu sync.Mutex
	var offset time.Duration
	set := func() {
		mu.Lock()
		defer mu.Unlock()
		s.mini.SetTime(time.Now().Add(offset))
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for ticker := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ticker.C:
				set()
			case <-done:
				ticker.Stop()
				return
			}
		}
	}()
	s.t.Cleanup(func() { close(done); <-ended })
	return func(d time.Duration) {
		mu.Lock()
		offset = d
		mu.Unlock()
		set()
	}
}

// However many sessions notice it, by whatever sign, a loss is told of once; and so is the next one.
func TestALossIsToldOfOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := watched()
		q := s.queue(cfg)
		busy := open(t, q, 0)
		sessions := []worker.Consumer{busy, open(t, q, 0)}
		other, err := q.Consume(context.Background(), "other", worker.ConsumeOptions{})
		require.NoError(t, err)
		defer func() { _ = other.Close(context.Background()) }()
		enqueue(t, q, newJob(t))
		claim(t, busy, 1)
		time.Sleep(time.Minute)
		require.Empty(t, book.told(t))

		before := time.Now()
		s.ok("FLUSHALL")
		for _, c := range append(sessions, other) {
			requireLost(t, c, 3*time.Second)
		}
		time.Sleep(time.Minute)
		require.Len(t, book.told(t), 1)
		loss := book.told(t)[0]
		require.Equal(t, redisqueue.SignSessionGone, loss.Sign)
		require.NotEmpty(t, loss.Worker)
		require.NotEmpty(t, loss.Detail)
		require.WithinRange(t, loss.At, before, before.Add(2*time.Second))

		c := open(t, q, 0)
		time.Sleep(time.Minute)
		require.Len(t, book.told(t), 1)
		s.ok("FLUSHALL")
		requireLost(t, c, 3*time.Second)
		time.Sleep(time.Minute)
		require.Len(t, book.told(t), 2)
	})
}

// A claim comes upon the missing session before the heartbeat does: it is noticed all the same.
func TestALossIsNoticedWhoeverFindsTheSessionGone(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := watched()
		c := open(t, s.queue(cfg), 0)
		time.Sleep(time.Second)
		s.ok("FLUSHALL")
		_, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1})
		require.ErrorIs(t, err, worker.ErrLeaseLost)
		require.NoError(t, c.Close(context.Background()))
		synctest.Wait()
		require.Len(t, book.told(t), 1)
	})
}

// A hook that takes its time costs nobody a lease.
func TestASlowHookCostsNoLease(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := watched()
		over := make(chan struct{})
		cfg.OnDataLoss = func(redisqueue.DataLoss) { <-over }
		q := s.queue(cfg)
		job := enqueue(t, q, newJobs(t, 1)...)[0]
		c, other := open(t, q, 0), open(t, q, 0)
		held := claim(t, c, 1)
		require.Len(t, held, 1)
		s.ok("SET", key("token"), "1")
		time.Sleep(time.Minute)
		require.Empty(t, claim(t, other, 1), "%s was taken over", job.ID)
		settle(t, c, worker.ActionComplete, held...)
		close(over)
	})
}

// Redis comes back with what it had a while ago. The worker's own session is in it, so that it goes on; what the
// snapshot has too much or too little is put right.
func TestAnOldSnapshotIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := watched()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, named(t, "ended", "held")...)
		claimed := claim(t, c, 2)
		time.Sleep(5 * time.Second) // not at a beat
		restore := s.snapshot()
		settle(t, c, worker.ActionComplete, claimed[0])
		enqueue(t, q, named(t, "late", "gone")...)
		late := claim(t, c, 1)[0]
		time.Sleep(4 * time.Second)
		restore()

		require.Equal(t, worker.Revocation{ID: "late", Token: late.Token, Cause: worker.ErrLeaseLost},
			receive(t, c.(worker.CancelWatcher).Revoked()))
		time.Sleep(10 * time.Second)
		requireNotLost(t, c)
		require.Equal(t, redisqueue.SignLeaseEarlier, book.told(t)[0].Sign)
		require.Len(t, book.told(t), 1)
		again := claim(t, c, 9)
		require.Equal(t, []string{"ended"}, ids(again), "a status store says that it is over")
		require.Greater(t, again[0].Token, late.Token)
		settle(t, c, worker.ActionComplete, claimed[1])
	})
}

// After an outage longer than a takeover takes, the tokens still tell.
func TestALossDuringALongOutageIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := watched()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, newJob(t))
		settle(t, c, worker.ActionComplete, claim(t, c, 1)...)
		s.mini.SetError("LOADING Redis is loading the dataset in memory")
		time.Sleep(time.Minute)
		s.mini.FlushAll()
		s.mini.SetError("")
		requireLost(t, c, 5*time.Second)
		time.Sleep(time.Second)
		require.Len(t, book.told(t), 1)
		require.Equal(t, redisqueue.SignTokensBack, book.told(t)[0].Sign)
	})
}

func TestMissingJobsAreNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := watched()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b")...)
		claim(t, c, 2)
		for name := range s.inflight() {
			s.ok("HDEL", key("inflight:"+name), "a")
		}
		time.Sleep(time.Minute)
		require.Len(t, book.told(t), 1)
		require.Equal(t, redisqueue.SignJobsMissing, book.told(t)[0].Sign)
	})
}

// Redis loses its data and its clock is an hour behind what it was: claims draw later tokens all the same, in the session
// and in those after it.
func TestTokensRiseWhateverRedisForgets(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		step := s.runClock()
		step(0)
		q := s.queue(redisqueue.Config{})
		last := int64(0)
		for range 3 {
			c := open(t, q, 0)
			for range 2 {
				enqueue(t, q, newJobs(t, 3)...)
				jobs := claim(t, c, 3)
				require.Greater(t, jobs[0].Token, last)
				last = jobs[2].Token
				s.ok("DEL", key("token"))
			}
			step(-time.Hour)
			s.ok("FLUSHALL")
			requireLost(t, c, 5*time.Second)
		}
	})
}

// What happens on an ordinary day is no loss.
func TestNoFalseAlarm(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, s *server, q *redisqueue.Queue, w *wire){
		"outages": func(_ *testing.T, s *server, _ *redisqueue.Queue, _ *wire) {
			for _, away := range []time.Duration{3 * time.Second, 11 * time.Second, time.Hour} {
				s.mini.SetError("LOADING Redis is loading the dataset in memory")
				time.Sleep(away)
				s.mini.SetError("")
				time.Sleep(10 * time.Second)
			}
		},
		"lost replies": func(_ *testing.T, _ *server, _ *redisqueue.Queue, w *wire) {
			for range 100 {
				time.Sleep(1234 * time.Millisecond)
				w.swallow.Store(true)
			}
		},
		"steps of the clock": func(_ *testing.T, s *server, _ *redisqueue.Queue, w *wire) {
			step := s.runClock()
			for i, d := range []time.Duration{time.Hour, 0, -time.Hour, 0, 5 * time.Second, -5 * time.Second, 90 * time.Second} {
				w.swallow.Store(i%2 == 0)
				step(d)
				time.Sleep(30 * time.Second)
			}
		},
		"a clock that stands still": func(_ *testing.T, s *server, _ *redisqueue.Queue, _ *wire) {
			s.mini.SetTime(time.Now())
			time.Sleep(time.Minute)
			s.mini.SetTime(time.Time{})
			time.Sleep(time.Minute)
		},
		"takeovers": func(t *testing.T, s *server, q *redisqueue.Queue, _ *wire) {
			c := open(t, q, 0)
			enqueue(t, q, newJobs(t, 3)...)
			claim(t, c, 2)
			redisqueue.Crash(c)
			requireLost(t, c, patience)
			require.NoError(t, c.Close(context.Background()))
		},
		"a takeover that has just begun": func(t *testing.T, s *server, _ *redisqueue.Queue, _ *wire) {
			for name := range s.zset("workers") {
				s.ok("ZADD", key("workers"), "0", name)
			}
			time.Sleep(3 * time.Second)
			for name := range s.zset("workers") {
				s.ok("ZREM", key("workers"), name)
			}
		},
		"closes": func(t *testing.T, _ *server, q *redisqueue.Queue, _ *wire) {
			for range 10 {
				require.NoError(t, open(t, q, 0).Close(context.Background()))
				time.Sleep(time.Second)
			}
		},
		"garbage in the counter": func(_ *testing.T, s *server, _ *redisqueue.Queue, _ *wire) {
			for _, garbage := range []string{"abc", "", "1e300", "99999999999999999999"} {
				s.ok("SET", key("token"), garbage)
				time.Sleep(5 * time.Second)
			}
			s.ok("DEL", key("token"))
			s.ok("RPUSH", key("token"), "x")
			time.Sleep(5 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cfg, book := watched()
				cut, w := wired(s)
				q := cut.queue(cfg)
				busy := open(t, q, 0)
				enqueue(t, q, newJobs(t, 20)...)
				held := claim(t, busy, 10)
				settle(t, busy, worker.ActionComplete, held[:5]...)
				time.Sleep(5 * time.Second)
				happens(t, s, q, w)
				w.swallow.Store(false)
				time.Sleep(time.Minute)
				require.Empty(t, book.told(t))
			})
		})
	}
}

// A hook that panics costs nobody the lease.
func TestAPanickingHookIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		cfg.OnDataLoss = func(redisqueue.DataLoss) { panic("no") }
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, c, 1)
		time.Sleep(3 * time.Second)
		s.ok("DEL", key("token"))
		time.Sleep(time.Minute)
		requireNotLost(t, c)
		require.Equal(t, 1, book.count("OnDataLoss panicked"))
		require.Equal(t, 1, book.count(lossMessage))
	})
}

// However long the hook takes, the session and its handlers have heard what concerns them before.
func TestABlockingHookHoldsNobodyUp(t *testing.T) {
	for name, test := range map[string]struct {
		lose  func(s *server)
		heard func(c worker.Consumer) bool
	}{
		"session": {
			func(s *server) { s.ok("FLUSHALL") },
			func(c worker.Consumer) bool {
				select {
				case <-c.Lost():
					return true
				default:
					return false
				}
			},
		},
		"job": {
			func(s *server) {
				for name := range s.inflight() {
					s.ok("DEL", key("inflight:"+name))
				}
			},
			func(c worker.Consumer) bool { return len(c.(worker.CancelWatcher).Revoked()) == 1 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cfg, _ := quiet()
				told, release := make(chan struct{}), make(chan struct{})
				cfg.OnDataLoss = func(redisqueue.DataLoss) { close(told); <-release }
				c := open(t, s.queue(cfg), 0)
				defer close(release)
				enqueue(t, s.queue(redisqueue.Config{}), newJob(t))
				claim(t, c, 1)
				time.Sleep(3 * time.Second)
				test.lose(s)
				receive(t, told)
				require.True(t, test.heard(c))
			})
		})
	}
}
