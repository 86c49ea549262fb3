package workertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// answerRows are the promises about what Save returns and takes.
var answerRows = []row[*storeBench]{
	{name: "answers in order", run: answersInOrder,
		promise: "the answers are in the order of the statuses, each about its own job"},
	{name: "current", run: currentState,
		promise: "the answer for a status that was not stored carries the state that is; of unfinished ones any will do"},
	{name: "row", run: answeredRow,
		promise: "a row that comes with an answer is the stored one"},
	{name: "repeated", run: repeated,
		promise: "only a status that was stored by an earlier call is answered as repeated"},
	{name: "large call", run: largeCall,
		promise: "a call may carry hundreds of statuses"},
	{name: "no statuses", run: noStatuses,
		promise: "a call without statuses is harmless"},
	{name: "long texts", run: longTexts,
		promise: "texts and results of the largest legal size are stored"},
	{name: "awkward texts", run: awkwardTexts,
		promise: "any valid text is stored"},
	{name: "with a job", run: withJob,
		promise: "a status may carry its job; a store that gives it back gives back all that travels"},
	{name: "with an edited job", run: withEditedJob,
		promise: "a store that gives back jobs gives back the one of the last status for which BringsJob is true"},
	{name: "context of save", run: saveContext,
		promise: "Save returns soon after its context ended"},
}

// getterRows are the promises of worker.Getter.
var getterRows = []row[*storeBench]{
	{name: "not found", run: getNotFound,
		promise: "a job without a status is ErrJobNotFound"},
	{name: "fields", run: getFields,
		promise: "what was saved is what is read: texts and result byte for byte, times to the millisecond"},
	{name: "zero fields", run: getZeroFields,
		promise: "fields that were empty are read as empty"},
	{name: "last status", run: getLast,
		promise: "the last status is read whole: nothing of an earlier one shines through"},
	{name: "refused leave no trace", run: getUntouched,
		promise: "a status that was not stored leaves no trace in the row"},
}

func answersInOrder(b *storeBench) {
	const n = 9
	var rows, next []worker.Status
	for i := range n {
		id := b.id()
		rows = append(rows, status(id, worker.StateRunning, 5))
		next = append(next, status(id, worker.StateRunning, 5+int64(i%3)-1)) // older, the same, newer
	}
	b.save(rows...)
	for i, got := range b.save(next...) {
		if want := i%3 > 0; got.OK != want {
			b.Fatalf("answer %d is OK %v, want %v", i, got.OK, want)
		}
	}
}

func currentState(b *storeBench) {
	for state, phase := range phaseOf {
		id := b.id()
		b.takes(versioned(id, state, 5, phase, 1))
		b.refuses(state, versioned(id, worker.StateRunning, 4, running, 0))
	}
}

func answeredRow(b *storeBench) {
	row := fullStatus(b.id())
	b.takes(row)
	got := b.save(status(row.JobID, worker.StateRunning, 1))[0]
	switch {
	case got.OK:
		b.Fatalf("an older status was stored")
	case got.Row != nil:
		b.sameStatus(got.Row, &row)
	}
}

func repeated(b *storeBench) {
	id := b.id()
	first, second := status(id, worker.StateQueued, 0), status(id, worker.StateRunning, 1)
	for _, s := range []worker.Status{first, second} {
		if got := b.save(s)[0]; !got.OK || got.Repeated {
			b.Fatalf("a new status got %+v", got)
		}
		switch got := b.save(s)[0]; {
		case !got.OK:
			b.Fatalf("the same status once more got %+v", got)
		case !got.Repeated:
			b.Skipf("the store doesn't tell repetitions")
		}
	}
	if got := b.save(first)[0]; got.OK || got.Repeated {
		b.Fatalf("an older status got %+v", got)
	}
}

func largeCall(b *storeBench) {
	const many = 500
	var rows []worker.Status
	for range many {
		rows = append(rows, status(b.id(), worker.StateQueued, 0))
	}
	for _, state := range []worker.State{worker.StateQueued, worker.StateRunning, worker.StateSucceeded} {
		for i := range rows {
			rows[i] = status(rows[i].JobID, state, int64(phaseOf[state]))
		}
		for i, got := range b.save(rows...) {
			if !got.OK {
				b.Fatalf("status %d of %d was not stored", i, many)
			}
		}
		for _, i := range []int{0, 99, 100, 255, 256, many - 1} {
			b.holds(rows[i])
		}
	}
}

func noStatuses(b *storeBench) {
	saved, err := b.store.Save(b.ctx)
	b.ok(err, "save nothing")
	if len(saved) > 0 {
		b.Fatalf("nothing got %d answers", len(saved))
	}
}

func longTexts(b *storeBench) {
	s := status(b.id(), worker.StateSucceeded, 1)
	s.JobID += strings.Repeat("i", worker.MaxIDLength-len(s.JobID))
	s.Type = strings.Repeat("t", worker.MaxTypeLength)
	s.Queue = strings.Repeat("q", worker.MaxQueueLength)
	s.Topic = strings.Repeat("ö", worker.MaxTopicLength/2)
	s.Message = strings.Repeat("m\\\"", worker.MaxTextSize/3)
	s.Error = strings.Repeat("😀", worker.MaxTextSize/4)
	s.Result = json.RawMessage(`"` + strings.Repeat("r", worker.MaxResultSize-2) + `"`)
	b.takes(s)
	b.holds(s)
	if _, ok := b.store.(worker.Getter); ok {
		b.sameStatus(b.get(s.JobID), &s)
	}
}

// awkwardText is what naive quoting, storing and streaming trips over.
const awkwardText = "'; DROP TABLE jobs; -- \" \\ \\u0000 % ? $1 :x " +
	"\r\n\n\t\x01\x7f <b>&amp;</b> ü\u2028\u202e\U0001F600 \ufffd data: x\n\nid: 7\n"

func awkwardTexts(b *storeBench) {
	s := status(b.id(), worker.StateFailed, 1)
	s.Message, s.Error, s.Topic = awkwardText, awkwardText, "user:'\"\\%ü"
	s.Result = json.RawMessage(awkwardPayload)
	b.takes(s)
	b.holds(s)
	if _, ok := b.store.(worker.Getter); ok {
		b.sameStatus(b.get(s.JobID), &s)
	}
}

func withJob(b *storeBench) {
	job, err := worker.NewJob(note{N: 7}, worker.WithHeader("name", "value"), worker.OnQueue("elsewhere"))
	b.ok(err, "new job")
	s := status(job.ID, worker.StateQueued, 0)
	s.Queue, s.Topic, s.Job = job.Queue, job.Topic, job
	b.takes(s)
	b.holds(s)
	getter, ok := b.store.(worker.Getter)
	if !ok {
		return
	}
	got, err := getter.Get(b.ctx, job.ID)
	b.ok(err, "get")
	if got.Job != nil && !bytes.Equal(describe(got.Job), describe(job)) {
		b.Fatalf("read job   %s\nwanted job %s", describe(got.Job), describe(job))
	}
}

func withEditedJob(b *storeBench) {
	job, err := worker.NewJob(note{N: 7})
	b.ok(err, "new job")
	edited := copyJob(job)
	edited.Payload = json.RawMessage(`{"n":8}`)
	getter, _ := b.store.(worker.Getter)
	for i, s := range []worker.Status{
		versioned(job.ID, worker.StateQueued, 0, waiting, 0), versioned(job.ID, worker.StateQueued, 0, waiting, 1),
		status(job.ID, worker.StateRunning, 7), versioned(job.ID, worker.StateRetrying, 7, putBack, 0),
		versioned(job.ID, worker.StateRetrying, 7, putBack, 1),
	} {
		s.Job = job
		if s.BringsJob() {
			edited.Headers = map[string]string{"edit": fmt.Sprint(i)}
			s.Job = copyJob(edited)
		}
		b.takes(s)
		if getter == nil {
			continue
		}
		got, err := getter.Get(b.ctx, job.ID)
		b.ok(err, "get")
		if s.BringsJob() && got.Job != nil && !bytes.Equal(describe(got.Job), describe(edited)) {
			b.Fatalf("read job   %s\nwanted job %s", describe(got.Job), describe(edited))
		}
	}
}

func saveContext(b *storeBench) {
	ctx, cancel := b.ended()
	defer cancel()
	s := status(b.id(), worker.StateQueued, 0)
	b.prompt("a save whose context has ended", func() { _, _ = b.store.Save(ctx, s) })
	b.takes(s)
}

func getNotFound(b *storeBench) {
	row, err := b.getter().Get(b.ctx, b.id())
	if row != nil || !notFound(err) {
		b.Fatalf("get of an unknown job: %+v and error %v, want ErrJobNotFound", row, err)
	}
}

// fullStatus is a status with a value in every field but Job.
func fullStatus(id string) worker.Status {
	s := versioned(id, worker.StateRetrying, 12, putBack, 3)
	s.Attempt, s.MaxAttempts, s.Crashes = 3, 7, 1
	s.Progress = 0.625
	s.Message, s.Error = "layer 3 of 5", "dial tcp: refused"
	s.Result = json.RawMessage(`{"b": 1.0, "a": [ ]}`)
	s.RunAt = time.UnixMilli(1_900_000_000_123).UTC()
	s.At = time.UnixMilli(1_800_000_000_456).UTC()
	return s
}

// sameStatus fails the row unless all that travels is equal.
func (b bench) sameStatus(got, want *worker.Status) {
	b.Helper()
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"JobID", got.JobID, want.JobID}, {"Type", got.Type, want.Type}, {"Queue", got.Queue, want.Queue},
		{"Topic", got.Topic, want.Topic}, {"State", got.State, want.State}, {"Version", got.Version, want.Version},
		{"Attempt", got.Attempt, want.Attempt}, {"MaxAttempts", got.MaxAttempts, want.MaxAttempts},
		{"Crashes", got.Crashes, want.Crashes}, {"Progress", got.Progress, want.Progress},
		{"Message", got.Message, want.Message}, {"Error", got.Error, want.Error},
		{"Result", string(got.Result), string(want.Result)},
		{"RunAt", millis(got.RunAt), millis(want.RunAt)}, {"At", millis(got.At), millis(want.At)},
	} {
		if field.got != field.want {
			b.Fatalf("%s is %s, want %s", field.name, brief(field.got), brief(field.want))
		}
	}
}

// millis makes times comparable that are equal to the millisecond.
func millis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// brief shows a value that may be a megabyte long.
func brief(v any) string {
	text := fmt.Sprint(v)
	if len(text) > 200 {
		return fmt.Sprintf("%q… (%d bytes)", text[:200], len(text))
	}
	return fmt.Sprintf("%q", text)
}

func getFields(b *storeBench) {
	want := fullStatus(b.id())
	b.takes(status(want.JobID, worker.StateQueued, 0), want)
	b.sameStatus(b.get(want.JobID), &want)
}

func getZeroFields(b *storeBench) {
	want := status(b.id(), worker.StateQueued, 0)
	want.MaxAttempts = 0
	b.takes(want)
	got := b.get(want.JobID)
	b.sameStatus(got, &want)
	if len(got.Result) != 0 || !got.RunAt.IsZero() {
		b.Fatalf("result %q, RunAt %v: want none", got.Result, got.RunAt)
	}
}

func getLast(b *storeBench) {
	full := fullStatus(b.id())
	last := status(full.JobID, worker.StateRunning, 13)
	b.takes(full, last)
	b.sameStatus(b.get(full.JobID), &last)
}

func getUntouched(b *storeBench) {
	want := fullStatus(b.id())
	older := versioned(want.JobID, worker.StateRunning, 12, running, 9)
	older.Message, older.Error, older.Progress = "older", "older", 0.1
	b.takes(want)
	b.refuses(want.State, older)
	b.sameStatus(b.get(want.JobID), &want)
}
