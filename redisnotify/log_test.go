package redisnotify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

func TestLogIsCapped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{LogSize: 5})
		all := statuses("t", "a", 1, 12)
		notify(t, n, all...)
		subscribe(t, n, "t", "").reads(append(messages(all[7:]...), "caught up")...)
		require.EqualValues(t, 7, s.number("HLEN", logKey("t")), "five entries, the job's version and the header")
	})
}

func TestLogSizeIsThatOfWhoBeganTheLog(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		small, large := s.notifier(redisnotify.Config{LogSize: 2}), s.notifier(redisnotify.Config{LogSize: 5})
		notify(t, small, statuses("t", "a", 1, 3)...)
		notify(t, large, statuses("t", "a", 4, 7)...)
		subscribe(t, large, "t", "").reads("a 6", "a 7", "caught up")
	})
}

func TestLogExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{LogTTL: time.Minute})
		notify(t, n, status("t", "a", 1))
		left := s.number("PTTL", logKey("t"))
		require.Greater(t, left, int64(50_000))
		require.LessOrEqual(t, left, int64(60_000))
		s.ok("PEXPIRE", logKey("t"), "20000")
		notify(t, n, status("t", "a", 2))
		require.LessOrEqual(t, s.number("PTTL", logKey("t")), int64(20_000), "it was prolonged a moment ago, as far as is known")
	})
}

// A log's time to live begins again with an event that comes a sixteenth of it after the last time.
func TestLogLivesAfterItsLastEvent(t *testing.T) {
	s := onMini(t)
	n := s.notifier(redisnotify.Config{LogTTL: time.Minute})
	clock := time.UnixMilli(1_763_930_000_000)
	pass := func(d time.Duration) {
		clock = clock.Add(d)
		s.mini.SetTime(clock) // and with it what expires
	}
	pass(0)
	for i := range 30 {
		notify(t, n, status("t", "a", i+1))
		pass(10 * time.Second)
		require.GreaterOrEqual(t, s.mini.TTL(logKey("t")), 45*time.Second)
	}
	pass(46 * time.Second)
	require.EqualValues(t, 1, s.number("EXISTS", logKey("t")))
	pass(5 * time.Second)
	require.EqualValues(t, 0, s.number("EXISTS", logKey("t")))
}

// A log is prolonged by the server's clock: after a failover to one that is behind, positions hardly rise for a while.
func TestLogLivesAfterItsLastEventAlsoWhenTheClockGoesBack(t *testing.T) {
	s := onMini(t)
	n := s.notifier(redisnotify.Config{LogTTL: time.Minute})
	clock := time.UnixMilli(1_763_930_000_000)
	s.mini.SetTime(clock)
	notify(t, n, status("t", "a", 1))
	clock = clock.Add(-time.Hour)
	s.mini.SetTime(clock)
	s.ok("PEXPIRE", logKey("t"), "60000") // what it has left there
	for i := range 30 {
		notify(t, n, status("t", "a", i+2))
		require.Greater(t, s.mini.TTL(logKey("t")), 45*time.Second, i)
		clock = clock.Add(10 * time.Second)
		s.mini.SetTime(clock)
	}
}

func TestStaleVersionsAreNeitherKeptNorPublished(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		sub := subscribe(t, n, "t", "")
		sub.reads("caught up")
		high := status("t", "a", 3)
		high.Version = 1<<62 + 1 // beyond what Lua's numbers can tell apart
		low := high
		low.Version, low.Message = 1<<62, "low"
		last := high
		last.Version, last.Message = 1<<62+2, "last"
		notify(t, n, high, low, high) // in one call
		notify(t, n, low)
		notify(t, n, high)
		notify(t, n, low, last, status("t", "b", 1))
		sub.reads("a 3", "last", "b 1")
		subscribe(t, n, "t", "").reads("a 3", "last", "b 1", "caught up")
	})
}

// A topic with very many jobs remembers the versions of those in its log and a bounded number of others.
func TestWhatALogRemembersOfJobsIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		const size = 4
		n := s.notifier(redisnotify.Config{LogSize: size})
		most := int64(0)
		for i := range 30 * size {
			notify(t, n, status("t", fmt.Sprint("job", i), 2))
			most = max(most, s.number("HLEN", logKey("t")))
		}
		require.LessOrEqual(t, most, int64(1+size+8*size))
		require.Greater(t, most, int64(1+size+4*size), "it remembers more than the log")
		sub := subscribe(t, n, "t", "")
		last := 30*size - 1
		sub.reads(fmt.Sprintf("job%d 2", last-3), fmt.Sprintf("job%d 2", last-2), fmt.Sprintf("job%d 2", last-1),
			fmt.Sprintf("job%d 2", last), "caught up")
		for i := range size { // what is in the log was not forgotten
			notify(t, n, status("t", fmt.Sprint("job", last-i), 1))
		}
		notify(t, n, status("t", "new", 1))
		sub.reads("new 1")
	})
}

func TestPositionsRiseAlsoOverLostDataAndAClockThatGoesBack(t *testing.T) {
	s := onMini(t)
	n := s.notifier(redisnotify.Config{})
	clock := time.UnixMilli(1_763_930_000_000)
	s.mini.SetTime(clock)
	last := 0
	sub := subscribe(t, n, "t", "")
	sub.reads("caught up")
	rises := func(job string) {
		t.Helper()
		notify(t, n, statuses("t", job, 1, 3)...)
		for seen := 0; seen < 3; {
			e := sub.next()
			if e.Reset {
				continue
			}
			seen++
			require.Regexp(t, `^[0-9]{16}$`, e.Position)
			position, err := strconv.Atoi(e.Position)
			require.NoError(t, err)
			require.Greater(t, position, last)
			last = position
		}
	}
	rises("a")
	s.mini.SetTime(clock.Add(-time.Hour))
	rises("b") // from the log
	s.mini.FlushAll()
	rises("c") // from this process, as long as it lives
	s.mini.SetTime(clock.Add(time.Hour))
	rises("d")
	require.Greater(t, last, int(clock.Add(time.Hour).UnixMicro()))
}

func TestWhatCannotBeToldKeepsBackNothingElse(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		s.ok("SET", logKey("taken"), "by another")
		broken := status("t", "broken", 1)
		broken.Result = json.RawMessage("{")
		err := n.Notify(context.Background(), broken, status("taken", "a", 1), status("", "b", 1), status("t", "c", 1),
			status("u", "d", 1))
		require.ErrorContains(t, err, `job "broken": the result is not valid JSON`)
		require.ErrorContains(t, err, "WRONGTYPE")
		require.ErrorContains(t, err, `job "b": the topic is empty`)
		subscribe(t, n, "t", "").reads("c 1", "caught up")
		subscribe(t, n, "u", "").reads("d 1", "caught up")
		_, err = n.Subscribe(context.Background(), "taken", "")
		require.ErrorContains(t, err, "WRONGTYPE")
	})
}

func TestLargeCallsAreSplit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{LogSize: 4_096})
		var all []worker.Status
		for i := range 1_700 {
			all = append(all, status(fmt.Sprint("t", i%2), fmt.Sprint("job", i%7), i+1))
		}
		big := status("t0", "big", 1)
		big.Result = json.RawMessage(`"` + string(make([]byte, 0)) + fmt.Sprintf("%0*d", worker.MaxResultSize-2, 0) + `"`)
		for i := range 6 {
			big.JobID = fmt.Sprint("big", i)
			all = append(all, big)
		}
		notify(t, n, all...)
		sub := subscribe(t, n, "t0", "")
		for i := 0; i < 1_700; i += 2 {
			sub.reads(all[i].Message)
		}
		for range 6 {
			e := sub.next()
			require.Equal(t, string(big.Result), string(e.Status.Result))
		}
	})
}

// Garbage in a log's header makes it begin anew; garbage in an entry makes readers skip what is before it.
func TestGarbageInALogIsNoLastingHarm(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		for _, header := range []string{
			"", "x", "1 2 3", "99999999999999999999 1 1 64 1", "9000000000000000 1 1 64 1", "1 1 1 0 1",
			"1 99999999999999999999 1 64 1", "1 1 99999999999999999999 64 1", "1 1 1 99999999999999999999 1",
			"1 1 1 9999 99999999999999999999",
		} {
			s.ok("HSET", logKey("t"), "", header)
			notify(t, n, status("t", "job"+header, 1))
			sub := subscribe(t, n, "t", "")
			sub.reads("job"+header+" 1", "caught up")
			sub.end()
			s.ok("DEL", logKey("t"))
		}
		notify(t, n, statuses("t", "a", 1, 4)...)
		s.ok("HSET", logKey("t"), "e1", "garbage")
		subscribe(t, n, "t", "").reads("a 3", "a 4", "caught up")
		s.ok("HSET", logKey("t"), "e3", `{"position":"1","after":"0","status":{}}`)
		sub := subscribe(t, n, "t", "")
		sub.reads("reset", "caught up")
		notify(t, n, status("t", "a", 5)) // its predecessor is gone
		sub.reads("reset", "a 5")
	})
}

func TestAnyTopicHasALogOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		topics := []string{"a", "a}", "}a", "{a}", "{}", "}", "}:log", "a b", "*", "?", "[a]", "ü", "a}:log", "{", "a\nb"}
		for i, topic := range topics {
			notify(t, n, status(topic, fmt.Sprint("job", i), 1))
		}
		for i, topic := range topics {
			sub := subscribe(t, n, topic, "")
			sub.reads(fmt.Sprintf("job%d 1", i), "caught up")
			notify(t, n, status(topic, fmt.Sprint("job", i), 2))
			sub.reads(fmt.Sprintf("job%d 2", i))
		}
	})
}

func TestOneCallForAllTopics(t *testing.T) {
	s := onReal(t)
	n := s.notifier(redisnotify.Config{})
	var all []worker.Status
	for i := range 400 {
		all = append(all, status(fmt.Sprint("t", i), "a", 1))
	}
	notify(t, n, all...) // loads the script
	s.ok("CONFIG", "RESETSTAT")
	for i := range all {
		all[i].Version++
	}
	notify(t, n, all...)
	require.Contains(t, s.text("INFO", "commandstats"), "cmdstat_evalsha:calls=1,")
}
