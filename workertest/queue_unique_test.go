package workertest

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/real-staging-ai/go-worker"
)

func (s *faultySession) Unlock(ctx context.Context, jobs ...*worker.Job) error {
	if s.unlock != nil {
		return s.unlock(ctx, jobs)
	}
	return s.session.Unlock(ctx, jobs...)
}

// spoilsKeys does something to a queue's keys before each job is enqueued.
func spoilsKeys(what string, spoil func(q *MemoryQueue, l *lane, job *worker.Job)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.enqueue = func(_ context.Context, jobs []*worker.Job) error {
			q.mu.Lock()
			defer q.mu.Unlock()
			failed := make(map[string]error)
			for _, job := range jobs {
				spoil(q.MemoryQueue, q.laneLocked(job.Queue), job)
				if err := q.enqueueLocked(job); err != nil {
					failed[job.ID] = err
				}
			}
			if len(failed) > 0 {
				return &worker.EnqueueError{Failed: failed}
			}
			return nil
		}
	})
}

// changesDuplicates changes how a call with duplicates ends.
func changesDuplicates(what string, change func(*MemoryQueue, *worker.Job, *worker.DuplicateError, error) error) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
			err, failed := q.MemoryQueue.Enqueue(ctx, jobs...), (*worker.EnqueueError)(nil)
			if !errors.As(err, &failed) {
				return err
			}
			for _, job := range jobs {
				duplicate := (*worker.DuplicateError)(nil)
				if errors.As(failed.Failed[job.ID], &duplicate) {
					q.mu.Lock()
					err = change(q.MemoryQueue, job, duplicate, err)
					q.mu.Unlock()
				}
			}
			return err
		}
	})
}

// refusesIDs takes an id that waits or is held for a duplicate if keptOut says so of its key's holder.
func refusesIDs(what string, keptOut func(id, holder string) bool) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
			for _, job := range jobs {
				q.mu.Lock()
				holder := q.laneLocked(job.Queue).holder(job.Unique.Key)
				q.mu.Unlock()
				if keptOut(job.ID, holder) {
					return &worker.EnqueueError{Failed: map[string]error{
						job.ID: &worker.DuplicateError{Key: job.Unique.Key, Holder: holder}}}
				}
			}
			return q.MemoryQueue.Enqueue(ctx, jobs...)
		}
	})
}

// keepsKeys keeps the keys of jobs that end by an action.
func keepsKeys(what string, action worker.Action) broken[worker.Queue] {
	return changesVerdicts(what, func(_ *session, v *worker.Verdict) {
		if v.Action == action {
			v.Job = stale(v.Job)
		}
	})
}

// marksThenRemoves removes what is canceled, and does something about its key.
func marksThenRemoves(what string, after func(l *lane, key string, before taken)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.remove = func(ctx context.Context, queue, id string) (worker.Place, error) {
			l := q.laneLocked(queue)
			u := l.entries[id].job().Unique
			before := l.unique[u.Key]
			place, err := q.MemoryQueue.RemoveCanceled(ctx, queue, id)
			after(l, u.Key, before)
			return place, err
		}
	})
}

var (
	keysNeverRunOut = changesEnqueued("lets no key run out", func(job *worker.Job) { changeUnique(job, func(u *worker.Unique) { u.For = 0 }) })
	freesAnothers   = changesVerdicts("frees the key of whoever has it", func(s *session, v *worker.Verdict) {
		if v.Action == worker.ActionComplete && v.Job.Unique != nil {
			delete(s.lane.unique, v.Job.Unique.Key)
		}
	})
	freesLeniently = unlocks("frees the keys of whoever has them", func(s *session, job *worker.Job) {
		if job.Unique != nil {
			delete(s.lane.unique, job.Unique.Key)
		}
	})
)

// changeUnique gives a job a changed copy of its Unique.
func changeUnique(job *worker.Job, change func(*worker.Unique)) {
	if job.Unique != nil {
		u := *job.Unique
		change(&u)
		job.Unique = &u
	}
}

// unlocks is a backend that frees keys in its own way.
func unlocks(what string, free func(s *session, job *worker.Job)) broken[worker.Queue] {
	return faultySessions(what, func(s *faultySession) {
		s.unlock = func(_ context.Context, jobs []*worker.Job) error {
			for _, job := range jobs {
				free(s.session, job)
			}
			return nil
		}
	})
}

var badAtUnique = map[string][]broken[worker.Queue]{
	"unique": {
		spoilsKeys("ignores keys", func(_ *MemoryQueue, l *lane, _ *worker.Job) { clear(l.unique) }),
		changesDuplicates("says nothing of duplicates", func(*MemoryQueue, *worker.Job, *worker.DuplicateError, error) error { return nil }),
		changesDuplicates("names the duplicate", func(_ *MemoryQueue, job *worker.Job, d *worker.DuplicateError, err error) error {
			d.Holder = job.ID
			return err
		}),
		changesDuplicates("names no key", func(_ *MemoryQueue, _ *worker.Job, d *worker.DuplicateError, err error) error {
			d.Key = ""
			return err
		}),
		changesDuplicates("keeps duplicates among the dead", func(q *MemoryQueue, job *worker.Job, _ *worker.DuplicateError, err error) error {
			q.laneLocked(job.Queue).entries[job.ID] = &entry{id: job.ID, place: worker.PlaceDead}
			return err
		}),
		changesDuplicates("refuses the others, too", func(q *MemoryQueue, job *worker.Job, _ *worker.DuplicateError, err error) error {
			l := q.laneLocked(job.Queue)
			for _, e := range l.entries {
				if e.place == worker.PlaceWaiting && e.job().Unique == nil {
					l.unlink(e)
					delete(l.entries, e.id)
				}
			}
			return err
		}),
		changesJobs("loses unique keys", func(job *worker.Job) { job.Unique = nil }),
	},
	"unique in a call": {
		faulty("looks at all keys of a call first", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				before := maps.Clone(q.laneLocked(jobs[0].Queue).unique)
				for _, job := range jobs {
					l := q.laneLocked(job.Queue)
					l.unique = maps.Clone(before)
					if err := q.MemoryQueue.Enqueue(ctx, job); err != nil {
						return err
					}
				}
				return nil
			}
		}),
	},
	"unique on a queue": {
		spoilsKeys("has one set of keys for all queues", func(q *MemoryQueue, l *lane, _ *worker.Job) {
			for _, other := range q.lanes {
				if l.unique == nil {
					l.unique = make(map[string]taken)
				}
				maps.Copy(l.unique, other.unique)
			}
		}),
		changesEnqueued("cuts keys", func(job *worker.Job) { changeUnique(job, func(u *worker.Unique) { u.Key = u.Key[:3] }) }),
		changesEnqueued("drops braces", func(job *worker.Job) {
			changeUnique(job, func(u *worker.Unique) {
				if u.Key == "{key}" {
					u.Key = "key"
				}
			})
		}),
	},
	"unique id again": {
		refusesIDs("takes a job for its own duplicate", func(_, holder string) bool { return holder != "" }),
		refusesIDs("looks at the key before the id", func(id, holder string) bool { return holder != "" && holder != id }),
		enqueuesTwice,
	},
	"unique until final": {
		keepsKeys("keeps the keys of completed jobs", worker.ActionComplete),
		keepsKeys("keeps the keys of buried jobs", worker.ActionBury),
		keepsKeys("keeps the keys of canceled jobs", worker.ActionCancel),
		freesAt("frees keys with a retry", worker.ActionRetry),
		freesAt("frees keys with a snooze", worker.ActionSnooze),
		freesAt("frees keys with a release", worker.ActionRelease),
	},
	"unique and canceled": {
		marksThenRemoves("keeps the keys of what it removes", func(l *lane, key string, before taken) { l.unique[key] = before }),
	},
	"unique for a period": {
		changesVerdicts("frees every key in the end", func(_ *session, v *worker.Verdict) {
			changeUnique(v.Job, func(u *worker.Unique) { u.Until = worker.UntilFinal })
		}),
		marksThenRemoves("frees every key of what it removes", func(l *lane, key string, _ taken) { delete(l.unique, key) }),
		refusesIDs("takes a job for its own duplicate", func(id, holder string) bool { return id == holder }),
		keysNeverRunOut,
	},
	"unique key runs out": {keysNeverRunOut, freesAnothers},
	"unique and delayed": {
		changesEnqueued("counts from the enqueue", func(job *worker.Job) {
			changeUnique(job, func(u *worker.Unique) { u.Until = worker.ForPeriod })
		}),
		changesEnqueued("counts from the enqueue unless there is a delay", func(job *worker.Job) {
			if job.Delay == 0 {
				changeUnique(job, func(u *worker.Unique) { u.Until = worker.ForPeriod })
			}
		}),
	},
	"unlock": {
		unlocks("frees nothing", func(*session, *worker.Job) {}),
		unlocks("asks for no claim", func(s *session, job *worker.Job) { s.lane.unlock(job.Unique, job.ID) }),
		unlocks("frees all keys", func(s *session, job *worker.Job) {
			if s.heldLocked(job) != nil {
				clear(s.lane.unique)
			}
		}),
		faultySessions("frees a key once", func(s *faultySession) {
			freed := make(map[string]bool)
			s.unlock = func(ctx context.Context, jobs []*worker.Job) error {
				for _, job := range jobs {
					if freed[job.ID] {
						return worker.ErrLeaseLost
					}
					freed[job.ID] = s.heldLocked(job) != nil
				}
				return s.session.Unlock(ctx, jobs...)
			}
		}),
	},
	"unlock leaves others": {freesLeniently, freesAnothers},
	"reopen unique": {
		faulty("reopens duplicates", func(q *faultyQueue) {
			q.reopen = func(ctx context.Context, job *worker.Job) error {
				clear(q.laneLocked(job.Queue).unique)
				return q.MemoryQueue.Reopen(ctx, job)
			}
		}),
		faulty("reopens without the key", func(q *faultyQueue) {
			q.reopen = func(ctx context.Context, job *worker.Job) error {
				err := q.MemoryQueue.Reopen(ctx, job)
				if err == nil {
					clear(q.laneLocked(job.Queue).unique)
				}
				return err
			}
		}),
		faulty("forgets the dead that it doesn't reopen", func(q *faultyQueue) {
			q.reopen = func(ctx context.Context, job *worker.Job) error {
				err := q.MemoryQueue.Reopen(ctx, job)
				if err != nil {
					l := q.laneLocked(job.Queue)
					l.wait(l.entries[job.ID], time.Time{})
				}
				return err
			}
		}),
	},
}

// freesAt frees keys with an action that isn't a job's end.
func freesAt(what string, action worker.Action) broken[worker.Queue] {
	return changesVerdicts(what, func(s *session, v *worker.Verdict) {
		if v.Action == action {
			s.lane.unlock(v.Job.Unique, v.Job.ID)
		}
	})
}
