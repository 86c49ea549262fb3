package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxHeaderLine is far above any valid header: each byte of the limits may be escaped sixfold.
const maxHeaderLine = 256 << 10

// formatVersion is the version of the wire format that this package writes, and the highest that it reads.
const formatVersion = 1

// header is the first line of an encoded job. Defaults are left out; names are short as they are stored a million
// times. Durations are nanoseconds, times milliseconds since 1970.
type header struct {
	Version     int               `json:"v"`
	ID          string            `json:"i"`
	Type        string            `json:"t"`
	Queue       string            `json:"q,omitempty"`
	Topic       string            `json:"o,omitempty"`
	Key         string            `json:"k,omitempty"`
	MaxAttempts int64             `json:"a,omitempty"`
	Base        int64             `json:"b,omitempty"`
	Max         int64             `json:"m,omitempty"`
	Window      int64             `json:"w,omitempty"`
	Timeout     int64             `json:"d,omitempty"`
	RunAt       int64             `json:"r,omitempty"`
	ExpiresAt   int64             `json:"x,omitempty"`
	EnqueuedAt  int64             `json:"e,omitempty"`
	UniqueKey   string            `json:"u,omitempty"`
	UniqueUntil int64             `json:"s,omitempty"`
	UniqueFor   int64             `json:"f,omitempty"`
	Replace     int64             `json:"p,omitempty"` // 1: it does
	Headers     map[string]string `json:"h,omitempty"`
}

// EncodeJob returns the job's wire format: a header as one line of JSON, a newline, and the payload's bytes as given.
// What the claim fills in and Delay are not part of it. Empty ID, Queue, Topic and EnqueuedAt are an error, as NewJob
// and Client set them.
func EncodeJob(job *Job) ([]byte, error) {
	if err := job.check(0); err != nil {
		return nil, fmt.Errorf("encode job: %w", err)
	}
	return job.encode(), nil
}

// encode appends what check has found to be in order.
func (j *Job) encode() []byte {
	b := make([]byte, 0, 160+len(j.Payload))
	b = append(b, `{"v":1`...)
	b = appendString(b, "i", j.ID)
	b = appendString(b, "t", j.Type)
	if j.Queue != DefaultQueue {
		b = appendString(b, "q", j.Queue)
	}
	if !defaultTopic(j.Topic, j.ID) {
		b = appendString(b, "o", j.Topic)
	}
	if j.Key != "" {
		b = appendString(b, "k", j.Key)
	}
	b = appendInt(b, "a", int64(j.Retry.MaxAttempts))
	b = appendInt(b, "b", int64(j.Retry.Base))
	b = appendInt(b, "m", int64(j.Retry.Max))
	b = appendInt(b, "w", int64(j.Retry.Window))
	b = appendInt(b, "d", int64(j.Timeout))
	b = appendInt(b, "r", toMillis(j.RunAt))
	b = appendInt(b, "x", toMillis(j.ExpiresAt))
	b = appendInt(b, "e", toMillis(j.EnqueuedAt))
	if j.Unique != nil {
		b = j.Unique.encode(b)
	}
	if len(j.Headers) > 0 {
		h, _ := json.Marshal(j.Headers) // strings always marshal
		b = append(append(b, `,"h":`...), h...)
	}
	b = append(b, '}', '\n')
	return append(b, j.Payload...)
}

func (u *Unique) encode(b []byte) []byte {
	b = appendString(b, "u", u.Key)
	b = appendInt(b, "s", int64(u.Until))
	b = appendInt(b, "f", int64(u.For))
	if u.Replace {
		b = appendInt(b, "p", 1)
	}
	return b
}

func appendString(b []byte, name, value string) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	for i := range len(value) {
		if c := value[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(value)
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), value...), '"')
}

func appendInt(b []byte, name string, value int64) []byte {
	if value == 0 {
		return b
	}
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return strconv.AppendInt(b, value, 10)
}

func defaultTopic(topic, id string) bool {
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	return ok && rest == id
}

// DecodeJob reads the wire format. Header names that it doesn't know are ignored. An error is a *DecodeError. The
// job's Payload is part of body, which the caller must not change afterwards.
func DecodeJob(body []byte) (*Job, error) {
	line := bytes.IndexByte(body, '\n')
	if line < 0 || line > maxHeaderLine {
		return nil, &DecodeError{Body: body, Err: errors.New("no header line")}
	}
	var h header
	if !h.scan(string(body[:line])) {
		var err error
		if h, err = decodeHeader(body[:line]); err != nil {
			return nil, &DecodeError{Body: body, Err: fmt.Errorf("header: %w", err)}
		}
	}
	if h.Version < 1 || h.Version > formatVersion {
		return nil, &DecodeError{ID: h.ID, Body: body,
			Err: fmt.Errorf("format version is %d: this worker reads 1 to %d", h.Version, formatVersion)}
	}
	job := &Job{
		ID: h.ID, Type: h.Type, Queue: h.Queue, Topic: h.Topic, Key: h.Key,
		Payload: body[line+1:], Headers: h.Headers,
		Retry: RetryPolicy{
			MaxAttempts: int(h.MaxAttempts), Base: time.Duration(h.Base),
			Max: time.Duration(h.Max), Window: time.Duration(h.Window),
		},
		Timeout:   time.Duration(h.Timeout),
		RunAt:     fromMillis(h.RunAt),
		ExpiresAt: fromMillis(h.ExpiresAt), EnqueuedAt: fromMillis(h.EnqueuedAt),
	}
	if h.UniqueKey != "" {
		job.Unique = h.unique()
	}
	if job.Queue == "" {
		job.Queue = DefaultQueue
	}
	if job.Topic == "" {
		job.Topic = topicPrefix + job.ID
	}
	if err := job.checkHeader(); err != nil {
		return nil, &DecodeError{ID: h.ID, Body: body, Err: err}
	}
	return job, nil
}

func (h *header) unique() *Unique {
	return &Unique{Key: h.UniqueKey, UniquePolicy: UniquePolicy{
		Until: UniqueUntil(h.UniqueUntil), For: time.Duration(h.UniqueFor), Replace: h.Replace == 1,
	}}
}

// decodeHeader reads any header. It is a function of its own as its header is on the heap.
func decodeHeader(line []byte) (h header, err error) {
	err = json.Unmarshal(line, &h)
	return h, err
}

// scan reads a header as encode writes it, many times faster than encoding/json, and reports whether it was one. What
// it refuses is left to encoding/json, so it need not know all of JSON.
func (h *header) scan(s string) bool {
	if len(s) < 2 || s[0] != '{' {
		return false
	}
	s = s[1:]
	var digits [20]byte // as many as a number can have
	for len(s) > 5 && s[0] == '"' && s[2] == '"' && s[3] == ':' {
		name := s[1]
		s = s[4:]
		switch {
		case name == 'h':
			end := strings.LastIndexByte(s, '}')
			if end < 0 {
				return false
			}
			headers, err := decodeHeaders(s[:end]) // encode writes them last
			if err != nil {
				return false
			}
			h.Headers = headers
			s = s[end:]
		case s[0] == '"':
			end := strings.IndexByte(s[1:], '"') + 1
			if end < 1 || !plain(s[1:end]) || !h.setString(name, s[1:end]) {
				return false
			}
			s = s[end+1:]
		default:
			end := strings.IndexAny(s, ",}")
			if end < 0 {
				return false
			}
			n, err := strconv.ParseInt(s[:end], 10, 64)
			if err != nil || string(strconv.AppendInt(digits[:0], n, 10)) != s[:end] || !h.setInt(name, n) {
				return false
			}
			s = s[end:]
		}
		if s == "}" {
			return true
		}
		if s == "" || s[0] != ',' {
			return false
		}
		s = s[1:]
	}
	return false
}

func decodeHeaders(s string) (headers map[string]string, err error) {
	err = json.Unmarshal([]byte(s), &headers)
	return headers, err
}

// plain reports whether s stands for itself inside JSON quotes.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '\\' || s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (h *header) setString(name byte, value string) bool {
	switch name {
	case 'i':
		h.ID = value
	case 't':
		h.Type = value
	case 'q':
		h.Queue = value
	case 'o':
		h.Topic = value
	case 'k':
		h.Key = value
	case 'u':
		h.UniqueKey = value
	default:
		return false
	}
	return true
}

func (h *header) setInt(name byte, value int64) bool {
	switch name {
	case 'v':
		h.Version = int(value)
	case 'a':
		h.MaxAttempts = value
	case 'b':
		h.Base = value
	case 'm':
		h.Max = value
	case 'w':
		h.Window = value
	case 'd':
		h.Timeout = value
	case 'r':
		h.RunAt = value
	case 'x':
		h.ExpiresAt = value
	case 'e':
		h.EnqueuedAt = value
	case 's':
		h.UniqueUntil = value
	case 'f':
		h.UniqueFor = value
	case 'p':
		h.Replace = value
	default:
		return false
	}
	return true
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
