package redisnotify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever is published on a channel is an entry exactly as notify.lua writes it, or a plain message.
func FuzzParseEntry(f *testing.F) {
	const status = `{"job_id":"a","state":"running"}`
	f.Add(`{"position":"17","after":"16","status":` + status + `}`)
	f.Add(`{"position":"17","after":"0","digest":"ab","status":` + status + `}`)
	f.Add(`{"position":"17","after":"0","reset":true}`)
	f.Add(`{"position":"017","after":"-1","status":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		e, ok := parseEntry(text)
		if !ok {
			return
		}
		require.Positive(t, e.position)
		require.GreaterOrEqual(t, e.after, int64(0))
		rest := resetBody
		if e.body != "" || !strings.HasSuffix(text, resetBody) {
			rest = `"status":` + e.body + "}"
		}
		if e.digest != "" || strings.Contains(text, `"digest":""`) {
			rest = fmt.Sprintf(`"digest":"%s",%s`, e.digest, rest)
		}
		require.True(t, strings.HasSuffix(text, `",`+rest))
		e.status() // doesn't panic
	})
}

func TestPositionsAreReadAsTheyWereWritten(t *testing.T) {
	for _, text := range []string{"", "1", "1763930000000000", "9223372036854775807"} {
		require.Equal(t, text, formatPosition(parsePosition(text)))
	}
	for _, text := range []string{"0", "-1", "01", "+1", " 1", "1 ", "x", "9223372036854775808"} {
		require.EqualValues(t, unknown, parsePosition(text), text)
	}
}

func TestVersionsCompareAsTexts(t *testing.T) {
	last := ""
	for _, n := range []int64{-5, 1, 9, 10, 1 << 53, 1<<53 + 1, 1<<63 - 1} {
		text := string(appendVersion(nil, n))
		require.Len(t, text, 19)
		require.Greater(t, text, last)
		last = text
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	most := func(n int64) int64 { return n - 1 }
	least := func(int64) int64 { return 0 }
	require.Equal(t, 50*time.Millisecond, backoff(1, most))
	require.Equal(t, 25*time.Millisecond, backoff(1, least))
	for try := 2; try < 100; try++ {
		require.GreaterOrEqual(t, backoff(try, least), backoff(try-1, least))
		require.LessOrEqual(t, backoff(try, most), 2*time.Second)
	}
}

// The host's messages that a feed awaits are bounded, and forgotten with the connection on which they were to come.
func TestAwaitedMessages(t *testing.T) {
	cfg := Config{Channel: func(topic string) string { return topic }}.withDefaults()
	h := newHub(nil, cfg)
	f := newFeed(h, "t")
	r := newReader(f, 0)
	f.add(r)
	announce := func(n int, message string) {
		f.receive(f.channels[0], fmt.Sprintf(`{"position":"%d","after":"0","digest":"%s","status":{}}`, n,
			appendDigest(nil, []byte(message))))
	}
	plain := func() (all []string) {
		r.restart()
		for _, it := range r.queue {
			all = append(all, it.plain)
		}
		r.queue = nil
		return all
	}
	announce(1, "a")
	announce(2, "b")
	f.receive("t", "b") // "a" was lost
	f.receive("t", "a")
	f.receive(f.channels[0], "b")
	require.Equal(t, []string{"a", "b"}, plain())

	announce(3, "c")
	f.confirmed("t") // a new connection
	f.receive("t", "c")
	require.Equal(t, []string{"c"}, plain())

	for n := range 10 * maxAnnounced {
		announce(4+n, fmt.Sprint(n))
	}
	require.Len(t, f.announced, maxAnnounced)
}
