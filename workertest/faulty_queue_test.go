package workertest

import (
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// faultyQueue is a MemoryQueue with some methods replaced.
type faultyQueue struct {
	*MemoryQueue
	enqueue func(context.Context, []*worker.Job) error
	consume func(queue string, opts *worker.ConsumeOptions) string
	session func(*faultySession)
	opened  func(context.Context, *session)
	mark    func(context.Context, string, string) (worker.CancelMark, error)
	remove  func(context.Context, string, string) (worker.Place, error)
	draw    func(context.Context, string, string) (*worker.Job, int64, error)
	reopen  func(context.Context, *worker.Job) error
	know    func(queue string, ids []string) []worker.Place
	holders func([]*worker.Job, []worker.Holder)
	replace func(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error)
	release func(ctx context.Context, queue, key string) (string, error)
	paused  func(*MemoryQueue, *lane, bool) // after each pause and resume
	stats   func(*worker.QueueStats)
	ping    func(context.Context) error

	queues   func([]string) []string
	activity func(*worker.Activity)
	list     func(context.Context, string, worker.ListOptions) (worker.JobPage, error)
	find     func(context.Context, string, string) (worker.JobInfo, error)
	edit     func(ctx context.Context, before, after *worker.Job, move worker.Move) (worker.Edited, error)
	forget   func(context.Context, string, []string) (int, error)
	last     func(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error)
	tick     func(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error)
}

// faulty makes a broken backend of a MemoryQueue.
func faulty(what string, spoil func(*faultyQueue)) broken[worker.Queue] {
	return broken[worker.Queue]{what: what, open: func(c *config) worker.Queue {
		q := &faultyQueue{MemoryQueue: soundQueue(c)}
		spoil(q)
		return q
	}}
}

// faultySessions makes a broken backend whose sessions are broken.
func faultySessions(what string, spoil func(*faultySession)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) { q.session = spoil })
}

// soundQueue opens a MemoryQueue and enables all rows for it.
func soundQueue(c *config) *MemoryQueue {
	q := NewQueue()
	q.Lease = 4 * time.Second
	c.takeover, c.crash = 5*time.Second, q.Crash
	c.enqueueRaw = func(queue, id string, body []byte) error {
		q.EnqueueRaw(queue, id, body)
		return nil
	}
	return q
}

func (q *faultyQueue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	if q.enqueue != nil {
		return q.enqueue(ctx, jobs)
	}
	return q.MemoryQueue.Enqueue(ctx, jobs...)
}

func (q *faultyQueue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	if q.consume != nil {
		queue = q.consume(queue, &opts)
	}
	c, err := q.MemoryQueue.Consume(ctx, queue, opts)
	if err == nil && q.opened != nil {
		q.opened(ctx, c.(*session))
	}
	if err != nil || q.session == nil {
		return c, err
	}
	s := &faultySession{session: c.(*session)}
	q.session(s)
	return s, nil
}

func (q *faultyQueue) MarkCanceled(ctx context.Context, queue, id string) (worker.CancelMark, error) {
	if q.mark != nil {
		return q.mark(ctx, queue, id)
	}
	return q.MemoryQueue.MarkCanceled(ctx, queue, id)
}

func (q *faultyQueue) RemoveCanceled(ctx context.Context, queue, id string) (worker.Place, error) {
	if q.remove != nil {
		return q.remove(ctx, queue, id)
	}
	return q.MemoryQueue.RemoveCanceled(ctx, queue, id)
}

func (q *faultyQueue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	if q.know != nil {
		return q.know(queue, ids), nil
	}
	return q.MemoryQueue.Know(ctx, queue, ids...)
}

func (q *faultyQueue) Pause(ctx context.Context, queue string) error {
	return q.steer(q.MemoryQueue.Pause(ctx, queue), queue, true)
}

func (q *faultyQueue) Resume(ctx context.Context, queue string) error {
	return q.steer(q.MemoryQueue.Resume(ctx, queue), queue, false)
}

func (q *faultyQueue) steer(err error, queue string, paused bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.paused != nil && err == nil {
		q.paused(q.MemoryQueue, q.laneLocked(queue), paused)
	}
	return err
}

func (q *faultyQueue) Stats(ctx context.Context, queue string) (worker.QueueStats, error) {
	stats, err := q.MemoryQueue.Stats(ctx, queue)
	if q.stats != nil {
		q.stats(&stats)
	}
	return stats, err
}

func (q *faultyQueue) Ping(ctx context.Context) error {
	if q.ping != nil {
		return q.ping(ctx)
	}
	return q.MemoryQueue.Ping(ctx)
}

func (q *faultyQueue) Queues(ctx context.Context) ([]string, error) {
	names, err := q.MemoryQueue.Queues(ctx)
	if q.queues != nil {
		names = q.queues(names)
	}
	return names, err
}

func (q *faultyQueue) Activity(ctx context.Context, queue string) (worker.Activity, error) {
	a, err := q.MemoryQueue.Activity(ctx, queue)
	if q.activity != nil {
		q.activity(&a)
	}
	return a, err
}

func (q *faultyQueue) List(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
	if q.list != nil {
		return q.list(ctx, queue, opts)
	}
	return q.MemoryQueue.List(ctx, queue, opts)
}

func (q *faultyQueue) Find(ctx context.Context, queue, id string) (worker.JobInfo, error) {
	if q.find != nil {
		return q.find(ctx, queue, id)
	}
	return q.MemoryQueue.Find(ctx, queue, id)
}

func (q *faultyQueue) Edit(ctx context.Context, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
	if q.edit != nil {
		return q.edit(ctx, before, after, move)
	}
	return q.MemoryQueue.Edit(ctx, before, after, move)
}

func (q *faultyQueue) Forget(ctx context.Context, queue string, ids ...string) (int, error) {
	if q.forget != nil {
		return q.forget(ctx, queue, ids)
	}
	return q.MemoryQueue.Forget(ctx, queue, ids...)
}

func (q *faultyQueue) DrawToken(ctx context.Context, queue, id string) (*worker.Job, int64, error) {
	if q.draw != nil {
		return q.draw(ctx, queue, id)
	}
	return q.MemoryQueue.DrawToken(ctx, queue, id)
}

func (q *faultyQueue) Reopen(ctx context.Context, job *worker.Job) error {
	if q.reopen != nil {
		return q.reopen(ctx, job)
	}
	return q.MemoryQueue.Reopen(ctx, job)
}

func (q *faultyQueue) LastTick(
	ctx context.Context, queue, name string, begin time.Time,
) (last, now time.Time, err error) {
	if q.last != nil {
		return q.last(ctx, queue, name, begin)
	}
	return q.MemoryQueue.LastTick(ctx, queue, name, begin)
}

func (q *faultyQueue) EnqueueTick(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
	if q.tick != nil {
		return q.tick(ctx, name, tick, job)
	}
	return q.MemoryQueue.EnqueueTick(ctx, name, tick, job)
}

// faultySession is a session of a MemoryQueue with some methods replaced.
type faultySession struct {
	*session
	claim      func(context.Context, worker.ClaimOptions) ([]*worker.Job, error)
	settle     func(context.Context, []worker.Verdict) error
	checkpoint func(context.Context, *worker.Job, []byte) error
	unlock     func(context.Context, []*worker.Job) error
	revocation func() <-chan worker.Revocation
	losing     func() <-chan struct{}
	closing    func(context.Context) error
	lease      func() time.Duration
}

func (s *faultySession) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	if s.claim != nil {
		return s.claim(ctx, opts)
	}
	return s.session.Claim(ctx, opts)
}

func (s *faultySession) Settle(ctx context.Context, verdicts ...worker.Verdict) error {
	if s.settle != nil {
		return s.settle(ctx, verdicts)
	}
	return s.session.Settle(ctx, verdicts...)
}

func (s *faultySession) Checkpoint(ctx context.Context, job *worker.Job, data []byte) error {
	if s.checkpoint != nil {
		return s.checkpoint(ctx, job, data)
	}
	return s.session.Checkpoint(ctx, job, data)
}

func (s *faultySession) Revoked() <-chan worker.Revocation {
	if s.revocation != nil {
		return s.revocation()
	}
	return s.session.Revoked()
}

func (s *faultySession) Lost() <-chan struct{} {
	if s.losing != nil {
		return s.losing()
	}
	return s.session.Lost()
}

func (s *faultySession) Close(ctx context.Context) error {
	if s.closing != nil {
		return s.closing(ctx)
	}
	return s.session.Close(ctx)
}

func (s *faultySession) Lease() time.Duration {
	if s.lease != nil {
		return s.lease()
	}
	return s.session.Lease()
}

// The ways to break a session that serve several rows.

// changesJobs changes each job that is claimed.
func changesJobs(what string, change func(*worker.Job)) broken[worker.Queue] {
	return faultySessions(what, func(s *faultySession) {
		s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
			jobs, err := s.session.Claim(ctx, opts)
			for _, job := range jobs {
				change(job)
			}
			return jobs, err
		}
	})
}

// changesClaims changes the options of each claim.
func changesClaims(what string, change func(*worker.ClaimOptions)) broken[worker.Queue] {
	return faultySessions(what, func(s *faultySession) {
		s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
			change(&opts)
			return s.session.Claim(ctx, opts)
		}
	})
}

// changesVerdicts changes each verdict before it is settled.
func changesVerdicts(what string, change func(*session, *worker.Verdict)) broken[worker.Queue] {
	return faultySessions(what, func(s *faultySession) {
		s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
			for i := range verdicts {
				change(s.session, &verdicts[i])
			}
			return s.session.Settle(ctx, verdicts...)
		}
	})
}

// actsAs settles one action as another.
func actsAs(what string, from, to worker.Action) broken[worker.Queue] {
	return changesVerdicts(what, func(_ *session, v *worker.Verdict) {
		if v.Action == from {
			v.Action = to
		}
	})
}

// ignoresDelays puts every job back at once.
var ignoresDelays = changesVerdicts("puts jobs back at once", func(_ *session, v *worker.Verdict) { v.Delay = 0 })

// changesEnqueued changes a copy of each job before it is enqueued.
func changesEnqueued(what string, change func(*worker.Job)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
			copies := make([]*worker.Job, len(jobs))
			for i, job := range jobs {
				copies[i] = copyJob(job)
				copies[i].Delay = job.Delay
				change(copies[i])
			}
			return q.MemoryQueue.Enqueue(ctx, copies...)
		}
	})
}

// enqueuesTwice takes every job as new.
var enqueuesTwice = faulty("takes every id as new", func(q *faultyQueue) {
	q.enqueue = func(_ context.Context, jobs []*worker.Job) error {
		for _, job := range jobs {
			body, err := worker.EncodeJob(job)
			if err != nil {
				return err
			}
			q.EnqueueRaw(job.Queue, job.ID, body)
		}
		return nil
	}
})
