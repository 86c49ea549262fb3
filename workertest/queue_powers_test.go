package workertest

import (
	"context"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// marksNothing finds the job to cancel and leaves it as it is.
var marksNothing = faulty("marks nothing", func(q *faultyQueue) {
	q.mark = func(ctx context.Context, queue, id string) (worker.CancelMark, error) {
		q.mu.Lock()
		defer q.mu.Unlock()
		mark := worker.CancelMark{Token: q.drawLocked(0)}
		if e := q.laneLocked(queue).entries[id]; e != nil {
			mark.Place, mark.Job = e.place, e.job()
		}
		return mark, nil
	}
})

// changesMarks changes what a cancel tells.
func changesMarks(what string, change func(*worker.CancelMark)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.mark = func(ctx context.Context, queue, id string) (worker.CancelMark, error) {
			mark, err := q.MemoryQueue.MarkCanceled(ctx, queue, id)
			change(&mark)
			return mark, err
		}
	})
}

// spoilsEntry does something to the entry of a job before it is marked.
func spoilsEntry(what string, spoil func(*MemoryQueue, *lane, *entry, string)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.mark = func(ctx context.Context, queue, id string) (worker.CancelMark, error) {
			mark, err := q.MemoryQueue.MarkCanceled(ctx, queue, id)
			q.mu.Lock()
			defer q.mu.Unlock()
			l := q.laneLocked(queue)
			spoil(q.MemoryQueue, l, l.entries[id], id)
			return mark, err
		}
	})
}

var badAtCancel = map[string][]broken[worker.Queue]{
	"cancel waiting": {
		marksNothing,
		changesJobs("hands out canceled jobs to run", func(job *worker.Job) { job.Reject = nil }),
		changesMarks("marks without the job", func(m *worker.CancelMark) { m.Job = nil }),
		spoilsEntry("drops what is canceled", func(_ *MemoryQueue, l *lane, e *entry, id string) {
			l.unlink(e)
			delete(l.entries, id)
		}),
	},
	"cancel scheduled": {
		faulty("lets a canceled job wait for its time", func(q *faultyQueue) {
			q.mark = func(ctx context.Context, queue, id string) (worker.CancelMark, error) {
				q.mu.Lock()
				defer q.mu.Unlock()
				e := q.laneLocked(queue).entries[id]
				e.canceled = true
				return worker.CancelMark{Place: e.place, Token: q.drawLocked(0), Job: e.job()}, nil
			}
		}),
	},
	"cancel held": {
		marksNothing,
		spoilsEntry("forgets the mark of a held job", func(_ *MemoryQueue, _ *lane, e *entry, _ string) { e.canceled = false }),
		spoilsEntry("takes a canceled job from its holder", func(_ *MemoryQueue, l *lane, e *entry, _ string) {
			e.holder.dropLocked(e)
			l.giveBack([]*entry{e})
		}),
	},
	"remove canceled": {
		faulty("removes nothing", func(q *faultyQueue) {
			q.remove = func(_ context.Context, queue, id string) (worker.Place, error) { return q.Place(queue, id), nil }
		}),
		faulty("keeps no body of what it removes", func(q *faultyQueue) {
			q.remove = func(ctx context.Context, queue, id string) (worker.Place, error) {
				place, err := q.MemoryQueue.RemoveCanceled(ctx, queue, id)
				q.mu.Lock()
				defer q.mu.Unlock()
				delete(q.laneLocked(queue).entries, id)
				return place, err
			}
		}),
		faulty("tells where the job went", func(q *faultyQueue) {
			q.remove = func(ctx context.Context, queue, id string) (worker.Place, error) {
				_, err := q.MemoryQueue.RemoveCanceled(ctx, queue, id)
				return q.Place(queue, id), err
			}
		}),
	},
	"remove leaves held": {
		faulty("buries held jobs", func(q *faultyQueue) {
			q.remove = func(_ context.Context, queue, id string) (worker.Place, error) {
				q.mu.Lock()
				defer q.mu.Unlock()
				l := q.laneLocked(queue)
				e := l.entries[id]
				e.holder.dropLocked(e)
				l.bury(e, worker.StateCanceled)
				return worker.PlaceHeld, nil
			}
		}),
	},
	"cancel unknown": {
		changesMarks("takes unknown jobs for dead", func(m *worker.CancelMark) { m.Place = worker.PlaceDead }),
		spoilsEntry("keeps ids that it doesn't know", func(_ *MemoryQueue, l *lane, _ *entry, id string) {
			l.entries[id] = &entry{id: id, place: worker.PlaceDead}
		}),
	},
	"cancel dead": {
		changesMarks("takes dead jobs for unknown", func(m *worker.CancelMark) { m.Place, m.Job = worker.PlaceUnknown, nil }),
		spoilsEntry("wakes the dead", func(_ *MemoryQueue, l *lane, e *entry, _ string) { l.wait(e, time.Time{}) }),
	},
	"cancel tokens": {
		changesMarks("draws one token for all cancels", func(m *worker.CancelMark) { m.Token = 1 }),
		changesMarks("draws tokens from the future", func(m *worker.CancelMark) { m.Token += 1000 }),
	},
	"revoked": {
		marksNothing, revokesAfter(1500 * time.Millisecond), inRealTime(revokesAfter(7 * time.Second)),
		faultySessions("tells nobody", func(s *faultySession) {
			s.revocation = func() <-chan worker.Revocation { return nil }
		}),
		spoilsEntry("tells the wrong token", func(_ *MemoryQueue, _ *lane, e *entry, _ string) {
			for len(e.holder.revoked) > 0 {
				<-e.holder.revoked
			}
			e.holder.revokeLocked(worker.Revocation{ID: e.id, Token: e.token + 1, Cause: worker.ErrCanceled})
		}),
		spoilsEntry("revokes all that a session holds", func(_ *MemoryQueue, _ *lane, e *entry, _ string) {
			for _, other := range e.holder.held {
				e.holder.revokeLocked(worker.Revocation{ID: other.id, Token: other.token, Cause: worker.ErrCanceled})
			}
		}),
	},
}

// spoilsReopened does something to an entry after it was reopened.
func spoilsReopened(what string, spoil func(old entry, e *entry)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.reopen = func(ctx context.Context, job *worker.Job) error {
			q.mu.Lock()
			var old entry
			if e := q.laneLocked(job.Queue).entries[job.ID]; e != nil {
				old = *e
			}
			q.mu.Unlock()
			err := q.MemoryQueue.Reopen(ctx, job)
			q.mu.Lock()
			defer q.mu.Unlock()
			spoil(old, q.laneLocked(job.Queue).entries[job.ID])
			return err
		}
	})
}

// reopensNothing answers without doing anything.
var reopensNothing = faulty("reopens nothing", func(q *faultyQueue) {
	q.reopen = func(context.Context, *worker.Job) error { return nil }
})

// changesDraws changes what DrawToken answers.
func changesDraws(what string, change func(job **worker.Job, token *int64, err *error)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.draw = func(ctx context.Context, queue, id string) (*worker.Job, int64, error) {
			job, token, err := q.MemoryQueue.DrawToken(ctx, queue, id)
			change(&job, &token, &err)
			return job, token, err
		}
	})
}

var badAtRequeue = map[string][]broken[worker.Queue]{
	"draw token of active": {
		changesDraws("opens rounds of active jobs", func(_ **worker.Job, _ *int64, err *error) { *err = nil }),
	},
	"draw token of dead": {
		changesDraws("draws without the job", func(job **worker.Job, _ *int64, _ *error) { *job = nil }),
		changesDraws("draws one token for all rounds", func(_ **worker.Job, token *int64, _ *error) { *token = 1 }),
		changesDraws("draws tokens from the future", func(_ **worker.Job, token *int64, _ *error) { *token += 1000 }),
	},
	"draw token of unknown": {
		changesDraws("takes unknown for not found", func(_ **worker.Job, _ *int64, err *error) { *err = worker.ErrJobNotFound }),
		changesDraws("draws no token for unknown jobs", func(_ **worker.Job, token *int64, _ *error) { *token = 0 }),
		changesDraws("makes up jobs", func(job **worker.Job, _ *int64, _ *error) { *job = &worker.Job{} }),
	},
	"reopen dead": {
		reopensNothing,
		spoilsReopened("goes on counting attempts", func(old entry, e *entry) { e.attempts = old.attempts }),
		spoilsReopened("reopens the old body", func(old entry, e *entry) { e.body = old.body }),
		actsAs("buries what was completed", worker.ActionComplete, worker.ActionBury),
	},
	"reopen keeps checkpoint": {
		reopensNothing,
		spoilsReopened("forgets checkpoints", func(_ entry, e *entry) { e.checkpoint = nil }),
	},
	"reopen unknown": {reopensNothing},
	"reopen active": {
		faulty("pushes whatever it is given", func(q *faultyQueue) {
			q.reopen = func(_ context.Context, job *worker.Job) error {
				body, err := worker.EncodeJob(job)
				if err != nil {
					return err
				}
				q.EnqueueRaw(job.Queue, job.ID, body)
				return worker.ErrJobActive
			}
		}),
		reopensNothing,
		spoilsReopened("starts held jobs over", func(_ entry, e *entry) { e.token = 0 }),
	},
}

// changesPlaces changes where a queue says that its jobs are.
func changesPlaces(what string, change func([]worker.Place) []worker.Place) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.know = func(queue string, ids []string) []worker.Place {
			places, _ := q.MemoryQueue.Know(context.Background(), queue, ids...)
			return change(places)
		}
	})
}

// takes says that jobs are in another place.
func takes(from, to worker.Place) func([]worker.Place) []worker.Place {
	return func(places []worker.Place) []worker.Place {
		for i := range places {
			if places[i] == from {
				places[i] = to
			}
		}
		return places
	}
}

var badAtKnow = map[string][]broken[worker.Queue]{
	"know": {
		changesPlaces("knows nothing", func(p []worker.Place) []worker.Place { return make([]worker.Place, len(p)) }),
		changesPlaces("knows held jobs no more", takes(worker.PlaceHeld, worker.PlaceUnknown)),
		changesPlaces("takes dead jobs for waiting", takes(worker.PlaceDead, worker.PlaceWaiting)),
		changesPlaces("knows everything", takes(worker.PlaceUnknown, worker.PlaceWaiting)),
	},
	"know many": {
		changesPlaces("answers for 500 at most", func(p []worker.Place) []worker.Place { return p[:min(500, len(p))] }),
		changesPlaces("answers backwards", func(p []worker.Place) []worker.Place { slices.Reverse(p); return p }),
	},
	"know one queue": {
		faulty("looks in all queues", func(q *faultyQueue) {
			q.know = func(_ string, ids []string) []worker.Place {
				places := make([]worker.Place, len(ids))
				for i, id := range ids {
					for queue := range q.lanes {
						places[i] = max(places[i], q.Place(queue, id))
					}
				}
				return places
			}
		}),
	},
}

// pauses makes a broken backend of one that does something odd after each pause and resume.
func pauses(what string, spoil func(q *MemoryQueue, l *lane, paused bool)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) { q.paused = spoil })
}

var (
	ignoresPauses = pauses("ignores pauses", func(_ *MemoryQueue, l *lane, _ bool) { l.paused = false })
	neverResumes  = pauses("stays paused", func(_ *MemoryQueue, l *lane, _ bool) { l.paused = true })
)

var badAtPause = map[string][]broken[worker.Queue]{
	"pause": {ignoresPauses, neverResumes},
	"pause leaves held": {
		ignoresPauses, neverResumes,
		pauses("gives back what is held", func(_ *MemoryQueue, l *lane, paused bool) {
			for _, s := range slices.Clone(l.sessions) {
				if paused {
					s.endLocked(0)
				}
			}
		}),
	},
	"pause is of one queue": {
		pauses("pauses all queues", func(q *MemoryQueue, _ *lane, paused bool) {
			for _, l := range q.lanes {
				l.paused = paused
			}
		}),
		faulty("counts pauses", func(q *faultyQueue) {
			pauses := 0
			q.paused = func(_ *MemoryQueue, l *lane, paused bool) {
				if paused {
					pauses++
				} else if pauses = max(pauses-1, 0); pauses > 0 {
					l.paused = true
				}
			}
		}),
	},
	"pause in stats": {
		faulty("doesn't tell of pauses", func(q *faultyQueue) {
			q.stats = func(s *worker.QueueStats) { s.Paused = false }
		}),
		faulty("takes all queues for paused", func(q *faultyQueue) {
			q.stats = func(s *worker.QueueStats) { s.Paused = true }
		}),
	},
	"resume": {
		neverResumes, resumesAfter(1500 * time.Millisecond), inRealTime(resumesAfter(7 * time.Second)),
		faultySessions("gives jobs of a paused queue to claims that wait", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				s.queue.mu.Lock()
				s.lane.paused = s.lane.paused && opts.Wait == 0
				s.queue.mu.Unlock()
				return s.session.Claim(ctx, opts)
			}
		}),
		faultySessions("wakes nobody", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				if opts.Wait > 0 {
					<-ctx.Done()
				}
				return s.session.Claim(ctx, opts)
			}
		}),
	},
}

var badAtCrash = map[string][]broken[worker.Queue]{
	"alive": {
		faultySessions("doesn't renew its lease", func(s *faultySession) { s.crash() }),
	},
	"takeover": {
		faulty("never takes over", func(q *faultyQueue) { q.Lease = 1000 * time.Hour }),
		changesJobs("counts a crash as an attempt", func(job *worker.Job) { job.Attempt += job.Crashes }),
		changesJobs("counts no crashes", func(job *worker.Job) { job.Crashes = 0 }),
		crashesBy("takes over by a retry", worker.ActionRetry),
		crashesBy("loses what the dead held", worker.ActionComplete),
	},
	"lost": {
		faultySessions("doesn't hear of its loss", func(s *faultySession) {
			s.losing = func() <-chan struct{} { return nil }
		}),
		faultySessions("says nothing when it is over", func(s *faultySession) {
			s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
				_ = s.session.Settle(ctx, verdicts...)
				return nil
			}
		}),
		faultySessions("says nothing when it refuses a checkpoint", func(s *faultySession) {
			s.checkpoint = func(context.Context, *worker.Job, []byte) error { return nil }
		}),
	},
	"crash loop": {
		faulty("doesn't look at MaxCrashes", func(q *faultyQueue) {
			q.consume = func(queue string, opts *worker.ConsumeOptions) string { opts.MaxCrashes = 99; return queue }
		}),
		faulty("allows one crash less", func(q *faultyQueue) {
			q.consume = func(queue string, opts *worker.ConsumeOptions) string { opts.MaxCrashes--; return queue }
		}),
	},
	"last chance": {
		faulty("doesn't know suspects", func(q *faultyQueue) {
			q.consume = func(queue string, opts *worker.ConsumeOptions) string { opts.MaxCrashes = 99; return queue }
		}),
	},
	"checkpoint outlives worker": {
		changesJobs("forgets checkpoints", func(job *worker.Job) { job.CheckpointData = nil }),
	},
	"cancel outlives worker": {
		spoilsEntry("forgets the mark of a held job", func(_ *MemoryQueue, _ *lane, e *entry, _ string) { e.canceled = false }),
	},
}

// crashesBy settles with an action what a session holds when it is to die.
func crashesBy(what string, action worker.Action) broken[worker.Queue] {
	b := closesBy(what, action)
	open := b.open
	b.open = func(c *config) worker.Queue {
		q := open(c)
		c.crash = func(s worker.Consumer) { _ = s.Close(context.Background()) }
		return q
	}
	return b
}
