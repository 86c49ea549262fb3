package worker

import (
	"context"
	"errors"
	"time"
)

// settle ends the claims of a batch, and tries again until it is done, the lease is lost or the pool's time is up.
func (s *session) settle(batch []*attempt) {
	p := s.feed.pool
	defer p.slots.settled(s.feed.share, len(batch))
	verdicts := make([]Verdict, len(batch))
	for i, a := range batch {
		verdicts[i] = a.outcome.verdict
	}
	for try := 1; !s.isLost(); try++ {
		err := s.callSettle(batch, verdicts)
		switch {
		case err == nil:
			s.feed.fine(&s.feed.settles, "the queue settles again")
			p.announceSettled(batch)
			return
		case errors.Is(err, ErrLeaseLost):
			s.lose()
			return
		case s.isLost():
			return // what a lost session meets is no trouble of the next one
		}
		s.feed.trouble(&s.feed.settles, "jobs that ended cannot be settled in the queue: they are tried again", err)
		if !p.pause(backoff(try)) {
			return
		}
	}
}

func (s *session) callSettle(batch []*attempt, verdicts []Verdict) error {
	f, tel := s.feed, s.feed.pool.tel
	ctx, cancel := context.WithTimeout(f.pool.hardCtx, queueTimeout)
	defer cancel()
	ctx, span := tel.startCall(ctx, f.pool.cfg.TraceCalls, f.kinds.settle, attrBatchCount, len(batch),
		func(i int) *attempt { return batch[i] })
	began := time.Now()
	err := s.trySettle(ctx, verdicts)
	tel.operated(ctx, opSettle, f.kinds, time.Since(began), err)
	finishCall(span, err)
	return err
}

func (s *session) trySettle(ctx context.Context, verdicts []Verdict) (err error) {
	defer catch(&err)
	return s.consumer.Settle(ctx, verdicts...)
}
