package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what a job may carry, in bytes. EncodeJob, Client.Enqueue and DecodeJob hold jobs to them.
const (
	MaxIDLength       = 255
	MaxTypeLength     = 255
	MaxQueueLength    = 64
	MaxTopicLength    = 512
	MaxKeyLength      = 255
	MaxHeadersSize    = 16 << 10 // names and values together
	MaxTextSize       = 4 << 10  // Status.Message and Status.Error
	MaxResultSize     = 1 << 20
	MaxCheckpointSize = 1 << 20

	// DefaultMaxPayload is the limit of a payload where Backend.MaxPayload says nothing else.
	DefaultMaxPayload = 1 << 20
)

// check reports the first thing about the job that is missing or over its limit. maxPayload 0 means no limit.
func (j *Job) check(maxPayload int) error {
	if err := j.checkHeader(); err != nil {
		return err
	}
	switch {
	case len(j.Payload) == 0:
		return errors.New("payload is empty: it must be JSON")
	case maxPayload > 0 && len(j.Payload) > maxPayload:
		return limitError("payload", len(j.Payload), maxPayload)
	case !j.payloadIsValid() && !json.Valid(j.Payload):
		return errors.New("payload is not valid JSON")
	case j.EnqueuedAt.IsZero():
		return errors.New("EnqueuedAt is not set")
	case j.Delay < 0:
		return negative("Delay", j.Delay)
	}
	return nil
}

// payloadIsValid reports whether the payload is the very one that was looked at before.
func (j *Job) payloadIsValid() bool {
	return len(j.Payload) == len(j.validJSON) && &j.Payload[0] == &j.validJSON[0]
}

// checkHeader is the part of check that holds for whatever comes out of a queue, too.
func (j *Job) checkHeader() error {
	if err := checkName("id", j.ID, MaxIDLength); err != nil {
		return err
	}
	if err := checkName("type", j.Type, MaxTypeLength); err != nil {
		return err
	}
	if err := CheckQueueName(j.Queue); err != nil {
		return err
	}
	if err := checkName("topic", j.Topic, MaxTopicLength); err != nil {
		return err
	}
	if j.Key != "" {
		if err := checkName("key", j.Key, MaxKeyLength); err != nil {
			return err
		}
	}
	if err := j.Unique.check(); err != nil {
		return err
	}
	if j.Timeout < 0 {
		return negative("Timeout", j.Timeout)
	}
	if err := checkTimes(j); err != nil {
		return err
	}
	if err := j.Retry.check(); err != nil {
		return err
	}
	return j.checkHeaders()
}

const maxMillis = 253402300799999 // the last millisecond of the year 9999

func checkTimes(j *Job) error {
	for _, f := range [...]struct {
		field string
		at    time.Time
	}{{"RunAt", j.RunAt}, {"ExpiresAt", j.ExpiresAt}, {"EnqueuedAt", j.EnqueuedAt}} {
		if ms := toMillis(f.at); ms < 0 || ms > maxMillis {
			return fmt.Errorf("%s is %v: it must lie between the years 1970 and 9999", f.field, f.at)
		}
	}
	return nil
}

func (j *Job) checkHeaders() error {
	size := 0
	for name, value := range j.Headers {
		if name == "" {
			return errors.New("a header has an empty name")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("header %q is not valid UTF-8", name)
		}
		size += len(name) + len(value)
	}
	if size > MaxHeadersSize {
		return limitError("headers", size, MaxHeadersSize)
	}
	return nil
}

// checkName holds a name to what keys, channels, logs and databases all take.
func checkName(field, value string, limit int) error {
	switch {
	case value == "":
		return fmt.Errorf("%s is empty", field)
	case len(value) > limit:
		return limitError(field, len(value), limit)
	case printable(value): // the ordinary case, decided in a fraction of the time
		return nil
	case !utf8.ValidString(value):
		return fmt.Errorf("%s %q is not valid UTF-8", field, value)
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s %q contains a control character", field, value)
	}
	return nil
}

// printable reports whether value is of ASCII's printable characters only.
func printable(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return true
}

// CheckQueueName reports whether name is a queue name: 1 to 64 characters of A-Z, a-z, 0-9, and _ . : -
func CheckQueueName(name string) error {
	switch {
	case name == "":
		return errors.New("queue is empty")
	case len(name) > MaxQueueLength:
		return limitError("queue", len(name), MaxQueueLength)
	}
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte("_.:-", c) < 0 {
			return fmt.Errorf("queue %q contains %q: allowed are A-Z a-z 0-9 _ . : -", name, c)
		}
	}
	return nil
}

func limitError(field string, size, limit int) error {
	return fmt.Errorf("%s has %d bytes: the limit is %d", field, size, limit)
}

func negative(field string, d time.Duration) error {
	return fmt.Errorf("%s is %v: it must not be negative", field, d)
}

// isNil reports whether v is nil or an interface around a nil pointer, map, slice, func or channel.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan, reflect.Interface:
		return r.IsNil()
	}
	return false
}
