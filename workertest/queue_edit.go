package workertest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// editRows are the promises of worker.Editor.
var editRows = []row[*queueBench]{
	{name: "edit payload", run: editPayload,
		promise: "a waiting job, due or not, is claimed with its new payload, in its old place, and with its attempts"},
	{name: "edit to later", run: editToLater,
		promise: "a job in line that is moved waits for its new time, is then claimed once, and holds up nobody meanwhile"},
	{name: "edit to sooner", run: editToSooner,
		promise: "a scheduled job that is moved is claimed at its new time, at once if that is past"},
	{name: "edit back and forth", run: editBackAndForth,
		promise: "however often a job is moved, it is claimed once"},
	{name: "edit to now", run: editToNow,
		promise: "a job that is to run now is due at once, whatever it says, and could run since then"},
	{name: "edits in order", run: editTokens,
		promise: "each edit draws a token larger than those of the claims, cancels and edits before"},
	{name: "edit tells since when", run: editRunnable,
		promise: "a job that is moved tells the new time as the one since when it could run"},
	{name: "edit refused", run: editRefused,
		promise: "jobs that are held, dead, canceled, changed or not there stay as they are, and the error says why"},
	{name: "forget", run: forget,
		promise: "a dead job that is forgotten is unknown, and its id new again; others stay"},
}

// editor returns the queue as an Editor, and skips the row if it isn't one that can be looked into.
func (b *queueBench) editor() worker.Editor {
	editor, ok := b.queue.(worker.Editor)
	if !ok {
		b.Skipf("the queue is not an Editor")
	}
	b.inspector()
	return editor
}

// edit changes a job that must let it, and returns when it is due.
func (b *queueBench) edit(id string, move worker.Move, change func(*worker.Job)) time.Time {
	b.Helper()
	editor := b.editor()
	before, err := b.inspector().Find(b.ctx, b.name, id)
	b.ok(err, "find")
	after := copyJob(before.Job)
	change(after)
	edited, err := editor.Edit(b.ctx, before.Job, after, move)
	b.ok(err, "edit")
	return edited.Due
}

func editPayload(b *queueBench) {
	jobs := b.enqueue(b.job(), b.job(), b.job(), b.job(worker.After(time.Hour)))
	c := b.consume()
	c.settle(worker.ActionRetry, c.one())
	c.settle(worker.ActionRelease, c.one()) // the first one, or the second one: it is at the head
	second := func(job *worker.Job) {
		job.Payload = json.RawMessage(`{"n": 22}`)
		job.Headers = map[string]string{"edited": "yes"}
	}
	if due := b.edit(jobs[2].ID, worker.MoveNone, second); !due.IsZero() {
		b.Fatalf("the edited job is due at %v, want now", due)
	}
	if due := b.edit(jobs[3].ID, worker.MoveNone, second); due.Before(b.now().Add(time.Minute)) {
		b.Fatalf("the edited job is due at %v, want in an hour", due)
	}
	b.edit(jobs[0].ID, worker.MoveNone, second)
	claimed := c.claim(3)
	for _, job := range claimed {
		attempt := 1
		if job.ID == jobs[0].ID {
			attempt = 2
		}
		if edited := job.ID != jobs[1].ID; edited != (string(job.Payload) == `{"n": 22}` && job.Headers["edited"] == "yes") ||
			job.Attempt != attempt {
			b.Fatalf("claimed payload %s, headers %v, attempt %d", job.Payload, job.Headers, job.Attempt)
		}
	}
	c.none("it is due in an hour")
}

func editToLater(b *queueBench) {
	jobs := b.enqueue(b.jobs(3)...)
	start := b.now()
	due := b.edit(jobs[0].ID, worker.MoveToTime, func(job *worker.Job) { job.Delay = time.Second })
	if wait := due.Sub(start); wait < 500*time.Millisecond || wait > b.patience+time.Second {
		b.Fatalf("the edited job is due after %v, want a second", wait)
	}
	b.found(jobs[0].ID, worker.PlaceScheduled)
	c := b.consume()
	b.sameOrder(c.claim(2), jobs[1:])
	c.none("it is due later")
	if got := c.claimWithin(1, time.Second+b.patience)[0]; got.ID != jobs[0].ID || b.now().Sub(start) < time.Second {
		b.Fatalf("claimed %s after %v, want %s after a second", got.ID, b.now().Sub(start), jobs[0].ID)
	}
	c.none("it is held")
}

func editToSooner(b *queueBench) {
	b.editor()
	jobs := b.enqueue(b.job(worker.After(time.Hour)), b.job(worker.After(time.Hour)))
	c := b.consume()
	c.none("they are scheduled")
	if due := b.edit(jobs[0].ID, worker.MoveToTime, func(job *worker.Job) { job.RunAt = time.Time{} }); !due.IsZero() {
		b.Fatalf("the edited job is due at %v, want now", due)
	}
	b.sameOrder(c.claim(1), jobs[:1])
	b.edit(jobs[1].ID, worker.MoveToTime, func(job *worker.Job) { job.Delay = time.Second })
	c.none("it is due later")
	b.sameOrder(c.claim(1), jobs[1:])
}

func editToNow(b *queueBench) {
	b.editor()
	jobs := b.enqueue(b.job(worker.After(time.Hour)), b.job())
	c := b.consume()
	held := c.one()
	c.settleAfter(worker.ActionRetry, time.Hour, held)
	for _, id := range []string{jobs[0].ID, held.ID} {
		before := b.now()
		if due := b.edit(id, worker.MoveNow, func(*worker.Job) {}); !due.IsZero() {
			b.Fatalf("the edited job is due at %v, want now", due)
		}
		after := b.now()
		b.pass(aWhile)
		job := c.one()
		if job.ID != id {
			b.Fatalf("claimed %s, want %s", job.ID, id)
		}
		b.sinceAbout(job, before, after, "after it was to run now")
	}
	c.none("they are held")
}

func editTokens(b *queueBench) {
	editor := b.editor()
	jobs := b.enqueue(b.jobs(2)...)
	c := b.consume()
	held := c.one()
	last := held.Token
	c.settle(worker.ActionRelease, held)
	later := func(token int64, what string) {
		b.Helper()
		if token <= last {
			b.Fatalf("%s has token %d, want more than %d", what, token, last)
		}
		last = token
	}
	for range 3 {
		for _, id := range []string{jobs[0].ID, jobs[1].ID} {
			info, err := b.inspector().Find(b.ctx, b.name, id)
			b.ok(err, "find")
			edited, err := editor.Edit(b.ctx, info.Job, info.Job, worker.MoveNone)
			b.ok(err, "edit")
			later(edited.Token, "an edit")
		}
	}
	if canceler, ok := b.queue.(worker.Canceler); ok {
		mark, err := canceler.MarkCanceled(b.ctx, b.name, jobs[1].ID)
		b.ok(err, "mark")
		later(mark.Token, "a cancel")
	}
	later(c.one().Token, "a claim")
}

func editBackAndForth(b *queueBench) {
	b.editor()
	jobs := b.enqueue(b.jobs(3)...)
	for range 3 {
		b.edit(jobs[1].ID, worker.MoveToTime, func(job *worker.Job) { job.Delay = time.Hour })
		b.edit(jobs[1].ID, worker.MoveToTime, func(job *worker.Job) { job.Delay, job.RunAt = 0, time.Time{} })
	}
	c := b.consume()
	claimed := c.claim(3)
	b.sameOrder(claimed[:1], jobs[:1])
	c.none("all are held")
	c.settle(worker.ActionComplete, claimed...)
	b.enqueue(b.job(worker.WithID(jobs[1].ID)))
	if again := c.one(); again.ID != jobs[1].ID {
		b.Fatalf("claimed %s, want %s", again.ID, jobs[1].ID)
	}
}

func editRunnable(b *queueBench) {
	b.editor()
	jobs := b.enqueue(b.job())
	c := b.consume()
	job := c.one()
	for _, wait := range []time.Duration{0, 4 * aWhile} { // sooner and later than it waits for
		c.settleAfter(worker.ActionRetry, 2*aWhile, job)
		before := b.now()
		b.edit(jobs[0].ID, worker.MoveToTime, func(job *worker.Job) { job.Delay, job.RunAt = wait, time.Time{} })
		after := b.now()
		b.pass(wait + aWhile)
		job = c.one()
		b.sinceAbout(job, before.Add(wait), after.Add(wait), "after an edit")
	}
}

func editRefused(b *queueBench) {
	editor := b.editor()
	jobs := b.enqueue(b.jobs(4)...)
	c := b.consume()
	dead := b.die(c, worker.ActionBury)
	held := c.one()
	try := func(job *worker.Job, want error) {
		b.Helper()
		after := copyJob(job)
		after.Payload = json.RawMessage(`{"n":9}`)
		if _, err := editor.Edit(b.ctx, job, after, worker.MoveNone); !errors.Is(err, want) {
			b.Fatalf("edit: %v, want %v", err, want)
		}
	}
	try(held, worker.ErrJobActive)
	try(b.job(), worker.ErrJobNotFound)
	other := copyJob(jobs[2])
	other.Headers = map[string]string{"other": "yes"}
	try(other, worker.ErrJobChanged)
	after := copyJob(dead)
	after.Payload = json.RawMessage(`{"n":9}`)
	if _, err := editor.Edit(b.ctx, dead, after, worker.MoveToTime); !errors.As(err, new(*worker.FinishedError)) {
		b.Fatalf("edit of a dead job: %v, want a *FinishedError", err)
	}
	if canceler, ok := b.queue.(worker.Canceler); ok {
		_, err := canceler.MarkCanceled(b.ctx, b.name, jobs[3].ID)
		b.ok(err, "mark")
		try(jobs[3], worker.ErrCanceled)
	}
	c.settle(worker.ActionRetry, held)
	for _, job := range c.claim(3) {
		if string(job.Payload) != `{"n":0}` {
			b.Fatalf("claimed payload %s, want it as it was", job.Payload)
		}
	}
	if info := b.found(dead.ID, worker.PlaceDead); string(info.Job.Payload) != `{"n":0}` {
		b.Fatalf("the dead job has payload %s, want it as it was", info.Job.Payload)
	}
}

func forget(b *queueBench) {
	editor := b.editor()
	jobs := b.enqueue(b.job(), b.job(), b.job(), b.job(worker.After(time.Hour)))
	c := b.consume()
	b.die(c, worker.ActionBury)
	c.one()
	n, err := editor.Forget(b.ctx, b.name, jobs[0].ID, jobs[1].ID, jobs[2].ID, jobs[3].ID, "nobody's")
	b.ok(err, "forget")
	if n != 1 {
		b.Fatalf("forgot %d jobs, want 1", n)
	}
	if info, err := b.inspector().Find(b.ctx, b.name, jobs[0].ID); !notFound(err) {
		b.Fatalf("found %+v (%v), want ErrJobNotFound", info, err)
	}
	b.found(jobs[1].ID, worker.PlaceHeld)
	b.found(jobs[2].ID, worker.PlaceWaiting)
	b.found(jobs[3].ID, worker.PlaceScheduled)
	b.enqueue(b.job(worker.WithID(jobs[0].ID)))
	if again := c.claim(2)[1]; again.ID != jobs[0].ID || again.Attempt != 1 {
		b.Fatalf("claimed %s as attempt %d, want %s as attempt 1", again.ID, again.Attempt, jobs[0].ID)
	}
}
