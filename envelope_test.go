package worker

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fullJob has every field set that travels, with texts that need escaping.
func fullJob() *Job {
	return &Job{
		ID: `päd"1\`, Type: "stage:run", Queue: "images", Topic: "user/7 <&>", Key: "tenant",
		Unique:  &Unique{Key: `résumé"`, UniquePolicy: UniquePolicy{Until: ForPeriod, For: time.Hour + 1, Replace: true}},
		Payload: json.RawMessage("{\"a\": [ ], \"big\": 12345678901234567890,\n \"html\":\"<&>\"}"),
		Headers: map[string]string{"traceparent": "00-\u2028", `q"`: "}{"},
		Retry:   RetryPolicy{MaxAttempts: 7, Base: time.Microsecond, Max: time.Hour, Window: 24 * time.Hour},
		Timeout: 90 * time.Second, RunAt: fromMillis(1_700_000_000_123),
		ExpiresAt: fromMillis(1_800_000_000_123), EnqueuedAt: fromMillis(1_600_000_000_123),
	}
}

func TestEnvelopeCarriesEveryField(t *testing.T) {
	for name, job := range map[string]*Job{
		"full": fullJob(),
		"small": {ID: "1", Type: "t", Queue: DefaultQueue, Topic: "job:1", Payload: json.RawMessage(`{}`),
			EnqueuedAt: fromMillis(1)},
	} {
		body, err := EncodeJob(job)
		require.NoError(t, err, name)
		got, err := DecodeJob(body)
		require.NoError(t, err, name)
		assert.Equal(t, job, got, name)
	}
}

func TestEnvelopeIsSmall(t *testing.T) {
	job, err := NewJob(ping{})
	require.NoError(t, err)
	body, err := EncodeJob(job)
	require.NoError(t, err)
	assert.Less(t, len(body)-len(job.Payload), 90, "%s", body)
}

func TestFastHeaderScannerAgreesWithEncodingJSON(t *testing.T) {
	for name, job := range map[string]*Job{"full": fullJob(), "plain": {ID: "1", Type: "t", Queue: "q", Topic: "o",
		Retry: RetryPolicy{MaxAttempts: 3}, EnqueuedAt: fromMillis(5),
		Unique:  &Unique{Key: "k", UniquePolicy: UniquePolicy{Until: UntilStarted, For: time.Hour, Replace: true}},
		Headers: map[string]string{"a": "}"}}} {
		line, _, _ := bytes.Cut(job.encode(), []byte("\n"))
		var fast, slow header
		require.NoError(t, json.Unmarshal(line, &slow), name)
		if fast.scan(string(line)) {
			assert.Equal(t, slow, fast, name)
		} else {
			assert.Equal(t, "full", name, "only escapes may need the slow way")
		}
	}
}

func TestDecodeRefusesGarbageWithIDAndBody(t *testing.T) {
	tests := map[string]struct{ body, id, want string }{
		"empty":       {"", "", "no header line"},
		"no newline":  {`{"v":1}`, "", "no header line"},
		"not JSON":    {"hello\n{}", "", "header"},
		"version 0":   {`{"i":"1","t":"t"}` + "\n{}", "1", "format version is 0"},
		"version 2":   {`{"v":2,"i":"1","t":"t"}` + "\n{}", "1", "format version is 2: this worker reads 1 to 1"},
		"no id":       {`{"v":1,"t":"t"}` + "\n{}", "", "id is empty"},
		"no type":     {`{"v":1,"i":"1"}` + "\n{}", "1", "type is empty"},
		"bad queue":   {`{"v":1,"i":"1","t":"t","q":"a b"}` + "\n{}", "1", "queue"},
		"negative":    {`{"v":1,"i":"1","t":"t","d":-5}` + "\n{}", "1", "Timeout is -5ns"},
		"far away":    {`{"v":1,"i":"1","t":"t","r":999999999999999}` + "\n{}", "1", "RunAt"},
		"wrong types": {`{"v":1,"i":1,"t":"t"}` + "\n{}", "", "header"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeJob([]byte(tt.body))
			var d *DecodeError
			require.ErrorAs(t, err, &d)
			assert.Equal(t, tt.id, d.ID)
			assert.Equal(t, tt.body, string(d.Body))
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func TestDecodeIgnoresWhatItDoesNotKnow(t *testing.T) {
	job, err := DecodeJob([]byte(`{"v":1,"i":"1","new":{"x":[1,2]},"t":"t","z":"y"}` + "\n{}"))
	require.NoError(t, err)
	assert.Equal(t, "t", job.Type)
	assert.Equal(t, "job:1", job.Topic)
	assert.Equal(t, DefaultQueue, job.Queue)
}

func TestLimitsNameFieldAndLimit(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := map[string]struct {
		change func(*Job)
		want   string
	}{
		"id too long":      {func(j *Job) { j.ID = long(256) }, "id has 256 bytes: the limit is 255"},
		"id with newline":  {func(j *Job) { j.ID = "a\nb" }, "control character"},
		"id not UTF-8":     {func(j *Job) { j.ID = "\xff" }, "not valid UTF-8"},
		"empty type":       {func(j *Job) { j.Type = "" }, "type is empty"},
		"type too long":    {func(j *Job) { j.Type = long(256) }, "type has 256 bytes: the limit is 255"},
		"queue with space": {func(j *Job) { j.Queue = "a b" }, "allowed are"},
		"queue with brace": {func(j *Job) { j.Queue = "a}" }, "allowed are"},
		"queue too long":   {func(j *Job) { j.Queue = long(65) }, "queue has 65 bytes: the limit is 64"},
		"topic too long":   {func(j *Job) { j.Topic = long(513) }, "topic has 513 bytes: the limit is 512"},
		"key too long":     {func(j *Job) { j.Key = long(256) }, "key has 256 bytes: the limit is 255"},
		"payload empty":    {func(j *Job) { j.Payload = nil }, "payload is empty"},
		"payload no JSON":  {func(j *Job) { j.Payload = []byte("{") }, "payload is not valid JSON"},
		"payload too big":  {func(j *Job) { j.Payload = []byte(`"` + long(100) + `"`) }, "payload has 102 bytes: the limit is 64"},
		"headers too big":  {func(j *Job) { j.Headers = map[string]string{"h": long(MaxHeadersSize)} }, "headers has 16385 bytes: the limit is 16384"},
		"header no name":   {func(j *Job) { j.Headers = map[string]string{"": "x"} }, "empty name"},
		"header not UTF-8": {func(j *Job) { j.Headers = map[string]string{"h": "\xff"} }, "not valid UTF-8"},
		"negative delay":   {func(j *Job) { j.Delay = -1 }, "Delay is -1ns"},
		"negative timeout": {func(j *Job) { j.Timeout = -1 }, "Timeout is -1ns"},
		"negative retries": {func(j *Job) { j.Retry.MaxAttempts = -1 }, "MaxAttempts is -1"},
		"negative base":    {func(j *Job) { j.Retry.Base = -1 }, "retry Base is -1ns"},
		"negative max":     {func(j *Job) { j.Retry.Max = -1 }, "retry Max is -1ns"},
		"negative window":  {func(j *Job) { j.Retry.Window = -1 }, "retry Window is -1ns"},
		"unique no key":    {func(j *Job) { j.Unique.Key = "" }, "unique key is empty"},
		"unique too long":  {func(j *Job) { j.Unique.Key = long(256) }, "unique key has 256 bytes: the limit is 255"},
		"unique control":   {func(j *Job) { j.Unique.Key = "a\nb" }, "control character"},
		"unique until":     {func(j *Job) { j.Unique.Until = 3 }, "until(3) is unknown"},
		"unique negative":  {func(j *Job) { j.Unique.For = -1 }, "unique For is -1ns"},
		"unique too short": {func(j *Job) { j.Unique.For = 1 }, "the least is 1ms"},
		"unique for ever":  {func(j *Job) { j.Unique.For = MaxUniqueFor + 1 }, "the limit is 8784h0m0s"},
		"run at year 1":    {func(j *Job) { j.RunAt = time.Unix(-1e10, 0) }, "RunAt"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := fullJob()
			job.Payload = json.RawMessage(`{}`)
			tt.change(job)
			assert.ErrorContains(t, job.check(64), tt.want)
		})
	}
}

func FuzzDecodeJob(f *testing.F) {
	full, _ := EncodeJob(fullJob())
	f.Add(full)
	f.Add([]byte(`{"v":1,"i":"1","t":"t","q":"q","a":3,"e":5}` + "\n[1, 2]"))
	f.Add([]byte(`{"v":1,"i":"1","t":"t","h":{"a":"}"}}` + "\n"))
	f.Add([]byte(`{"v":1,"i":"1","t":"t","u":"k","s":2,"f":3600000000000,"p":1}` + "\n{}"))
	f.Add([]byte(`{"v":1,"i":"1","t":"t","s":1,"U":"k"}` + "\n{}"))
	f.Add([]byte(`{"v":01,"i":"\u0031","t":"t"}` + "\nx"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if line, _, ok := bytes.Cut(body, []byte("\n")); ok {
			var fast, slow header
			if fast.scan(string(line)) {
				if err := json.Unmarshal(line, &slow); err != nil {
					t.Fatalf("scan takes what encoding/json refuses: %q: %v", line, err)
				}
				if len(slow.Headers) == 0 && len(fast.Headers) == 0 {
					slow.Headers, fast.Headers = nil, nil
				}
				assert.Equal(t, slow, fast, "%q", line)
			}
		}
		job, err := DecodeJob(body)
		if err != nil {
			var d *DecodeError
			require.ErrorAs(t, err, &d)
			return
		}
		again, err := DecodeJob(job.encode())
		require.NoError(t, err)
		if len(job.Headers) == 0 && len(again.Headers) == 0 {
			job.Headers, again.Headers = nil, nil
		}
		assert.Equal(t, job, again)
	})
}

func BenchmarkEncodeJob(b *testing.B) {
	job, err := NewJob(ping{})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeJob(job); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJob(b *testing.B) {
	job, err := NewJob(ping{})
	require.NoError(b, err)
	body := job.encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeJob(body); err != nil {
			b.Fatal(err)
		}
	}
}

// ping is the payload of tests that need one.
type ping struct {
	N int `json:"n"`
}

func (ping) JobType() string { return "ping" }
