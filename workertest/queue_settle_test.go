package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

var badAtSettle = map[string][]broken[worker.Queue]{
	"complete": {
		actsAs("gives back what was completed", worker.ActionComplete, worker.ActionRelease),
		faultySessions("settles nothing", func(s *faultySession) {
			s.settle = func(context.Context, []worker.Verdict) error { return nil }
		}),
	},
	"retry counts":    {actsAs("doesn't count retries", worker.ActionRetry, worker.ActionSnooze)},
	"snooze is free":  {actsAs("counts snoozes", worker.ActionSnooze, worker.ActionRetry)},
	"release is free": {actsAs("counts releases", worker.ActionRelease, worker.ActionRetry)},
	"release to the head": {
		actsAs("puts released jobs last", worker.ActionRelease, worker.ActionSnooze),
		faultySessions("gives back in the order of the verdicts", func(s *faultySession) {
			s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
				for _, v := range slices.Backward(verdicts) {
					if err := s.session.Settle(ctx, v); err != nil {
						return err
					}
				}
				return nil
			}
		}),
	},
	"settle twice": {refusesUnknownClaims, countsRetriesTwice},
	"old token":    {ignoresTokens},
	"foreign claim": {
		settlesForeignClaims,
		refusesUnknownClaims,
	},
	"verdicts of a call": {
		refusesUnknownClaims,
		faultySessions("does with all what the first verdict says", func(s *faultySession) {
			s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
				for i := range verdicts {
					verdicts[i].Action = verdicts[0].Action
				}
				return s.session.Settle(ctx, verdicts...)
			}
		}),
		actsAs("takes snoozes for retries", worker.ActionSnooze, worker.ActionRetry),
		actsAs("takes burials for completions", worker.ActionBury, worker.ActionComplete),
	},
	"settle beside claim": {
		losesEveryTenthSettle,
		actsAs("retries what was completed", worker.ActionComplete, worker.ActionRetry),
	},
}

// ignoresTokens settles whatever this session holds of the job.
var ignoresTokens = changesVerdicts("doesn't look at tokens", func(s *session, v *worker.Verdict) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if e := s.held[v.Job.ID]; e != nil {
		v.Job = &worker.Job{ID: v.Job.ID, Token: e.token}
	}
})

var refusesUnknownClaims = faultySessions("takes a verdict for a job it doesn't hold for an error", func(s *faultySession) {
	s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
		before := s.queue.Ignored()
		err := s.session.Settle(ctx, verdicts...)
		if s.queue.Ignored() > before {
			err = errors.New("no such claim")
		}
		return err
	}
})

// countsRetriesTwice counts an attempt for each verdict, also of a claim that was settled.
var countsRetriesTwice = faultySessions("counts a repeated retry", func(s *faultySession) {
	s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
		s.queue.mu.Lock()
		for _, v := range verdicts {
			if e := s.lane.entries[v.Job.ID]; e != nil && e.holder == nil && v.Action == worker.ActionRetry {
				e.attempts++
			}
		}
		s.queue.mu.Unlock()
		return s.session.Settle(ctx, verdicts...)
	}
})

// settlesForeignClaims lets any session settle any claim.
var settlesForeignClaims = faultySessions("settles what others hold", func(s *faultySession) {
	s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
		for _, v := range verdicts {
			holder := s.session
			s.queue.mu.Lock()
			if e := s.lane.entries[v.Job.ID]; e != nil && e.holder != nil {
				holder = e.holder
			}
			s.queue.mu.Unlock()
			if err := holder.Settle(ctx, v); err != nil {
				return err
			}
		}
		return nil
	}
})

var losesEveryTenthSettle = faultySessions("loses every tenth settle", func(s *faultySession) {
	calls := make(chan int, 1)
	calls <- 0
	s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
		n := <-calls + 1
		calls <- n
		if n%10 == 0 {
			return nil
		}
		return s.session.Settle(ctx, verdicts...)
	}
})

var badAtSession = map[string][]broken[worker.Queue]{
	"close gives back": {
		faultySessions("gives nothing back", func(s *faultySession) {
			s.closing = func(context.Context) error { return nil }
		}),
		closesBy("puts what it gives back last", worker.ActionSnooze),
		closesBy("forgets what it held", worker.ActionComplete),
	},
	"close is free": {
		closesBy("counts an attempt when closed", worker.ActionRetry),
		closesAs("counts a crash when closed", func(s *session) { s.endLocked(1) }),
	},
	"close twice": {
		faultySessions("fails to close twice", func(s *faultySession) {
			s.closing = func(ctx context.Context) error {
				if s.openErr("close") != nil {
					return errors.New("closed already")
				}
				return s.session.Close(ctx)
			}
		}),
		robsWhenClosedTwice,
	},
	"session outlives its opening": {
		faulty("ends a session with the context of its opening", func(q *faultyQueue) {
			q.opened = func(ctx context.Context, s *session) {
				context.AfterFunc(ctx, func() { _ = s.Close(ctx) })
			}
		}),
	},
	"close without time": {
		faultySessions("waits for an hour when its context has ended", func(s *faultySession) {
			s.closing = func(ctx context.Context) error {
				if ctx.Err() != nil {
					rest(context.WithoutCancel(ctx), time.Hour)
				}
				return s.session.Close(ctx)
			}
		}),
		faultySessions("doesn't close when its context has ended", func(s *faultySession) {
			s.closing = func(ctx context.Context) error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return s.session.Close(ctx)
			}
		}),
	},
	"over after close": {
		faultySessions("says nothing when it is over", func(s *faultySession) {
			s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
				_ = s.session.Settle(ctx, verdicts...)
				return nil
			}
		}),
		faultySessions("works on when closed", func(s *faultySession) {
			s.closing = func(context.Context) error { return nil }
		}),
	},
	"lease": {
		faultySessions("has no lease", func(s *faultySession) { s.lease = func() time.Duration { return 0 } }),
	},
}

// closesBy settles with an action what a session holds when it is closed.
func closesBy(what string, action worker.Action) broken[worker.Queue] {
	return faultySessions(what, func(s *faultySession) {
		s.closing = func(ctx context.Context) error {
			s.queue.mu.Lock()
			var held []worker.Verdict
			for _, e := range s.held {
				held = append(held, worker.Verdict{Job: &worker.Job{ID: e.id, Token: e.token}, Action: action})
			}
			s.queue.mu.Unlock()
			slices.SortFunc(held, func(a, b worker.Verdict) int { return int(a.Job.Token - b.Job.Token) })
			_ = s.session.Settle(ctx, held...)
			return s.session.Close(ctx)
		}
	})
}

// closesAs ends a session in another way.
func closesAs(what string, end func(*session)) broken[worker.Queue] {
	return faultySessions(what, func(s *faultySession) {
		s.closing = func(context.Context) error {
			s.queue.mu.Lock()
			defer s.queue.mu.Unlock()
			end(s.session)
			return nil
		}
	})
}

// robsWhenClosedTwice gives back, on a second Close, what the session once held and others hold now.
var robsWhenClosedTwice = faultySessions("gives back again when closed again", func(s *faultySession) {
	s.closing = func(ctx context.Context) error {
		if s.openErr("close") == nil {
			return s.session.Close(ctx)
		}
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		for _, e := range s.lane.entries {
			if e.holder != nil {
				e.holder.dropLocked(e)
				s.lane.giveBack([]*entry{e})
			}
		}
		return nil
	}
})

var badAtCheckpoint = map[string][]broken[worker.Queue]{
	"checkpoint": {
		faultySessions("keeps no checkpoints", func(s *faultySession) {
			s.checkpoint = func(context.Context, *worker.Job, []byte) error { return nil }
		}),
		faultySessions("keeps the first checkpoint", func(s *faultySession) {
			s.checkpoint = func(ctx context.Context, job *worker.Job, data []byte) error {
				if string(data) != `{"step":1}` {
					return nil
				}
				return s.session.Checkpoint(ctx, job, data)
			}
		}),
		faultySessions("re-encodes checkpoints", func(s *faultySession) {
			s.checkpoint = func(ctx context.Context, job *worker.Job, data []byte) error {
				return s.session.Checkpoint(ctx, job, bytes.ToValidUTF8(data, nil))
			}
		}),
		remembersCheckpoints, // by session
		changesJobs("makes up checkpoints", func(job *worker.Job) {
			if job.CheckpointData == nil {
				job.CheckpointData = json.RawMessage("null")
			}
		}),
	},
	"checkpoint is fenced": {
		faultySessions("says nothing when it refuses a checkpoint", func(s *faultySession) {
			s.checkpoint = func(ctx context.Context, job *worker.Job, data []byte) error {
				_ = s.session.Checkpoint(ctx, job, data)
				return nil
			}
		}),
		faultySessions("keeps a checkpoint that it refuses", func(s *faultySession) {
			s.checkpoint = func(ctx context.Context, job *worker.Job, data []byte) error {
				s.queue.mu.Lock()
				if e := s.lane.entries[job.ID]; e != nil {
					e.checkpoint = data
				}
				s.queue.mu.Unlock()
				return s.session.Checkpoint(ctx, job, data)
			}
		}),
	},
}
