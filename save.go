package worker

import (
	"context"
	"time"
)

const (
	storeTimeout = 5 * time.Second // of one call to the status store
	saveWidth    = 2               // calls under way at most
	maxSaveWait  = 5 * time.Second // a claimed job that isn't recorded as running by then goes back
)

// saveItem is one status on its way to the store. What it says is made when its batch leaves.
type saveItem struct {
	a    *attempt
	kind saveKind
}

type saveKind uint8

const (
	saveRunning saveKind = iota
	saveProgress
	saveOutcome
)

// saveBatch records a batch of statuses, tries again while the store is in trouble, and sees that every attempt goes
// on: what runs is started, what ended is settled, what was saved is announced.
func (p *Pool) saveBatch(batch []saveItem) {
	items, statuses := p.statuses(batch)
	for try := 1; len(items) > 0; try++ {
		saved, err := p.callStore(items, statuses)
		switch {
		case err == nil:
			p.storeUp()
			p.saved(items, statuses, saved)
			return
		case IsPermanent(err): // the store works; one status is at fault
			p.storeUp()
			p.halve(items, statuses, err)
			return
		}
		p.storeDown(err)
		if !p.pause(backoff(try)) {
			p.unsaved(items)
			return
		}
		p.giveBackUnrecorded()
		items, statuses = p.statuses(p.withoutStale(items))
	}
	// Nothing is left to try the store with, so whatever is claimed next does.
	if p.storeFails.trouble() != nil {
		p.slots.unblock(blockStore)
	}
}

// halve finds the status that the store refuses.
func (p *Pool) halve(items []saveItem, statuses []Status, err error) {
	if len(items) == 1 {
		p.refused(items[0], statuses[0], err)
		return
	}
	half := len(items) / 2
	p.saveBatch(items[:half])
	p.saveBatch(items[half:])
}

// statuses makes what is to be saved, and lets go of what has nothing to say any more. Progress keeps its place only
// while its attempt runs; an attempt whose lease was lost says nothing.
func (p *Pool) statuses(batch []saveItem) (items []saveItem, statuses []Status) {
	items = make([]saveItem, 0, len(batch))
	statuses = make([]Status, 0, len(batch))
	for _, it := range batch {
		if it.a.session.isLost() {
			p.forget(it)
			continue
		}
		st, ok := Status{}, true
		switch it.kind {
		case saveRunning:
			st = it.a.status(StateRunning, phaseRunning)
		case saveProgress:
			st, ok = it.a.takeProgress()
		case saveOutcome:
			st = it.a.outcome.status
		}
		if !ok {
			p.forget(it)
			continue
		}
		items, statuses = append(items, it), append(statuses, st)
	}
	return items, statuses
}

// forget drops an item whose attempt the queue took away, or that the pool has no more time for.
func (p *Pool) forget(it saveItem) {
	switch it.kind {
	case saveRunning:
		it.a.session.untrack(it.a)
		p.drop(it.a)
		it.a.begun <- false
	case saveProgress:
		it.a.progressSaved()
	case saveOutcome:
		p.drop(it.a)
	}
}

func (p *Pool) callStore(items []saveItem, statuses []Status) ([]Saved, error) {
	ctx, cancel := context.WithTimeout(p.hardCtx, storeTimeout)
	defer cancel()
	ctx, span := p.tel.startCall(ctx, p.cfg.TraceCalls, saveSpans, attrStatuses, len(items),
		func(i int) *attempt { return items[i].a })
	saved, err := save(ctx, p.store, statuses)
	finishCall(span, err)
	if err == nil {
		p.tel.saved(ctx, items, statuses)
	}
	return saved, err
}

func (p *Pool) storeDown(err error) {
	p.slots.block(blockStore)
	if p.storeFails.raise(err) {
		p.log.Error("the status store fails: no jobs are claimed until it works again", "error", err)
	}
}

func (p *Pool) storeUp() {
	if p.storeFails.clear() {
		p.slots.unblock(blockStore)
		p.log.Info("the status store works again")
	}
}

// saved announces what was stored, and then sends each attempt on by the store's answer: what it says next may go with
// another call, and is to be told later.
func (p *Pool) saved(items []saveItem, statuses []Status, saved []Saved) {
	tell := make([]Status, 0, len(items))
	for i, it := range items {
		if saved[i].OK {
			tell = append(tell, statuses[i])
			continue
		}
		if it.kind == saveRunning {
			it.a.conclude(outcome{name: "overruled"})
		}
		if it.kind != saveProgress {
			it.a.outcome.verdict, tell = overruled(it.a, saved[i], tell)
		}
	}
	p.notes.announce(tell...)
	settle := make([]*attempt, 0, len(items))
	for i, it := range items {
		ok := saved[i].OK
		if row := saved[i].Row; !ok && row != nil {
			it.a.session.sawToken(row.Token(), it.a.job.Token)
		}
		switch {
		case it.kind == saveOutcome:
			if !ok {
				p.logOverruled(it.a, saved[i].Current)
			}
			settle = append(settle, it.a)
		case it.kind == saveRunning && ok:
			it.a.begun <- true
		case it.kind == saveRunning:
			p.record(it.a, &it.a.outcome)
			it.a.begun <- false
		default:
			if !ok && saved[i].Current == StateCanceled {
				it.a.revoke(ErrCanceled)
			}
			it.a.progressSaved()
		}
	}
	settleAll(settle)
}

// aYearOfTokens is how far the tokens of queues that count by the clock get in a year, 250 a millisecond.
const aYearOfTokens = 365 * 24 * 3600 * 1000 * 250

// sawToken raises what the next claim's tokens must exceed, when a row has a token that is ahead of a claim's. One that is
// ahead by more than a year comes from no clock: somebody has edited the row, and only its own job pays for that.
func (s *session) sawToken(token, claimed int64) {
	if token-claimed > aYearOfTokens {
		return
	}
	for {
		seen := s.feed.minToken.Load()
		if token <= seen || s.feed.minToken.CompareAndSwap(seen, token) {
			return
		}
	}
}

// overruled is the verdict on a job whose status the store did not take: it ends as the store has it, or, when
// something later has written, its claim is given up. Its end is announced again, as its writer may have died first.
func overruled(a *attempt, answer Saved, tell []Status) (Verdict, []Status) {
	if answer.Current.Final() {
		if row := answer.Row; row != nil && row.JobID == a.job.ID {
			tell = append(tell, *row)
		} else {
			tell = append(tell, resetOf(a.job.Topic))
		}
	}
	v := Verdict{Job: a.job}
	switch answer.Current {
	case StateSucceeded:
		v.Action = ActionComplete
	case StateFailed:
		v.Action = ActionBury
	case StateCanceled:
		v.Action, v.Cause = ActionCancel, ErrCanceled
	default:
		v.Action, v.Delay = ActionRelease, time.Second
	}
	return v, tell
}

// settleAll queues attempts for settlement, those of one session together so that they share a call.
func settleAll(attempts []*attempt) {
	for len(attempts) > 0 {
		s := attempts[0].session
		n := 1
		for n < len(attempts) && attempts[n].session == s {
			n++
		}
		s.settles.add(attempts[:n]...)
		attempts = attempts[n:]
	}
}

// refused deals with one status whose data the store cannot take. A running one is skipped and the job runs; an
// outcome is tried once more without the texts and the result, with the refusal as its error; when that fails, too,
// the job is buried.
func (p *Pool) refused(it saveItem, st Status, err error) {
	if p.client.seldom.allow("refused status " + st.Type) {
		p.log.Error("the status store refuses a status", "job", st.JobID, "type", st.Type, "queue", st.Queue,
			"attempt", st.Attempt, "state", st.State, "error", err)
	}
	switch it.kind {
	case saveRunning:
		it.a.begun <- true
	case saveProgress:
		it.a.progressSaved()
	case saveOutcome:
		o := &it.a.outcome
		if o.stripped {
			p.buryRefused(it.a, st)
			return
		}
		o.stripped = true
		o.status.Result, o.status.Message = nil, ""
		o.status.Error = cleanText("the status store refused the status: " + err.Error())
		p.saveBatch([]saveItem{it})
	}
}

func (p *Pool) buryRefused(a *attempt, st Status) {
	if !st.State.Final() {
		st.State, st.Version, st.RunAt = StateFailed, version(a.job.Token, phaseFinal, 0), time.Time{}
	}
	if a.outcome.verdict.Action != ActionCancel {
		a.outcome.verdict.Action = ActionBury
	}
	p.notes.announce(st)
	settleAll([]*attempt{a})
}

// withoutStale gives back the jobs of a failing batch that have waited too long to be recorded as running.
func (p *Pool) withoutStale(items []saveItem) []saveItem {
	kept := items[:0]
	for _, it := range items {
		if it.stale() {
			p.giveBackUnstarted(it.a)
			continue
		}
		kept = append(kept, it)
	}
	return kept
}

// giveBackUnrecorded does the same for those that wait behind the batch.
func (p *Pool) giveBackUnrecorded() {
	for _, it := range p.saves.take(saveItem.stale) {
		p.giveBackUnstarted(it.a)
	}
}

// stale reports whether a job has waited too long to be recorded as running, or need not be any more.
func (it saveItem) stale() bool {
	return it.kind == saveRunning && (time.Since(it.a.started) >= maxSaveWait || it.a.session.ctx.Err() != nil)
}

func (p *Pool) giveBackUnstarted(a *attempt) {
	p.record(a, p.putBack(a, 0))
	a.begun <- false
}

// unsaved lets go of what could not be saved before the pool's time was up: unsettled, it is given back when the
// session closes.
func (p *Pool) unsaved(items []saveItem) {
	for _, it := range items {
		p.forget(it)
	}
}
