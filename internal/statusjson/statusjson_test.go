package statusjson_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/statusjson"
)

func full() worker.Status {
	return worker.Status{
		JobID: "job \"1\"", Type: "stage:run", Queue: "default", Topic: "user:\u2028\\ü", State: worker.StateRetrying,
		Version: math.MaxInt64, Attempt: 2, MaxAttempts: 5, Crashes: 1, Progress: 0.1,
		Message: "line\nline \x01", Error: "<&>", Result: json.RawMessage(`{"b": 1.0,  "a": [ ], "n":12345678901234567890}`),
		RunAt: time.UnixMilli(1_900_000_000_123).UTC(), At: time.UnixMicro(1_800_000_000_456_789).UTC(),
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	spaced, null := full(), full()
	spaced.Result, null.Result = json.RawMessage("\n\t {\"a\" : 1}\r\n "), json.RawMessage(" null ")
	for _, want := range []worker.Status{full(), spaced, null, {JobID: "a", State: worker.StateQueued}} {
		data, err := statusjson.Append(nil, &want)
		require.NoError(t, err)
		got, err := statusjson.Decode(data)
		require.NoError(t, err)
		require.Equal(t, want, *got)
	}
}

// Who parses the JSON by the fields of worker.Status finds all of them: a new field must be written, too.
func TestEveryFieldIsWritten(t *testing.T) {
	s := full()
	data, err := statusjson.Append(nil, &s)
	require.NoError(t, err)
	var ours, theirs map[string]any
	require.NoError(t, json.Unmarshal(data, &ours))
	standard, err := json.Marshal(s)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(standard, &theirs))
	require.Equal(t, theirs, ours)
	require.Len(t, ours, reflect.TypeFor[worker.Status]().NumField()-1, "full sets every field but Job")
}

func TestRandomTextsSurvive(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 2_000 {
		var text strings.Builder
		for range dice.IntN(20) {
			text.WriteRune(rune(dice.IntN(0x300)))
		}
		want := worker.Status{JobID: "a", State: worker.StateRunning, Message: text.String(), Progress: dice.Float64()}
		data, err := statusjson.Append([]byte("x"), &want)
		require.NoError(t, err)
		got, err := statusjson.Decode(data[1:])
		require.NoError(t, err)
		require.Equal(t, want, *got)
	}
}

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	for name, change := range map[string]func(*worker.Status){
		"result":   func(s *worker.Status) { s.Result = json.RawMessage(`{"a":`) },
		"progress": func(s *worker.Status) { s.Progress = math.NaN() },
		"time":     func(s *worker.Status) { s.At = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		s := full()
		change(&s)
		b, err := statusjson.Append([]byte("as it was"), &s)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, `job \"1\"`)
		require.Equal(t, "as it was", string(b))
	}
}

func TestGarbageIsNoStatus(t *testing.T) {
	for _, data := range []string{"", "null", "{}", `{"job_id":"a"}`, `{"state":"queued"}`, `{"job_id":1}`, "[]", "x"} {
		_, err := statusjson.Decode([]byte(data))
		require.Error(t, err, data)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := worker.Status{
		JobID: "0190b2c4-7d3e-7000-8000-000000000000", Type: "stage:run", Queue: "default",
		Topic: "job:0190b2c4-7d3e-7000-8000-000000000000", State: worker.StateRunning, Version: 1 << 60,
		Attempt: 1, MaxAttempts: 5, Progress: 0.5, Message: "half way", At: time.Now(),
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = statusjson.Append(buf[:0], &s)
	}
}
