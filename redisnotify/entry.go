package redisnotify

import (
	"hash/fnv"
	"strconv"
	"strings"
	"sync"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/statusjson"
)

// entry is one event as it stands in a topic's log and is published:
//
//	{"position":"1763930000000000","after":"1763929990000000","status":{…}}
//
// After is the position of the entry before it, 0 for a log's first: so a reader sees whether it missed any. A digest
// before the status names the host's message that was published with it. A reset has resetBody in place of the status.
type entry struct {
	position, after int64
	digest          string
	body            string // JSON of the status, empty for a reset

	once    sync.Once
	decoded *worker.Status
}

const resetBody = `"reset":true}`

// parseEntry reads what notify.lua writes. It is not for JSON that anybody else made: that is a plain message.
func parseEntry(text string) (*entry, bool) {
	e := new(entry)
	ok := cutPrefix(&text, `{"position":"`)
	e.position, text = leadingPosition(text)
	ok = ok && e.position > 0 && cutPrefix(&text, `","after":"`)
	e.after, text = leadingPosition(text)
	ok = ok && e.after >= 0 && cutPrefix(&text, `",`)
	if ok && text == resetBody {
		return e, true
	}
	if ok && cutPrefix(&text, `"digest":"`) {
		e.digest, text, ok = strings.Cut(text, `",`)
	}
	ok = ok && cutPrefix(&text, `"status":`) && strings.HasSuffix(text, "}")
	if !ok {
		return nil, false
	}
	e.body = text[:len(text)-1]
	return e, true
}

func cutPrefix(text *string, prefix string) bool {
	rest, ok := strings.CutPrefix(*text, prefix)
	*text = rest
	return ok
}

// leadingPosition reads the digits that text begins with, -1 if it doesn't.
func leadingPosition(text string) (int64, string) {
	end := 0
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(text[:end], 10, 64)
	if err != nil {
		return -1, text
	}
	return n, text[end:]
}

// status returns the status, decoded once for all readers; nil for a reset, or if it cannot be read.
func (e *entry) status() *worker.Status {
	e.once.Do(func() {
		if e.body == "" {
			return
		}
		if s, err := statusjson.Decode([]byte(e.body)); err == nil {
			e.decoded = s
		}
		e.body = ""
	})
	return e.decoded
}

// parsePosition reads a position that a client gave back: unknown, which no entry has, if it isn't one.
func parsePosition(text string) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || formatPosition(n) != text {
		return unknown
	}
	return n
}

const unknown = -1

func formatPosition(n int64) string {
	if n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// appendDigest names the host's message: subscribers tell it by this from what other programs publish.
func appendDigest(b, message []byte) []byte {
	h := fnv.New128a()
	_, _ = h.Write(message) // never fails
	const digits = "0123456789abcdef"
	for _, c := range h.Sum(make([]byte, 0, 16)) {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}
