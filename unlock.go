package worker

import (
	"context"
	"errors"
)

// unlock frees the unique key of a job that has it until it starts: what comes from now on may have to do with more than the
// handler is about to see. It returns once that is done, so that no job is turned away for one that has seen the data
// already. Later attempts ask, too: mostly the key is free by then, but one that replaced a failed job has its own. False means
// that it cannot be done any more, and the job is taken care of.
func (a *attempt) unlock() bool {
	u := a.job.Unique
	if u == nil || u.Until != UntilStarted || a.session.unlocker == nil {
		return true
	}
	if a.begun == nil {
		a.begun = make(chan bool, 1)
	}
	a.session.unlocks.add(a)
	return <-a.begun
}

// unlock frees the unique keys of a batch, and tries again until it is done, the lease is lost or the pool's time is up. Then
// the jobs are not started: they are given back when the session closes.
func (s *session) unlock(batch []*attempt) {
	p := s.feed.pool
	jobs := make([]*Job, len(batch))
	for i, a := range batch {
		jobs[i] = a.job
	}
	done := false
	for try := 1; !s.isLost(); try++ {
		err := s.callUnlock(jobs)
		if done = err == nil; done {
			s.feed.fine(&s.feed.unlocks, "unique keys can be freed again")
			break
		}
		if errors.Is(err, ErrLeaseLost) {
			s.lose()
			break
		}
		if s.isLost() {
			break
		}
		s.feed.trouble(&s.feed.unlocks, "unique keys cannot be freed: jobs that need it start later", err)
		if !p.pause(backoff(try)) {
			break
		}
	}
	for _, a := range batch {
		if done {
			a.begun <- true
		} else {
			p.forget(saveItem{a, saveRunning})
		}
	}
}

func (s *session) callUnlock(jobs []*Job) (err error) {
	defer catch(&err)
	ctx, cancel := context.WithTimeout(s.feed.pool.hardCtx, queueTimeout)
	defer cancel()
	return s.unlocker.Unlock(ctx, jobs...)
}
