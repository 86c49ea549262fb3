package simulation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// What an operator does to single jobs while all the rest goes on.

// control is what is done to a job.
type control string

const (
	edits    control = "edit"
	hastens  control = "run-now"
	deletes  control = "delete"
	cancels  control = "cancel"
	requeues control = "requeue"
)

// deed is one control of a job: by whom, and how long after the job was to be enqueued.
type deed struct {
	what   control
	slot   string
	at     time.Duration
	thinks time.Duration // between looking at the job and changing it
}

// never is when a job is due that waits to be made due: after the end of any simulation.
const never = time.Hour / 2

// newDelay draws how long a job waits that there are deeds for.
func newDelay(dice *rand.Rand, k kind) time.Duration {
	switch k {
	case hastened:
		return never
	case purged:
		return between(dice, 10*time.Second, 40*time.Second)
	case edited, deleted, handled:
		if dice.IntN(3) > 0 {
			return between(dice, 100*time.Millisecond, 25*time.Second)
		}
	}
	return 0
}

// newDeeds draws what is done to a job of an order.
func newDeeds(dice *rand.Rand, o *order) (deeds []deed) {
	begin := time.Duration(0)
	add := func(n int, last time.Duration, whats ...control) {
		for range n {
			d := deed{pick(dice, whats), producerSlot(dice.IntN(producers)), between(dice, begin, last), 0}
			if dice.IntN(2) == 0 {
				d.thinks = between(dice, 0, time.Second)
			}
			deeds = append(deeds, d)
		}
	}
	switch o.kind {
	case edited:
		o.takes = between(dice, 0, time.Second)
		begin = max(0, o.delay-2*time.Second)
		add(1+dice.IntN(4), o.delay+3*time.Second, edits)
	case hastened:
		add(dice.IntN(3), 20*time.Second, edits)
		add(1+dice.IntN(2), 20*time.Second, hastens)
	case deleted:
		o.takes = between(dice, 0, 3*time.Second)
		add(dice.IntN(2), 10*time.Second, edits)
		add(1+dice.IntN(2), 20*time.Second, deletes)
	case handled:
		o.takes = between(dice, 0, time.Second)
		add(2+dice.IntN(4), 25*time.Second, edits, edits, hastens, hastens, deletes, cancels, requeues)
	}
	return deeds
}

// control does a deed, until there is a clear answer.
func (w *world) control(o *order, d deed) {
	time.Sleep(d.at)
	switch d.what {
	case edits:
		w.edit(o, d.slot, d.thinks)
	case hastens:
		w.hasten(o, d.slot)
	case deletes:
		w.delete(o, d.slot)
	case cancels:
		w.cancelNow(d.slot, o)
	case requeues:
		w.each(d.slot, func(ctx context.Context, c *worker.Client, p *process) bool {
			result := history.ResultOfControl(w.answer(p, d.what, o.id, c.Requeue(ctx, o.id)))
			return result != history.ResultUnknown || w.isCalm()
		})
	}
}

// answer notes what a control was answered.
func (w *world) answer(p *process, what control, id string, err error) error {
	w.tell(p, "%s %s: %v", what, id, err)
	how := "unknown"
	for text, is := range map[string]error{
		"active": worker.ErrJobActive, "not found": worker.ErrJobNotFound, "changed": worker.ErrJobChanged,
		"canceled": worker.ErrCanceled, "refused": worker.ErrRefused,
	} {
		if errors.Is(err, is) {
			how = text
		}
	}
	switch {
	case err == nil:
		how = "ok"
	case errors.As(err, new(*worker.FinishedError)):
		how = "finished"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.obeyed == nil {
		w.obeyed = make(map[string]int)
	}
	w.obeyed[string(what)+" "+how]++
	return err
}

// edit gives a job another payload, header and timeout, and requires that its row has heard of it by the answer.
func (w *world) edit(o *order, slot string, thinks time.Duration) {
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		n, since := w.nextEdit(o.id), time.Now().UnixNano()
		var payload json.RawMessage // as it was last to be
		err := w.answer(p, edits, o.id, c.Edit(ctx, o.id, func(job *worker.Job) error {
			time.Sleep(thinks)
			payload = w.another(o, job, n)
			job.Payload, job.Timeout = payload, timeoutOf(n)
			job.Headers = maps.Clone(job.Headers)
			if job.Headers == nil {
				job.Headers = make(map[string]string)
			}
			job.Headers[editHeader] = strconv.Itoa(n)
			return nil
		}))
		e := history.Event{Proc: p.name, Op: history.OpEdit, Job: o.id, Result: history.ResultOfEdit(err),
			Sum: history.Sum(payload)}
		w.scribe.Write(e)
		if err == nil {
			w.recorded(e, since)
		}
		return e.Result != history.ResultUnknown || w.isCalm()
	})
}

const editHeader = "edit"

// timeoutOf is the timeout of a job since its nth edit.
func timeoutOf(n int) time.Duration { return 10*time.Minute + time.Duration(n)*time.Second }

func (w *world) nextEdit(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.memoryOf(id)
	m.edits++
	return m.edits
}

// another adds an edit to the payload of a job, and remembers which ones it has gone through then.
func (w *world) another(o *order, job *worker.Job, n int) json.RawMessage {
	var before task
	if err := json.Unmarshal(job.Payload, &before); err != nil {
		w.blame("job %s: %v", o.id, err)
	}
	edits := append(before.Edits, n)
	payload := o.payload(edits...)
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.memoryOf(o.id)
	if m.lists == nil {
		m.lists = make(map[uint32][]int)
	}
	m.lists[history.Sum(payload)] = edits
	return payload
}

// overwritten returns the edits that were made of a job as it was before the last one: that one is lost.
func (w *world) overwritten() (wrong []string) {
	made := make(map[string][]history.Event)
	for _, e := range w.events.Events() {
		if e.Op == history.OpEdited {
			made[e.Job] = append(made[e.Job], e)
		}
	}
	for id, all := range made {
		lists := w.memoryOf(id).lists
		slices.SortFunc(all, func(a, b history.Event) int { return cmp.Compare(a.Token, b.Token) })
		var last []int
		for _, e := range all {
			now := lists[e.Sum]
			if len(now) < len(last) || !slices.Equal(now[:len(last)], last) || len(now) > len(last)+1 {
				wrong = append(wrong, fmt.Sprintf("job %s had the edits %v, and under token %d the edits %v", id, last, e.Token, now))
			}
			last = now
		}
	}
	return wrong
}

// whole blames a job that is partly as it was before an edit.
func (w *world) whole(job *worker.Job, do task) {
	header, _ := strconv.Atoi(job.Headers[editHeader])
	last := 0
	if n := len(do.Edits); n > 0 {
		last = do.Edits[n-1]
	}
	if header != last || last > 0 && job.Timeout != timeoutOf(last) {
		w.blame("job %s is a mix: its payload is of edit %d, its header of %d, its timeout %v", job.ID, last, header, job.Timeout)
	}
}

// recorded blames a row that is older than an edit that was confirmed: the first one with its payload since the call
// began, as later ones may be of calls that make the job run now and have yet to write the row. The job may be over, and here
// by a late enqueue again.
func (w *world) recorded(e history.Event, since int64) {
	row := w.rowOf(e.Job)
	for _, by := range w.events.Events() {
		if by.Op != history.OpEdited || by.Job != e.Job || by.Sum != e.Sum || by.At < since {
			continue
		}
		if row == nil || row.Token() < by.Token && !row.State.Final() {
			w.blame("job %s was edited under token %d, and its row is older", e.Job, by.Token)
		}
		return
	}
}

// hasten makes a job due, until it is or is over.
func (w *world) hasten(o *order, slot string) {
	began := time.Now()
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		err := w.answer(p, hastens, o.id, c.RunNow(ctx, o.id))
		w.scribe.Write(history.Event{Proc: p.name, Op: history.OpRunNow, Job: o.id, Result: history.ResultOfEdit(err)})
		over := errors.As(err, new(*worker.FinishedError)) || errors.Is(err, worker.ErrCanceled)
		if o.kind == hastened { // whose enqueue may be under way, its row late, or up to a sweep
			return err == nil || over || w.isCalm() && w.rowOf(o.id) == nil && time.Since(began) > time.Minute
		}
		return history.ResultOfEdit(err) != history.ResultUnknown || w.isCalm()
	})
}

// delete deletes a job until it is gone, and cancels it if it runs.
func (w *world) delete(o *order, slot string) {
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		before, since := w.rowOf(o.id), time.Now().UnixNano()
		err := w.answer(p, deletes, o.id, c.Delete(ctx, o.id))
		e := history.Event{Proc: p.name, Op: history.OpDelete, Job: o.id, Result: history.ResultOfControl(err), Since: since}
		active := errors.Is(err, worker.ErrJobActive)
		if active {
			e.Result = history.ResultUnknown
		}
		if active && before != nil && before.State == worker.StateRunning {
			e.Token = before.Token()
		}
		w.scribe.Write(e)
		if err == nil {
			w.gone(o)
		}
		if active && o.cancelAt > 10*time.Second {
			w.cancelNow(slot, o)
		}
		return err == nil || errors.Is(err, worker.ErrJobNotFound) || w.isCalm()
	})
}

// cancelNow cancels a job, until there is an answer.
func (w *world) cancelNow(slot string, o *order) {
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		since := time.Now().UnixNano()
		state, err := c.Cancel(ctx, o.id)
		_ = w.answer(p, cancels, o.id, err)
		result := history.ResultOfControl(err)
		w.scribe.Write(history.Event{Proc: p.name, Op: history.OpCancel, Job: o.id, Result: result, State: state, Since: since})
		return result != history.ResultUnknown || w.isCalm()
	})
}

// doubt notes that an enqueue has no clear answer: it may be executed late.
func (w *world) doubt(id string, r history.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r == history.ResultUnknown {
		w.memoryOf(id).doubtful = true
	}
}

func (w *world) isDoubtful(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memoryOf(id).doubtful
}

// gone blames what is left of a job that was deleted. Another one may come again, or be taken for one that does.
func (w *world) gone(o *order) {
	row := w.rowOf(o.id)
	if w.isDoubtful(o.id) || o.kind == handled {
		return
	}
	if row == nil || !row.State.Final() {
		w.blame("job %s was deleted, and its row says that it goes on", o.id)
	}
	for key, ids := range w.left().Keys {
		if slices.Contains(ids, o.id) && key != "pending" && key != "suspects" && key != "void" { // entries that no longer count
			w.blame("job %s was deleted, and is left in %s", o.id, key)
		}
	}
}

// controls counts, over all seeds, what controls were answered.
type controls struct{ sums[string] }

func (c *controls) add(w *world) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.sums.add(w.obeyed)
}

// judge fails the test when a control never did anything.
func (c *controls) judge(t *testing.T, seeds uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("controls: %v", c.counts)
	for _, what := range []control{edits, hastens, deletes, cancels, requeues, purges, revives} {
		if c.counts[string(what)+" ok"] == 0 && seeds >= defaultSeeds {
			t.Errorf("no %s did anything", what)
		}
	}
}
