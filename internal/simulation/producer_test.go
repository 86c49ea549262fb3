package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// callTimeout is how long a producer's host waits for a call.
const callTimeout = 5 * time.Second

// produce is what the host of one producer does: it enqueues its orders, each until it has an answer, and sees to those
// that are canceled or requeued later.
func (w *world) produce(slot string) {
	for _, o := range w.plan.orders {
		if o.producer != slot && o.kind != duplicated {
			continue
		}
		if d := o.at - time.Since(w.began); d > 0 {
			time.Sleep(d)
		}
		for _, d := range o.deeds {
			w.tasks.Go(func() { w.control(o, d) })
		}
		if !w.place(slot, o) || o.producer != slot {
			continue
		}
		switch o.kind {
		case unwanted, postponed:
			w.tasks.Go(func() { w.cancel(slot, o) })
		case reopened:
			w.tasks.Go(func() { w.requeue(slot, o) })
		}
	}
}

// each calls a producer until done is true, with a pause in between. It gives up when nobody can be reached for very long.
func (w *world) each(slot string, call func(ctx context.Context, c *worker.Client, p *process) (done bool)) {
	for range 200 {
		p := w.process(slot)
		if w.isDrained() { // what was to come later doesn't
			return
		}
		if c := p.client(); c != nil && !p.isDead() {
			ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
			done := call(ctx, c, p)
			cancel()
			if done {
				return
			}
		}
		time.Sleep(time.Second)
	}
	w.blame("%s found nobody to talk to", slot)
}

// place enqueues an order and reports whether it is in.
func (w *world) place(slot string, o *order) bool {
	job, in, asked := o.job(), false, time.Now()
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		if w.isCalm() {
			return true
		}
		err := c.EnqueueMany(ctx, job)
		result := history.ResultOf(err, job.ID)
		w.doubt(job.ID, result)
		w.tell(p, "enqueue %s: %v", job.ID, err)
		duplicate := errors.As(err, new(*worker.DuplicateError))
		w.count(o, duplicate, job.ID != o.id)
		w.scribe.Write(history.Event{Proc: p.name, Op: history.OpEnqueue, Job: job.ID, Result: result,
			Sum: history.Sum(job.Payload), Due: dueOf(job)})
		in = result == history.ResultOK
		if in && job.ID == o.id {
			w.entered(o, asked)
		}
		return in || o.forgets || duplicate
	})
	return in
}

func dueOf(job *worker.Job) int64 {
	if job.Delay == 0 {
		return 0
	}
	return time.Now().Add(job.Delay).UnixNano()
}

func (w *world) isDrained() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drained
}

func (w *world) isCalm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calm
}

// cancel cancels a job, until there is an answer.
func (w *world) cancel(slot string, o *order) {
	time.Sleep(o.cancelAt)
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		since := time.Now().UnixNano()
		state, err := c.Cancel(ctx, o.id)
		w.tell(p, "cancel %s: %s %v", o.id, state, err)
		w.scribe.Write(history.Event{Proc: p.name, Op: history.OpCancel, Job: o.id, Result: history.ResultOfControl(err), State: state,
			Since: since})
		return err == nil || w.isCalm()
	})
}

// requeue opens a new round of a job once it has failed, until that is done. The store's rows tell the history of it. A
// job that has just failed is active until its worker has settled it.
func (w *world) requeue(slot string, o *order) {
	for w.stateOf(o.id) != worker.StateFailed {
		if w.isDrained() { // it was lost
			return
		}
		time.Sleep(time.Second)
	}
	w.nextRound(o.id)
	w.each(slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		err := c.Requeue(ctx, o.id)
		w.tell(p, "requeue %s: %v", o.id, err)
		if err == nil {
			w.requeued(o.id)
		}
		state := w.stateOf(o.id)
		return err == nil || state == worker.StateRunning || state == worker.StateSucceeded
	})
}

// rowOf reads the store past all faults.
func (w *world) rowOf(id string) *worker.Status {
	row, err := w.rows.Get(context.Background(), id)
	if err != nil {
		return nil
	}
	return row
}

func (w *world) stateOf(id string) worker.State {
	if row := w.rowOf(id); row != nil {
		return row.State
	}
	return ""
}

// watch is a viewer of one job: it reads a snapshot, follows the topic, and reads a snapshot again when it is told that it
// missed something, and at every heartbeat while the job is unfinished. It ends with the job's end, and with the test.
func (w *world) watch(ctx context.Context, name, id string) {
	w.scribe.Write(history.Event{Proc: name, Op: history.OpWatch, Job: id})
	events, err := w.notes.Subscribe(ctx, "job:"+id, "")
	if err != nil {
		return
	}
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	var last int64
	show := func(st *worker.Status) {
		if st != nil && st.Version >= last { // a reader drops what is older than what it has
			if st.Version > last || last == 0 {
				w.scribe.Write(history.Event{Proc: name, Op: history.OpSeen, Job: id, State: st.State, Version: st.Version})
			}
			last = st.Version
		}
	}
	show(w.rowOf(id))
	for {
		select {
		case e, open := <-events:
			switch {
			case !open:
				return
			case e.Reset:
				show(w.rowOf(id))
			case e.Status != nil:
				show(e.Status)
			}
		case <-beat.C:
			show(w.rowOf(id))
		}
	}
}
