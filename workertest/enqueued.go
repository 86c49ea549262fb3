package workertest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

const maxListed = 10 // jobs in a message

// Enqueued returns the payloads of the jobs of P's type that the queue has and that are not over: in line, scheduled, to
// be retried, or held by a worker. Options narrow it down to the jobs that have what they set, as for RequireEnqueued. The
// order is that of the queue: held ones, then those in line, then those that wait for their time. The test fails when a
// payload does not decode into P.
func Enqueued[P worker.Payload](t T, q *MemoryQueue, opts ...worker.JobOption) []P {
	t.Helper()
	want := wishOf(nil, opts)
	var payloads []P
	for _, job := range q.unfinished() {
		if job.Type != jobType[P]() || len(want.fields(job)) > 0 {
			continue
		}
		payload, err := worker.DecodePayload[P](job)
		if err != nil {
			t.Fatalf("enqueued: %v", err)
		}
		payloads = append(payloads, payload)
	}
	return payloads
}

// RequireEnqueued fails the test unless the queue has a job that is not over with this payload and with what the options
// set; it returns the first one. Write it as the call that should have enqueued the job. What no option sets may be
// anything, the queue and the payload's own JobOptions included; of headers and retry policy, too, only what is set counts.
// Payloads are compared as JSON, so the order of fields is nothing.
func RequireEnqueued(t T, q *MemoryQueue, payload worker.Payload, opts ...worker.JobOption) *worker.Job {
	t.Helper()
	job, err := worker.NewJob(payload, opts...)
	if err != nil {
		t.Fatalf("require enqueued: %v", err)
		return nil
	}
	want := wishOf(copyJob(job), opts)
	jobs := q.unfinished()
	for _, job := range jobs {
		if len(want.differences(job)) == 0 {
			return job
		}
	}
	t.Fatalf("%s", want.complaint(jobs))
	return nil
}

// apply returns what options set.
func apply(opts []worker.JobOption) *worker.Job {
	set := &worker.Job{}
	for _, opt := range opts {
		if opt != nil {
			opt(set)
		}
	}
	return set
}

// jobType asks a zero P for its type, a pointer's through a zero value behind it.
func jobType[P worker.Payload]() string {
	var zero P
	if t := reflect.TypeFor[P](); t.Kind() == reflect.Pointer {
		zero = reflect.New(t.Elem()).Interface().(P)
	}
	return zero.JobType()
}

// wish is what a job is to be like: as job is, in the fields that are not zero in set.
type wish struct {
	job, set *worker.Job
	life     time.Duration // it expires so long after it was enqueued; zero: at a time, if at all
}

// wishOf makes a wish of options; a nil job is what they set.
func wishOf(job *worker.Job, opts []worker.JobOption) wish {
	began := time.Now()
	w := wish{job: job, set: apply(opts)}
	if job == nil {
		w.job = w.set
	}
	if !w.set.ExpiresAt.IsZero() { // ExpireAfter counts from when it is applied, ExpireAt doesn't
		time.Sleep(time.Nanosecond) // time has to pass, in a bubble, too
		if !apply(opts).ExpiresAt.Equal(w.set.ExpiresAt) {
			w.life = w.set.ExpiresAt.Sub(began)
		}
	}
	return w
}

// complaint lists what the queue has instead, those of the wanted type first.
func (w wish) complaint(jobs []*worker.Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "no such job is enqueued: %s %s", w.job.Type, w.job.Payload)
	for _, field := range w.fields(&worker.Job{}) {
		fmt.Fprintf(&b, ", %s %s", field.name, field.want)
	}
	if len(jobs) == 0 {
		return b.String() + "\nthe queue is empty"
	}
	slices.SortStableFunc(jobs, func(a, c *worker.Job) int {
		return cmp.Compare(w.strange(a), w.strange(c))
	})
	fmt.Fprintf(&b, "\nthe queue has %d:", len(jobs))
	for i, job := range jobs {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  and %d more", len(jobs)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s %s: ", job.Type, job.ID)
		for i, d := range w.differences(job) {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s is %s", d.name, d.got)
			if d.name != "Payload" && d.name != "Type" {
				fmt.Fprintf(&b, ", not %s", d.want)
			}
		}
	}
	return b.String()
}

// strange is 1 for jobs of another type.
func (w wish) strange(job *worker.Job) int {
	if job.Type == w.job.Type {
		return 0
	}
	return 1
}

// difference is a field in which a job is not what it is to be.
type difference struct{ name, got, want string }

func (w wish) differences(job *worker.Job) []difference {
	switch {
	case job.Type != w.job.Type:
		return []difference{{"Type", job.Type, w.job.Type}}
	case !sameJSON(job.Payload, w.job.Payload):
		return append([]difference{{"Payload", string(job.Payload), string(w.job.Payload)}}, w.fields(job)...)
	}
	return w.fields(job)
}

// fields compares what the options set. It goes through all that a producer sets, so that options to come are compared,
// too.
func (w wish) fields(job *worker.Job) (differ []difference) {
	set, want, got := reflect.ValueOf(w.set).Elem(), reflect.ValueOf(w.job).Elem(), reflect.ValueOf(job).Elem()
	for i := range set.NumField() {
		field := set.Type().Field(i)
		if field.Name == "Attempt" { // from here on it is the claim that sets them
			break
		}
		if !field.IsExported() || set.Field(i).IsZero() {
			continue
		}
		wanted, found := want.Field(i).Interface(), got.Field(i).Interface()
		switch field.Name {
		case "ExpiresAt":
			if w.life != 0 {
				wanted, found = w.life, lifeOf(job, w.life)
			}
		case "Delay": // it doesn't travel
			wanted, found = w.set.Delay.Truncate(time.Millisecond), delayOf(job)
		case "Headers":
			wanted, found = among(w.job.Headers, w.set.Headers), among(job.Headers, w.set.Headers)
		case "Retry":
			wanted, found = policyAmong(w.job.Retry, w.set.Retry), policyAmong(job.Retry, w.set.Retry)
		}
		if !equal(wanted, found) {
			differ = append(differ, difference{field.Name, readable(found), readable(wanted)})
		}
	}
	return differ
}

// lifeOf returns for how long a job was to live, zero for ever. What a producer takes from the option to the enqueue, under a
// second, is nothing.
func lifeOf(job *worker.Job, wanted time.Duration) time.Duration {
	if job.ExpiresAt.IsZero() {
		return 0
	}
	life := job.ExpiresAt.Sub(job.EnqueuedAt)
	if (wanted - life).Abs() < time.Second {
		return wanted
	}
	return life
}

// delayOf is the delay that a job was enqueued with.
func delayOf(job *worker.Job) time.Duration {
	if job.RunAt.IsZero() {
		return 0
	}
	return job.RunAt.Sub(job.EnqueuedAt)
}

// among returns the headers of those names.
func among(headers, names map[string]string) map[string]string {
	found := maps.Clone(headers)
	maps.DeleteFunc(found, func(name, _ string) bool { _, ok := names[name]; return !ok })
	return found
}

// policyAmong returns the fields of p that are set in set.
func policyAmong(p, set worker.RetryPolicy) worker.RetryPolicy {
	from, mask := reflect.ValueOf(&p).Elem(), reflect.ValueOf(set)
	for i := range mask.NumField() {
		if mask.Field(i).IsZero() {
			from.Field(i).SetZero()
		}
	}
	return p
}

// equal compares times in milliseconds, which is what travels.
func equal(a, b any) bool {
	if t, ok := a.(time.Time); ok {
		return t.UnixMilli() == b.(time.Time).UnixMilli()
	}
	return reflect.DeepEqual(a, b)
}

// readable shows a field's value.
func readable(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%q", v)
	case time.Time:
		if v.IsZero() {
			return "not set"
		}
		return v.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return fmt.Sprintf("%+v", v)
}

// sameJSON compares two texts as JSON, numbers by their digits.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := decodeJSON(a)
	y, errY := decodeJSON(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

func decodeJSON(data []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// unfinished returns the jobs that are not over, queue by queue, without those that don't decode.
func (q *MemoryQueue) unfinished() []*worker.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var jobs []*worker.Job
	for _, name := range slices.Sorted(maps.Keys(q.lanes)) {
		for _, e := range q.lanes[name].unfinished() {
			if job := e.job(); job != nil {
				jobs = append(jobs, job)
			}
		}
	}
	return jobs
}

// unfinished returns the entries that are not over: held ones, then in the order in which they will be claimed.
func (l *lane) unfinished() []*entry {
	var held, waiting []*entry
	for _, e := range l.entries {
		if e.place == worker.PlaceHeld {
			held = append(held, e)
		}
	}
	slices.SortFunc(held, func(a, b *entry) int { return cmp.Compare(a.token, b.token) })
	for el := l.suspects.Front(); el != nil; el = el.Next() {
		waiting = append(waiting, el.Value.(*entry))
	}
	for el := l.pending.Front(); el != nil; el = el.Next() {
		waiting = append(waiting, el.Value.(*entry))
	}
	later := slices.Clone(l.scheduled)
	slices.SortFunc(later, func(a, b *entry) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.arrival, b.arrival))
	})
	return slices.Concat(held, waiting, later)
}
