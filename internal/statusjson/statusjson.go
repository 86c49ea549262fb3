// Package statusjson writes statuses as JSON without touching what they carry: encoding/json would compact a result and
// escape in it. It is several times faster, too.
package statusjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/real-staging-ai/go-worker"
)

// Append appends the status as its type describes it, byte for byte also its result. Status.Job isn't part of it. An
// error names what cannot be written; b is returned as it was.
func Append(b []byte, s *worker.Status) ([]byte, error) {
	if len(s.Result) > 0 && !json.Valid(s.Result) {
		return b, fmt.Errorf("status of job %q: the result is not valid JSON", s.JobID)
	}
	if math.IsNaN(s.Progress) || math.IsInf(s.Progress, 0) {
		return b, fmt.Errorf("status of job %q: progress is %v", s.JobID, s.Progress)
	}
	if !writable(s.At) || !writable(s.RunAt) {
		return b, fmt.Errorf("status of job %q: a time lies outside of the years 0 to 9999", s.JobID)
	}
	b = appendText(append(b, `{"job_id":`...), s.JobID)
	b = appendText(append(b, `,"type":`...), s.Type)
	b = appendText(append(b, `,"queue":`...), s.Queue)
	b = appendText(append(b, `,"topic":`...), s.Topic)
	b = appendText(append(b, `,"state":`...), string(s.State))
	b = strconv.AppendInt(append(b, `,"version":"`...), s.Version, 10)
	b = strconv.AppendInt(append(b, `","attempt":`...), int64(s.Attempt), 10)
	b = strconv.AppendInt(append(b, `,"max_attempts":`...), int64(s.MaxAttempts), 10)
	if s.Crashes != 0 {
		b = strconv.AppendInt(append(b, `,"crashes":`...), int64(s.Crashes), 10)
	}
	b = strconv.AppendFloat(append(b, `,"progress":`...), s.Progress, 'g', -1, 64)
	if s.Message != "" {
		b = appendText(append(b, `,"message":`...), s.Message)
	}
	if s.Error != "" {
		b = appendText(append(b, `,"error":`...), s.Error)
	}
	if !s.RunAt.IsZero() {
		b = appendTime(append(b, `,"run_at":`...), s.RunAt)
	}
	b = appendTime(append(b, `,"at":`...), s.At)
	if len(s.Result) > 0 { // last, where Decode finds all of it
		b = append(append(b, `,"result":`...), s.Result...)
	}
	return append(b, '}'), nil
}

func writable(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// appendTime writes UTC: a zone may have an offset with seconds, which RFC 3339 cannot say.
func appendTime(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // strings always marshal
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Decode reads what Append wrote. The status shares no memory with data.
func Decode(data []byte) (*worker.Status, error) {
	s := new(worker.Status)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("decode status: %w", err)
	}
	if s.JobID == "" || s.State == "" {
		return nil, errors.New("decode status: no job or no state")
	}
	s.Result = withSpace(data, s.Result)
	return s, nil
}

// withSpace returns the result with the white space around it, which encoding/json drops, when it ends the object.
func withSpace(data []byte, result json.RawMessage) json.RawMessage {
	const space = " \t\r\n"
	data = bytes.TrimRight(data, space)
	all := data[:len(data)-1]
	head, ok := bytes.CutSuffix(bytes.TrimRight(all, space), result)
	if !ok || len(result) == 0 {
		return result
	}
	head = bytes.TrimRight(head, space)
	return slices.Clone(all[len(head):])
}
