package simulation

import (
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// strike lets a fault happen, to p if it concerns one process.
func (w *world) strike(f *fault, p *process) {
	w.tell(nil, "%v", f)
	w.mu.Lock()
	w.struck = append(w.struck, f)
	w.mu.Unlock()
	w.excuse(f, p)
	var end func()
	switch f.kind {
	case kill:
		p.kill()
		end = func() { w.replace(p) }
	case stop:
		w.tasks.Go(func() {
			if err := p.stop(); err != nil {
				w.tell(p, "stop: %v", err)
			}
		})
		end = func() { w.replace(p) }
	case pause:
		p.halt()
		end = p.resume
	case cut:
		p.wire.cut()
	case lose:
		p.wire.lose(f.text)
	case hole:
		p.wire.requests.close()
		p.wire.replies.close()
		end = func() { p.wire.requests.open(); p.wire.replies.open() }
	case deaf:
		p.wire.requests.close()
		end = p.wire.requests.open
	case mute:
		p.wire.replies.close()
		end = p.wire.replies.open
	case lag:
		p.wire.slow(func() time.Duration { return 50 * time.Millisecond })
		end = func() { p.wire.slow(nil) }
	case refuse:
		end = w.refuse(f)
	case clock:
		w.setClock(f.off)
		end = func() { w.setClock(0) }
	case outage:
		w.redis.away.close()
		end = w.redis.away.open
	case crash:
		w.redis.leave(true)
		for _, each := range w.processes() {
			each.wire.cut()
		}
		end = func() { w.redis.leave(false) }
	case flush:
		w.flushScripts()
	case storing:
		w.trouble.set(storeFault(f.text))
		end = func() { w.trouble.set(works) }
	case silence:
		w.trouble.setMute(true)
		end = func() { w.trouble.setMute(false) }
	case closed:
		w.steer(history.OpPauseQueue, (*redisqueue.Queue).Pause)
		end = func() { w.steer(history.OpResumeQueue, (*redisqueue.Queue).Resume) }
	}
	if end != nil {
		w.lasting.Go(func() {
			time.Sleep(f.lasts)
			end()
		})
	}
}

// excuse notes what the checker has to know of a fault: who may lose a lease by it, and what makes times be counted anew.
func (w *world) excuse(f *fault, p *process) {
	if f.kind == kill || f.kind == stop || f.kind == flush || f.kind == silence {
		return
	}
	e := history.Event{Op: history.OpOutage, Until: time.Now().Add(f.lasts).UnixNano(), Text: f.String()}
	slot := ""
	if p != nil {
		slot, e.Proc = p.slot, p.name
	}
	w.scribe.Write(e)
	if f.kind == lag || f.kind == clock || f.kind == storing || f.kind == closed {
		return // leases are renewed all the same
	}
	grace, beat := w.plan.lease/2, w.plan.lease/5
	out, enough := w.outOfTouch(slot, f.lasts), w.plan.lease+grace-2*beat
	if w.clockMoved(2 * beat) { // and leases that were renewed while it was behind are over now
		enough -= w.plan.lease
	}
	if out.until.Sub(out.from) >= enough && p != nil {
		e.Op, e.Until = history.OpPause, out.until.UnixNano()
		w.scribe.Write(e)
	}
}

// span is a time without touch to Redis.
type span struct{ from, until time.Time }

// outOfTouch says that a slot, or everybody, has no touch to Redis for d, and returns for which time it then has been so,
// with what came just before, to itself or to all.
func (w *world) outOfTouch(slot string, d time.Duration) span {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, gap := time.Now(), 2*w.plan.lease/5
	mine := span{now, now.Add(d)}
	for _, s := range []string{slot, ""} {
		last := w.silent[s]
		if last.until.Add(gap).Before(now) {
			continue
		}
		if last.from.Before(mine.from) {
			mine.from = last.from
		}
		if mine.until.Before(last.until) {
			mine.until = last.until
		}
	}
	w.silent[slot] = mine
	return mine
}

// replace puts a new process into the slot of one that has ended, unless somebody has.
func (w *world) replace(p *process) {
	p.kill() // a stop that takes longer than that was killed
	w.mu.Lock()
	current := w.slots[p.slot] == p
	w.mu.Unlock()
	if current {
		w.spawn(p.slot)
	}
}

func (w *world) refuse(f *fault) (end func()) {
	var wires []*wire
	step := "*"
	if f.slot == "" {
		step = "enqueue"
	}
	for _, p := range w.processes() {
		if f.slot == "" || p.slot == f.slot {
			p.wire.refuse(step, f.text)
			wires = append(wires, p.wire)
		}
	}
	return func() {
		for _, each := range wires {
			each.refuse(step, "")
		}
	}
}

// steer pauses the queue, or ends that, as a host does whom no fault concerns: a call that a fault made late would come after
// the next one.
func (w *world) steer(op history.Op, do func(q *redisqueue.Queue, ctx context.Context, queue string) error) {
	w.direct(func(ctx context.Context, c *inspector) {
		since, result := time.Now().UnixNano(), history.ResultOK
		q, err := redisqueue.New(c.client, redisqueue.Config{})
		if err == nil {
			err = do(q, ctx, worker.DefaultQueue)
		}
		if err != nil {
			w.blame("%s: %v", op, err)
			result = history.ResultUnknown
		}
		w.scribe.Write(history.Event{Op: op, Result: result, Since: since})
	})
}

// clockMoved reports whether Redis's clock was moved just now.
func (w *world) clockMoved(within time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.moved.IsZero() && time.Since(w.moved) <= within
}

func (w *world) setClock(off time.Duration) {
	w.mu.Lock()
	w.offsets = max(w.offsets, off)
	w.moved = time.Now()
	w.mu.Unlock()
	w.scribe.Write(history.Event{Op: history.OpClockMoved})
	w.redis.step(off)
}
