package redisnotify_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

func TestSubscribersGoOnFromTheirPosition(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{LogSize: 4})
		notify(t, n, statuses("t", "a", 1, 3)...)
		first := subscribe(t, n, "t", "")
		at := first.reads("a 1")
		first.reads("a 2", "a 3", "caught up")
		notify(t, n, statuses("t", "a", 4, 5)...)
		subscribe(t, n, "t", at).reads("a 2", "a 3", "a 4", "a 5", "caught up") // the first is no longer held, nor missed
		notify(t, n, status("t", "a", 6))
		subscribe(t, n, "t", at).reads("reset", "a 3", "a 4", "a 5", "a 6", "caught up")
		end := first.reads("a 4", "a 5", "a 6")
		require.Equal(t, end, subscribe(t, n, "t", end).reads("caught up"))
	})
}

func TestPositionsThatTheLogDoesNotHaveAreReset(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		notify(t, n, status("t", "a", 1))
		notify(t, n, status("other", "a", 1))
		elsewhere := subscribe(t, n, "other", "").reads("a 1")
		for _, position := range []string{
			"x", "-1", "0", "+1", "01", "1", " 1", "9999999999999999", "99999999999999999999", elsewhere, elsewhere + "0",
		} {
			sub := subscribe(t, n, "t", position)
			sub.reads("reset", "a 1", "caught up")
			sub.end()
			empty := subscribe(t, n, "empty", position)
			require.Empty(t, empty.reads("reset", "caught up"))
			empty.end()
		}
	})
}

// What a live subscriber reads when the log is lost under it is a Reset, and then what is new.
func TestLostDataIsAReset(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		sub := subscribe(t, n, "t", "")
		fresh := subscribe(t, n, "t", "")
		notify(t, n, statuses("t", "a", 1, 2)...)
		at := sub.reads("caught up", "a 1", "a 2")
		s.ok("FLUSHALL")
		lost := subscribe(t, n, "t", at)
		lost.reads("reset", "caught up")
		notify(t, n, status("t", "a", 3))
		after := sub.reads("reset", "a 3")
		require.Greater(t, after, at)
		lost.reads("a 3")
		fresh.reads("caught up", "a 1", "a 2", "reset", "a 3")
	})
}

// Whoever writes first after the loss may know less of positions than readers do, on a clock that went back.
func TestLostDataIsAResetAlsoWhenTheClockGoesBack(t *testing.T) {
	s := onMini(t)
	clock := time.UnixMilli(1_763_930_000_000)
	s.mini.SetTime(clock)
	n := s.notifier(redisnotify.Config{})
	sub := subscribe(t, n, "t", "")
	notify(t, n, status("t", "a", 1))
	sub.reads("caught up", "a 1")
	s.mini.FlushAll()
	s.mini.SetTime(clock.Add(-time.Hour))
	other := s.notifier(redisnotify.Config{})
	notify(t, other, statuses("t", "a", 2, 4)...)
	sub.reads("reset", "a 2", "a 3", "a 4")
}

// A log that expired while its topic was silent is no loss to who listened all the time.
func TestExpiryIsNoLossToWhoListens(t *testing.T) {
	s := onMini(t)
	clock := time.UnixMilli(1_763_930_000_000)
	s.mini.SetTime(clock)
	n := s.notifier(redisnotify.Config{LogTTL: time.Minute})
	sub := subscribe(t, n, "t", "")
	notify(t, n, status("t", "a", 1))
	at := sub.reads("caught up", "a 1")
	s.mini.SetTime(clock.Add(61 * time.Second))
	require.EqualValues(t, 0, s.number("EXISTS", logKey("t")))
	notify(t, n, status("t", "a", 2))
	sub.reads("a 2")
	subscribe(t, n, "t", at).reads("reset", "a 2", "caught up")
}

// A subscriber that doesn't read keeps nobody waiting and uses bounded memory; once it reads, the log tells it all.
func TestSlowSubscriberMissesNothingThatTheLogHolds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{Buffer: 4, LogSize: 50})
		slow, quick := subscribe(t, n, "t", ""), subscribe(t, n, "t", "")
		slow.reads("caught up")
		quick.reads("caught up")
		all := statuses("t", "a", 1, 45)
		for _, st := range all {
			notify(t, n, st)
			quick.reads(st.Message)
		}
		slow.reads(messages(all...)...)
		notify(t, n, status("t", "a", 46))
		slow.reads("a 46")
	})
}

func TestSlowSubscriberIsResetWhenTheLogHasGoneOn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{Buffer: 4, LogSize: 10})
		slow, quick := subscribe(t, n, "t", ""), subscribe(t, n, "t", "")
		slow.reads("caught up")
		quick.reads("caught up")
		all := statuses("t", "a", 1, 45)
		for _, st := range all {
			notify(t, n, st)
			quick.reads(st.Message)
		}
		e := slow.next()
		for ; e.Status != nil; e = slow.next() { // those that it had taken from its buffer
			require.LessOrEqual(t, e.Status.Message, "a 9")
		}
		require.True(t, e.Reset)
		slow.reads(messages(all[35:]...)...)
	})
}

func TestPlainMessagesOfOthersArriveLive(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		sub, other := subscribe(t, n, "t", ""), subscribe(t, n, "u", "")
		sub.reads("caught up")
		for _, text := range []string{"hello", "", `{"position":"x"}`, `{"position":"1","after":"0","status":`, "{}", "\x00\xff"} {
			s.ok("PUBLISH", n.Channel("t"), text)
			e := sub.next()
			require.Equal(t, text, string(e.Plain))
			require.NotNil(t, e.Plain)
			require.Empty(t, e.Position)
		}
		notify(t, n, status("t", "a", 1))
		sub.reads("a 1")
		notify(t, n, status("u", "a", 1))
		other.reads("caught up", "a 1")
	})
}

// A plain message that a slow subscriber had no room for is in no log: it gets a Reset in its place.
func TestPlainMessagesThatWereDroppedAreAReset(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{Buffer: 2})
		slow, quick := subscribe(t, n, "t", ""), subscribe(t, n, "t", "")
		slow.reads("caught up")
		quick.reads("caught up")
		for i := range 20 {
			s.ok("PUBLISH", n.Channel("t"), fmt.Sprint(i))
			quick.reads(fmt.Sprint("plain ", i))
		}
		notify(t, n, status("t", "a", 1))
		e := slow.next()
		for ; e.Plain != nil; e = slow.next() {
		}
		require.True(t, e.Reset)
		slow.reads("a 1")
	})
}

// host is a config whose channels and bytes are those of an older program.
func host() redisnotify.Config {
	return redisnotify.Config{
		Channel: func(topic string) string { return "news/" + topic },
		Message: func(s worker.Status) []byte {
			return fmt.Appendf(nil, "%s is %s (%v)", s.JobID, s.Message, s.Job != nil)
		},
	}
}

// Old subscribers see the host's bytes, exactly and nothing else; new ones see each event once and what others publish.
func TestHostsBytesAreKeptForOldSubscribers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(host())
		old := make(chan string, 100)
		ctx, cancel := context.WithCancel(context.Background())
		listener, release := s.connect(nil).Dedicate()
		defer release()
		defer cancel()
		ready := make(chan struct{})
		var once sync.Once
		go func() {
			_ = listener.Receive(withConfirmation(ctx, func() { once.Do(func() { close(ready) }) }),
				listener.B().Subscribe().Channel("news/t").Build(), func(m message) { old <- m.Message })
		}()
		<-ready
		sub := subscribe(t, n, "t", "")
		sub.reads("caught up")
		withJob := status("t", "a", 3)
		withJob.Job = &worker.Job{ID: "a"}
		notify(t, n, status("t", "a", 1), status("t", "b", 1), status("t", "a", 1))
		s.ok("PUBLISH", "news/t", "foreign")
		notify(t, n, status("t", "a", 2))
		s.ok("PUBLISH", "news/t", "a is a 1 (false)") // late, so not ours
		notify(t, n, withJob)
		require.NoError(t, n.Reset(context.Background(), "t"))
		notify(t, n, status("t", "a", 4))
		for _, want := range []string{
			"a is a 1 (false)", "b is b 1 (false)", "foreign", "a is a 2 (false)", "a is a 1 (false)", "a is a 3 (true)",
			"a is a 4 (false)",
		} {
			require.Equal(t, want, receive(t, old))
		}
		sub.reads("a 1", "b 1", "plain foreign", "a 2", "plain a is a 1 (false)", "a 3", "reset", "a 4")
		subscribe(t, n, "t", "").reads("a 1", "b 1", "a 2", "a 3", "reset", "a 4", "caught up")
	})
}

// A process that reads without the host's Message gets the same events as one that has it.
func TestReadersNeedNoMessageOfTheirOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg := host()
		writer := s.notifier(cfg)
		cfg.Message = nil
		sub := subscribe(t, s.notifier(cfg), "t", "")
		notify(t, writer, status("t", "a", 1))
		sub.reads("caught up", "a 1")
		notify(t, writer, status("t", "a", 2))
		sub.reads("a 2")
	})
}

func TestAMessageThatPanicsCostsNoOtherStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg := host()
		cfg.Message = func(st worker.Status) []byte {
			if st.JobID == "bad" {
				panic("message")
			}
			return []byte(st.JobID)
		}
		n := s.notifier(cfg)
		err := n.Notify(context.Background(), status("t", "a", 1), status("t", "bad", 1), status("t", "c", 1))
		require.ErrorContains(t, err, `job "bad": Message panicked: message`)
		subscribe(t, n, "t", "").reads("a 1", "c 1", "caught up")
	})
}

func TestAnEmptyMessageIsNotPublished(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		cfg := host()
		cfg.Message = func(st worker.Status) []byte {
			if st.JobID == "silent" {
				return nil
			}
			return []byte("x")
		}
		n := s.notifier(cfg)
		reader := cfg
		reader.Namespace = "elsewhere" // so that it sees the channel alone
		sub := subscribe(t, s.notifier(reader), "t", "")
		sub.reads("caught up")
		ours := subscribe(t, n, "t", "")
		notify(t, n, status("t", "silent", 1), status("t", "a", 1))
		sub.reads("plain x")
		ours.reads("caught up", "silent 1", "a 1")
		s.ok("PUBLISH", "news/t", "end")
		ours.reads("plain end")
	})
}

func TestEachTopicNeedsAChannelOfItsOwn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{Channel: func(string) string { return "all" }})
		sub := subscribe(t, n, "t", "")
		sub.reads("caught up")
		_, err := n.Subscribe(context.Background(), "u", "")
		require.ErrorContains(t, err, `channel "all" is that of topic "t", too`)
		sub.end()
		sub.closed()
		until(t, "the topic to be given up", func() bool {
			events, err := n.Subscribe(context.Background(), "u", "")
			return err == nil && events != nil
		})
	})
}

func TestCloseEndsSubscriptionsAndNothingElse(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		read, unread := subscribe(t, n, "t", ""), subscribe(t, n, "u", "")
		read.reads("caught up")
		notify(t, n, statuses("u", "a", 1, 10)...)
		n.Close()
		read.closed()
		unread.closed()
		_, err := n.Subscribe(context.Background(), "t", "")
		require.ErrorContains(t, err, "closed")
		notify(t, n, status("t", "a", 1))
	})
}
