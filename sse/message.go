package sse

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/real-staging-ai/go-worker"
)

// Message is one event of a stream, as the page hears it.
type Message struct {
	// Event is the name that the page listens for. Empty means "message", the one that onmessage gets. Line ends and NUL
	// are taken out.
	Event string
	// Data is the event's data. Each of its line ends (CR, LF or CRLF) arrives as LF; what is not UTF-8 as U+FFFD. Empty
	// data arrives as an empty string.
	Data []byte
}

func (m Message) isZero() bool { return m.Event == "" && len(m.Data) == 0 }

// DefaultEncode names statuses "status" and sends them as JSON, and sends the bytes that other programs published as they
// are, without a name. A status that has no JSON, since somebody edited its row, is sent without its progress and result.
func DefaultEncode(e worker.Event) (Message, bool) {
	switch {
	case e.Status != nil:
		data, err := json.Marshal(e.Status)
		if err != nil {
			plain := *e.Status
			plain.Progress, plain.Result = 0, nil
			data, err = json.Marshal(&plain)
		}
		return Message{Event: "status", Data: data}, err == nil
	case e.Plain != nil:
		return Message{Data: e.Plain}, true
	}
	return Message{}, false
}

// appendMessage appends an event in the stream's format. An empty id is left out: the page keeps the one before.
func appendMessage(b []byte, id string, m Message) []byte {
	b = appendID(b, id)
	if m.Event != "" {
		b = append(append(append(b, "event: "...), cleanName(m.Event)...), '\n')
	}
	b = appendData(b, m.Data)
	return append(b, '\n')
}

// appendID appends the line of an id, which formatID has made of harmless characters.
func appendID(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	return append(append(append(b, "id: "...), id...), '\n')
}

// appendData appends a line for each line of data; there is always one, as an event without is not dispatched.
func appendData(b, data []byte) []byte {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	for {
		b = append(b, "data: "...)
		end := bytes.IndexAny(data, "\r\n")
		if end < 0 {
			return append(append(b, data...), '\n')
		}
		b = append(append(b, data[:end]...), '\n')
		if bytes.HasPrefix(data[end:], []byte("\r\n")) {
			end++
		}
		data = data[end+1:]
	}
}

// cleanName makes a name fit on one line.
func cleanName(name string) string {
	if strings.ContainsAny(name, "\r\n\x00") {
		name = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(name)
	}
	return strings.ToValidUTF8(name, "\uFFFD")
}

// appendRetry tells the browser how long to wait before it comes back. The line is in effect at once, and is a part of
// the block that follows: some parsers take a block of its own for an event.
func appendRetry(b []byte, d time.Duration) []byte {
	return append(strconv.AppendInt(append(b, "retry: "...), max(d.Milliseconds(), 1), 10), '\n')
}
