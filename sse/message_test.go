package sse

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/real-staging-ai/go-worker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// parsed is what a browser makes of one block, by the words of the HTML standard.
type parsed struct {
	id, event, data string
	dispatched      bool
}

// parse reads a whole stream, every line end that the standard knows counting.
func parse(t testing.TB, stream []byte) (all []parsed) {
	t.Helper()
	require.True(t, utf8.Valid(stream), "%q", stream)
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(stream))
	require.True(t, strings.HasSuffix(text, "\n\n"), "%q", stream)
	id, event, data := "", "", ""
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			all = append(all, parsed{id: id, event: event, data: strings.TrimSuffix(data, "\n"), dispatched: data != ""})
			event, data = "", ""
		case name == "event":
			event = value
		case name == "data":
			data += value + "\n"
		case name == "id" && !strings.Contains(value, "\x00"):
			id = value
		case name != "retry" && name != "":
			require.Failf(t, "unknown field", "%q", line)
		}
	}
	return all
}

func TestMessagesKeepTheirFraming(t *testing.T) {
	for _, c := range [...]struct{ name, event, data, wantEvent, wantData string }{
		{name: "plain", event: "status", data: `{"a":1}`, wantEvent: "status", wantData: `{"a":1}`},
		{name: "no name", data: "x", wantData: "x"},
		{name: "no data", event: "ping", wantEvent: "ping"},
		{name: "line ends", data: "a\nb\rc\r\nd\n\ne", wantData: "a\nb\nc\nd\n\ne"},
		{name: "line ends at the end", data: "\n\r\n", wantData: "\n\n"},
		{name: "another event inside", data: "x\n\nevent: evil\ndata: y\n\n", wantData: "x\n\nevent: evil\ndata: y\n\n"},
		{name: "leading space", data: "  x", wantData: "  x"},
		{name: "leading colon", event: ":x", data: ":y", wantEvent: ":x", wantData: ":y"},
		{name: "a name of two lines", event: "a\r\ndata: evil\n\nb\x00c", data: "x", wantEvent: "adata: evilbc", wantData: "x"},
		{name: "not UTF-8", event: "a\xff", data: "b\xffc\xfe\n", wantEvent: "a\uFFFD", wantData: "b\uFFFDc\uFFFD\n"},
		{name: "NUL", data: "a\x00b", wantData: "a\x00b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := appendMessage(nil, "7", Message{Event: c.event, Data: []byte(c.data)})
			want := []parsed{{id: "7", event: c.wantEvent, data: c.wantData, dispatched: true}}
			assert.Equal(t, want, parse(t, stream))
		})
	}
}

func TestRetry(t *testing.T) {
	assert.Equal(t, "retry: 1500\n", string(appendRetry(nil, 1500*time.Millisecond)))
	assert.Equal(t, "retry: 1\n", string(appendRetry(nil, time.Microsecond)))
}

func FuzzMessage(f *testing.F) {
	for _, seed := range []string{"", "status", "a\rb\nc\r\nd", "\x00", "\xff\xc0", "data: x\n\n", " ", ":", "\uFEFF", "\u2028"} {
		f.Add(seed, []byte(seed), seed, seed)
	}
	f.Fuzz(func(t *testing.T, event string, data []byte, topic, position string) {
		id := formatID([]string{topic}, []string{position}, false)
		got := parse(t, appendMessage(nil, id, Message{Event: event, Data: data}))
		want := bytes.ToValidUTF8(data, []byte("\uFFFD"))
		require.Equal(t, []parsed{{
			id: id, event: cleanName(event), dispatched: true,
			data: strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(want)),
		}}, got)
		require.NotContains(t, got[0].event, "\n")
		if id != "" {
			positions, finished := parseID(got[0].id, []string{topic})
			require.Equal(t, []string{position}, positions)
			require.False(t, finished)
		}
	})
}

func TestStatusWithoutJSONIsSentAllTheSame(t *testing.T) {
	for _, odd := range []worker.Status{{Progress: math.NaN()}, {Result: json.RawMessage("{")}} {
		odd.JobID, odd.State = "a", worker.StateSucceeded
		m, ok := DefaultEncode(worker.Event{Status: &odd})
		require.True(t, ok)
		require.Contains(t, string(m.Data), `"state":"succeeded"`)
	}
}
