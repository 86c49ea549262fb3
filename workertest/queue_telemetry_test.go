package workertest

import (
	"context"
	"errors"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// changesStats changes what stats tell.
func changesStats(what string, change func(*worker.QueueStats)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) { q.stats = change })
}

// changesOptions changes the options of each session.
func changesOptions(what string, change func(*worker.ConsumeOptions)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.consume = func(queue string, opts *worker.ConsumeOptions) string { change(opts); return queue }
	})
}

var badAtTelemetry = map[string][]broken[worker.Queue]{
	"previous trace": {
		changesVerdicts("forgets traces", func(_ *session, v *worker.Verdict) { v.Trace = "" }),
		changesVerdicts("keeps traces of retries only", func(_ *session, v *worker.Verdict) {
			if v.Action != worker.ActionRetry {
				v.Trace = ""
			}
		}),
		changesVerdicts("keeps no trace of a release without delay", func(_ *session, v *worker.Verdict) {
			if v.Delay == 0 && v.Action == worker.ActionRelease {
				v.Trace = ""
			}
		}),
		changesVerdicts("keeps a trace for ever", func(_ *session, v *worker.Verdict) {
			if v.Trace == "" {
				v.Trace = v.Job.PreviousTrace
			}
		}),
	},
	"kept trace": {
		actsAs("forgets the trace when it releases", worker.ActionRelease, worker.ActionSnooze),
	},
	"runnable": {
		changesJobs("doesn't tell since when", func(job *worker.Job) { job.RunnableAt = time.Time{} }),
		changesJobs("tells when jobs are claimed", func(job *worker.Job) { job.RunnableAt = time.Now() }),
		changesJobs("ignores RunAt", func(job *worker.Job) { job.RunnableAt = job.EnqueuedAt }),
	},
	"runnable again": {
		changesJobs("tells when jobs were enqueued", func(job *worker.Job) { job.RunnableAt = job.EnqueuedAt }),
		changesJobs("forgets the time of what was put back", func(job *worker.Job) { job.RunnableAt = time.Time{} }),
	},
	"runnable after a crash": {
		changesJobs("tells when jobs were enqueued", func(job *worker.Job) { job.RunnableAt = job.EnqueuedAt }),
	},
	"stats": {
		changesStats("counts what is scheduled as waiting", func(s *worker.QueueStats) { s.Waiting += s.Scheduled }),
		changesStats("counts nothing that runs", func(s *worker.QueueStats) { s.Running = 0 }),
		changesStats("counts what runs as waiting", func(s *worker.QueueStats) { s.Waiting += s.Running }),
		changesStats("forgets the dead", func(s *worker.QueueStats) { s.Dead = 0 }),
		changesStats("knows of no worker", func(s *worker.QueueStats) { s.Workers = 0 }),
		changesStats("doesn't name the queue", func(s *worker.QueueStats) { s.Queue = "" }),
	},
	"oldest age": {
		changesStats("tells no age", func(s *worker.QueueStats) { s.OldestAge = 0 }),
		changesStats("tells an age of what doesn't wait", func(s *worker.QueueStats) { s.OldestAge += time.Second }),
		faulty("tells the age since the enqueue", func(q *faultyQueue) {
			start := time.Now()
			q.stats = func(s *worker.QueueStats) {
				if s.OldestAge > 0 {
					s.OldestAge = time.Since(start)
				}
			}
		}),
	},
	"oldest age after a crash": {
		changesStats("tells no age of crashed jobs", func(s *worker.QueueStats) { s.OldestAge = 0 }),
		changesStats("tells too great an age of crashed jobs", func(s *worker.QueueStats) { s.OldestAge += time.Hour }),
	},
	"ping": {
		faulty("never answers a ping", func(q *faultyQueue) {
			q.ping = func(context.Context) error { return errors.New("nobody there") }
		}),
		faulty("answers every ping", func(q *faultyQueue) { q.ping = func(context.Context) error { return nil } }),
	},
	"renewals are told": {
		changesOptions("tells of no renewal", func(o *worker.ConsumeOptions) { o.OnRenewal = nil }),
		faultySessions("tells of renewals after the end", func(s *faultySession) {
			s.closing = func(ctx context.Context) error {
				time.AfterFunc(s.session.Lease()/2, func() { s.onRenewal(nil) })
				return s.session.Close(ctx)
			}
		}),
		changesOptions("tells of errors that there are none", func(o *worker.ConsumeOptions) {
			if told := o.OnRenewal; told != nil {
				o.OnRenewal = func(error) { told(errors.New("no")) }
			}
		}),
	},
	"recoveries are told": {
		changesOptions("tells of no takeover", func(o *worker.ConsumeOptions) { o.OnRecovered = nil }),
		changesOptions("tells of takeovers twice", func(o *worker.ConsumeOptions) {
			if told := o.OnRecovered; told != nil {
				o.OnRecovered = func(jobs int) { told(jobs); told(jobs) }
			}
		}),
		changesOptions("tells of takeovers and not of jobs", func(o *worker.ConsumeOptions) {
			if told := o.OnRecovered; told != nil {
				o.OnRecovered = func(int) { told(1) }
			}
		}),
	},
}
