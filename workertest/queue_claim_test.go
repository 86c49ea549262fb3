package workertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// looksOnceAtAnExpiry lets run what was fit to run at its first claim.
var looksOnceAtAnExpiry = faultySessions("looks at a job's expiry once", func(s *faultySession) {
	seen := make(map[string]bool)
	s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		jobs, err := s.session.Claim(ctx, opts)
		for _, job := range jobs {
			if seen[job.ID] {
				job.Reject = nil
			}
			seen[job.ID] = true
		}
		return jobs, err
	}
})

var badAtClaim = map[string][]broken[worker.Queue]{
	"fifo": {
		faultySessions("hands out the jobs of a claim backwards", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				slices.Reverse(jobs)
				return jobs, err
			}
		}),
		faulty("puts the jobs of a call in backwards", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				jobs = slices.Clone(jobs)
				slices.Reverse(jobs)
				return q.MemoryQueue.Enqueue(ctx, jobs...)
			}
		}),
	},
	"limit":                     {changesClaims("takes one more than it may", func(o *worker.ClaimOptions) { o.Limit++ })},
	"limit zero claims nothing": {changesClaims("takes Limit 0 for 1", func(o *worker.ClaimOptions) { o.Limit = max(o.Limit, 1) })},
	"limit zero returns": {
		faultySessions("waits out Wait when Limit is 0", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				if opts.Limit == 0 {
					rest(ctx, opts.Wait)
					return nil, nil
				}
				return s.session.Claim(ctx, opts)
			}
		}),
	},
	"empty claim": {
		faultySessions("takes an empty queue for an error", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				if len(jobs) == 0 && err == nil {
					err = errors.New("nothing there")
				}
				return jobs, err
			}
		}),
		changesClaims("waits much longer than Wait", func(o *worker.ClaimOptions) { o.Wait += time.Minute }),
	},
	"wake-up": {pollsAtTheEnd, changesClaims("never waits", func(o *worker.ClaimOptions) { o.Wait = 0 })},
	"context": {
		faultySessions("doesn't notice the end of its context", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				return s.session.Claim(context.WithoutCancel(ctx), opts)
			}
		}),
		faultySessions("loses a job to a claim that was given up", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				if ctx.Err() != nil {
					time.AfterFunc(0, func() {
						_, _ = s.session.Claim(context.Background(), worker.ClaimOptions{Limit: 1, Wait: time.Second})
					})
					rest(context.Background(), time.Millisecond)
				}
				return jobs, err
			}
		}),
	},
	"claimed once": {
		faultySessions("hands out every tenth job once more", func(s *faultySession) {
			var again []*worker.Job
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				for _, job := range jobs {
					if job.Token%10 == 0 {
						again = append(again, job)
					}
				}
				if len(jobs) == 0 {
					jobs, again = again, nil
				}
				return jobs, err
			}
		}),
		faulty("loses every hundredth job", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				n := 0
				return q.MemoryQueue.Enqueue(ctx, slices.DeleteFunc(slices.Clone(jobs), func(*worker.Job) bool {
					n++
					return n%100 == 0
				})...)
			}
		}),
	},
	"queues are separate": {
		faulty("keeps all jobs in one queue", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				for i, job := range jobs {
					jobs[i] = copyJob(job)
					jobs[i].Queue = "all"
				}
				return q.MemoryQueue.Enqueue(ctx, jobs...)
			}
			q.consume = func(string, *worker.ConsumeOptions) string { return "all" }
		}),
		faulty("takes queue names for prefixes", func(q *faultyQueue) {
			q.consume = func(queue string, _ *worker.ConsumeOptions) string { return strings.TrimSuffix(queue, ".other") }
		}),
	},
	"tokens rise": {
		changesJobs("gives all claims one token", func(job *worker.Job) { job.Token = 1 }),
		countsTokensBySession,
	},
	"least token": {
		changesClaims("doesn't look at MinToken", func(o *worker.ClaimOptions) { o.MinToken = 0 }),
		changesClaims("takes MinToken for the next one", func(o *worker.ClaimOptions) { o.MinToken-- }),
	},
	"expired": {
		changesJobs("hands out expired jobs to run", func(job *worker.Job) { job.Reject = nil }),
		changesJobs("takes any expiry for past", func(job *worker.Job) { job.Reject = worker.ErrExpired }),
		faultySessions("drops expired jobs", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				return slices.DeleteFunc(jobs, func(job *worker.Job) bool { return job.Reject != nil }), err
			}
		}),
	},
	"expired meanwhile": {
		changesJobs("takes a retried job's expiry for met", func(job *worker.Job) {
			if job.Attempt > 1 {
				job.Reject = nil
			}
		}),
		changesJobs("looks at the expiry of jobs without a delay only", func(job *worker.Job) {
			if !job.RunAt.IsZero() {
				job.Reject = nil
			}
		}),
		changesJobs("rejects what has time left", func(job *worker.Job) { job.Reject = worker.ErrExpired }),
		looksOnceAtAnExpiry,
	},
	"undecodable": {
		faultySessions("drops what doesn't decode", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				return slices.DeleteFunc(jobs, func(job *worker.Job) bool { return job.Reject != nil }), err
			}
		}),
		changesJobs("hands out no body that doesn't decode", func(job *worker.Job) {
			if job.Reject != nil {
				job.Payload = nil
			}
		}),
		faultySessions("fails to claim what doesn't decode", func(s *faultySession) {
			s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
				jobs, err := s.session.Claim(ctx, opts)
				for _, job := range jobs {
					err = errors.Join(err, job.Reject)
				}
				return jobs, err
			}
		}),
	},
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

// pollsAtTheEnd looks for jobs at the start and the end of a wait only.
var pollsAtTheEnd = faultySessions("isn't woken by an enqueue", func(s *faultySession) {
	s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		wait := opts.Wait
		opts.Wait = 0
		jobs, err := s.session.Claim(ctx, opts)
		if len(jobs) > 0 || err != nil {
			return jobs, err
		}
		rest(ctx, wait)
		return s.session.Claim(ctx, opts)
	}
})

// countsTokensBySession lets every session count its claims by itself.
var countsTokensBySession = faultySessions("counts tokens by session", func(s *faultySession) {
	own := int64(0)
	real := make(map[int64]int64)
	s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		jobs, err := s.session.Claim(ctx, opts)
		for _, job := range jobs {
			own++
			real[own], job.Token = job.Token, own
		}
		return jobs, err
	}
	s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
		for i, v := range verdicts {
			verdicts[i].Job = stale(v.Job)
			verdicts[i].Job.Token = real[v.Job.Token]
		}
		return s.session.Settle(ctx, verdicts...)
	}
})

var badAtDelay = map[string][]broken[worker.Queue]{
	"delay": {
		changesEnqueued("ignores delays", func(job *worker.Job) { job.Delay, job.RunAt = 0, time.Time{} }),
		changesEnqueued("counts delays in hours", func(job *worker.Job) { job.Delay *= 3600 }),
	},
	"run at": {
		changesEnqueued("ignores RunAt", func(job *worker.Job) { job.RunAt = time.Time{} }),
		changesEnqueued("is early by half", func(job *worker.Job) { job.RunAt = job.RunAt.Add(-aWhile / 2) }),
		changesEnqueued("is late by an hour", func(job *worker.Job) { job.RunAt = job.RunAt.Add(time.Hour) }),
	},
	"retry later":   {ignoresDelays, forgetsDelayed},
	"snooze later":  {ignoresDelays, forgetsDelayed},
	"release later": {ignoresDelays, forgetsDelayed},
	"scheduled order": {
		faulty("makes scheduled jobs due in the order of their arrival", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				for i, job := range jobs {
					jobs[i] = copyJob(job)
					jobs[i].Delay = 2 * aWhile
				}
				return q.MemoryQueue.Enqueue(ctx, jobs...)
			}
		}),
	},
	"others overtake": {
		changesEnqueued("ignores delays", func(job *worker.Job) { job.Delay, job.RunAt = 0, time.Time{} }),
		changesEnqueued("schedules everything", func(job *worker.Job) { job.Delay = time.Hour }),
	},
}

// forgetsDelayed loses what is put back for later.
var forgetsDelayed = changesVerdicts("loses what is put back for later", func(_ *session, v *worker.Verdict) {
	if v.Delay > 0 {
		v.Action = worker.ActionComplete
	}
})
