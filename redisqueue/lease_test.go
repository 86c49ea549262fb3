package redisqueue_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// requireLost fails the test unless a session hears within d that its lease is gone.
func requireLost(t testing.TB, c worker.Consumer, d time.Duration) {
	t.Helper()
	select {
	case <-c.Lost():
	case <-time.After(d):
		t.Fatalf("the session did not hear within %v that its lease is gone", d)
	}
}

func requireNotLost(t testing.TB, sessions ...worker.Consumer) {
	t.Helper()
	for _, c := range sessions {
		select {
		case <-c.Lost():
			t.Fatal("a session was robbed")
		default:
		}
	}
}

func TestALeaseIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		open(t, s.queue(redisqueue.Config{}), 0)
		for range 50 {
			time.Sleep(777 * time.Millisecond)
			for _, deadline := range s.zset("workers") {
				left := time.Duration(deadline-float64(time.Now().UnixMilli())) * time.Millisecond
				require.GreaterOrEqual(t, left, 8*time.Second-time.Millisecond)
				require.LessOrEqual(t, left, 10*time.Second)
			}
			require.Len(t, s.zset("workers"), 1)
		}
	})
}

// A dead worker's jobs come back after lease and grace, within two beats more, in claim order and before all others.
func TestADeadWorkersJobsComeBack(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		dead := open(t, q, 0)
		for range 3 { // several reapers count one crash
			open(t, q, 0)
		}
		jobs := enqueue(t, q, newJobs(t, 1203)...)
		for range 11 {
			claim(t, dead, 100)
		}
		redisqueue.Kill(dead)
		s.ok("DEL", key("wake"))
		start := time.Now()
		for len(s.list("pending")) < 1203 {
			time.Sleep(100 * time.Millisecond)
			require.Less(t, time.Since(start), 19*time.Second+500*time.Millisecond)
		}
		require.Greater(t, time.Since(start), 12*time.Second, "the lease was renewed at most one beat before, then the grace")
		require.Equal(t, ids(jobs), s.list("pending"))
		require.Len(t, s.list("wake"), 1)
		synctest.Wait()
		require.Len(t, s.zset("workers"), 3)
		history := s.hash("history")
		require.Len(t, history, 1100)
		for _, value := range history {
			require.Equal(t, "0 1", value)
		}
		time.Sleep(time.Minute)
		require.Equal(t, ids(jobs), s.list("pending"))
		require.Positive(t, book.count("dead worker given back"))
	})
}

func TestCrashesMakeSuspectsAndThenACrashLoop(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		enqueue(t, q, named(t, "poison", "neighbour")...)
		for crashes := range 3 {
			c := open(t, q, 3)
			got := claimN(t, c, 1)
			require.Equal(t, "poison", got[0].ID)
			require.Equal(t, crashes, got[0].Crashes)
			require.Equal(t, 1, got[0].Attempt)
			require.Nil(t, got[0].Reject)
			open(t, q, 3)
			redisqueue.Kill(c)
			time.Sleep(20 * time.Second)
			in := "pending"
			if crashes >= 1 {
				in = "suspects"
			}
			require.Equal(t, "poison", s.list(in)[0])
		}
		c := open(t, q, 3)
		got := claim(t, c, 9)
		require.Equal(t, []string{"poison", "neighbour"}, ids(got))
		require.ErrorIs(t, got[0].Reject, worker.ErrCrashLoop)
		require.Equal(t, 3, got[0].Crashes)
		require.Nil(t, got[1].Reject)
	})
}

// However long Redis was away, its first visitor robs nobody who comes back.
func TestNobodyIsRobbedWhileRedisIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, book := quiet()
		q := s.queue(cfg)
		sessions := []worker.Consumer{open(t, q, 0), open(t, q, 0), open(t, q, 0)}
		enqueue(t, q, newJobs(t, 3)...)
		for _, c := range sessions {
			claim(t, c, 1)
		}
		for _, away := range []time.Duration{5 * time.Second, 11 * time.Second, time.Hour} {
			s.mini.SetError("LOADING Redis is loading the dataset in memory")
			time.Sleep(away)
			s.mini.SetError("")
			time.Sleep(time.Minute)
			requireNotLost(t, sessions...)
			require.Len(t, s.zset("workers"), 3)
			require.Empty(t, s.list("pending"))
		}
		require.Equal(t, 9, book.count("lease cannot be renewed"), "once each for three sessions")
		require.Equal(t, 9, book.count("lease is renewed again"))
	})
}

// On a real server, which stands still for three leases.
func TestNobodyIsRobbedByAPausedServer(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	cfg.Lease, cfg.Grace = time.Second, 2*time.Second
	q := s.queue(cfg)
	sessions := []worker.Consumer{open(t, q, 0), open(t, q, 0)}
	enqueue(t, q, newJobs(t, 2)...)
	for _, c := range sessions {
		require.Len(t, claim(t, c, 1), 1)
	}
	s.client = s.connect(nil) // the sessions' connection breaks while nobody answers
	s.real.Pause()
	<-time.After(3 * time.Second)
	s.real.Resume()
	renewed := func() bool {
		for _, deadline := range s.zset("workers") {
			if deadline < float64(time.Now().UnixMilli()) {
				return false
			}
		}
		return true
	}
	for !renewed() {
		<-time.After(50 * time.Millisecond)
	}
	requireNotLost(t, sessions...)
	require.Len(t, s.zset("workers"), 2)
	require.Empty(t, s.list("pending"))
}

func TestADeadWorkersJobsComeBackOnARealServer(t *testing.T) {
	s := onReal(t)
	cfg, _ := quiet()
	cfg.Lease = time.Second
	q := s.queue(cfg)
	dead, heir := open(t, q, 0), open(t, q, 0)
	jobs := enqueue(t, q, newJobs(t, 5)...)
	held := claim(t, dead, 5)
	redisqueue.Kill(dead)
	again := claimN(t, heir, 5)
	require.Equal(t, ids(jobs), ids(again))
	for i, job := range again {
		require.Equal(t, 1, job.Crashes)
		require.Greater(t, job.Token, held[i].Token)
	}
}

// A worker that stood still for too long hears of it at its next contact, and changes nothing any more.
func TestARobbedWorkerChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		paused, heir := open(t, q, 0), open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, paused, 1)
		redisqueue.Crash(paused)
		again := claimN(t, heir, 1)[0]
		requireLost(t, paused, 5*time.Second)
		require.NoError(t, paused.Close(context.Background()))
		require.Equal(t, map[string][]string{"a": {"held"}}, places(s))
		settle(t, heir, worker.ActionComplete, again)
		accounted(t, s)
	})
}

// A fenced worker is lost at once, before the reaper has moved anything.
func TestAFencedWorkerIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		claim(t, c, 1)
		for name := range s.zset("workers") {
			s.ok("ZADD", key("workers"), "0", name)
		}
		requireLost(t, c, 3*time.Second)
		for _, deadline := range s.zset("workers") {
			require.Zero(t, deadline, "the heartbeat must not bring it back")
		}
	})
}

// A lease that was renewed after the look is not taken over.
func TestARenewedLeaseIsLeftAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a")...)
		job := claim(t, c, 1)[0]
		name := slices.Collect(maps.Keys(s.zset("workers")))[0]
		heir := open(t, q, 0)
		_, err := redisqueue.Retire(heir, name, "12345", 1)
		require.Error(t, err)
		_, err = redisqueue.Retire(heir, "nobody", "12345", 1)
		require.Error(t, err)
		require.Equal(t, map[string][]string{"a": {"held"}}, places(s))
		settle(t, c, worker.ActionComplete, job)
	})
}

// A takeover fences the worker before it has moved everything: from then on the worker changes nothing.
func TestATakeoverFencesFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{Lease: time.Hour}) // no heartbeat moves the deadline or finishes the takeover
		c := open(t, q, 0)
		jobs := enqueue(t, q, newJobs(t, 700)...)
		claim(t, c, 500)
		claim(t, c, 200)
		name := slices.Collect(maps.Keys(s.zset("workers")))[0]
		deadline := s.text("ZSCORE", key("workers"), name)
		heir := open(t, q, 0)
		moved, err := redisqueue.Retire(heir, name, deadline, 1)
		require.Error(t, err, "there are more")
		require.Equal(t, int64(500), moved)
		require.Equal(t, ids(jobs[200:]), s.list("pending"))
		require.ErrorIs(t, c.Settle(context.Background(), verdicts(worker.ActionComplete, jobs[0])...), worker.ErrLeaseLost)
		moved, err = redisqueue.Retire(heir, name, deadline, 1)
		require.NoError(t, err)
		require.Equal(t, int64(200), moved)
		require.Equal(t, ids(jobs), s.list("pending"))
		require.NotContains(t, s.zset("workers"), name)
	})
}

// A takeover whose reaper died half-way is finished by another.
func TestATakeoverIsContinued(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		dead := open(t, q, 0)
		jobs := enqueue(t, q, newJobs(t, 10)...)
		claim(t, dead, 10)
		redisqueue.Kill(dead)
		// The first reaper fenced it and moved the latest four.
		name := slices.Collect(maps.Keys(s.zset("workers")))[0]
		s.ok("ZADD", key("workers"), "0", name)
		for i := 9; i >= 6; i-- {
			s.ok("LPUSH", key("pending"), jobs[i].ID)
			s.ok("HSET", key("history"), jobs[i].ID, "0 1")
			s.ok("HDEL", key("inflight:"+name), jobs[i].ID)
		}
		heir := open(t, q, 0)
		time.Sleep(10 * time.Second)
		got := claim(t, heir, 10)
		require.Equal(t, ids(jobs), ids(got))
		for _, job := range got {
			require.Equal(t, 1, job.Crashes)
		}
		require.Len(t, s.zset("workers"), 1)
	})
}

// A job that Redis no longer has is revoked, once.
func TestAJobThatRedisLostIsRevoked(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		enqueue(t, q, named(t, "a", "b")...)
		jobs := claim(t, c, 2)
		for name := range s.inflight() {
			s.ok("HDEL", key("inflight:"+name), "a")
		}
		start := time.Now()
		revoked := c.(worker.CancelWatcher).Revoked()
		require.Equal(t, worker.Revocation{ID: "a", Token: jobs[0].Token, Cause: worker.ErrLeaseLost}, receive(t, revoked))
		require.LessOrEqual(t, time.Since(start), 4*time.Second)
		require.Greater(t, time.Since(start), 2*time.Second, "two beats must agree")
		time.Sleep(time.Minute)
		require.Empty(t, revoked)
	})
}

func TestTheLeaseIsToldAndNamesAreRandom(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{Lease: 7 * time.Second})
		for range 20 {
			require.Equal(t, 7*time.Second, open(t, q, 0).(worker.Leaser).Lease())
		}
		names := s.zset("workers")
		require.Len(t, names, 20)
		for name := range names {
			require.Regexp(t, "^[a-z2-7]{16}$", name)
		}
	})
}

// More revocations than the channel holds come at later beats.
func TestNoRevocationIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		const n = 1500
		for i := range n {
			enqueue(t, q, newJob(t, worker.WithID(strconv.Itoa(i))))
		}
		for range 3 {
			claim(t, c, 500)
		}
		for name := range s.inflight() {
			s.ok("DEL", key("inflight:"+name))
		}
		time.Sleep(10 * time.Second)
		seen := make(map[string]bool)
		for len(seen) < n {
			select {
			case r := <-c.(worker.CancelWatcher).Revoked():
				require.False(t, seen[r.ID], fmt.Sprint(r))
				seen[r.ID] = true
			case <-time.After(10 * time.Second):
				t.Fatalf("%d of %d revocations came", len(seen), n)
			}
		}
	})
}
