package workertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// TestQueueRows checks that the promises of queues hold for MemoryQueue, and that each finds who breaks it.
func TestQueueRows(t *testing.T) {
	bad := make(map[string][]broken[worker.Queue])
	for _, some := range []map[string][]broken[worker.Queue]{
		badAtEnqueue, badAtClaim, badAtDelay, badAtSettle, badAtSession, badAtCheckpoint, badAtCancel, badAtRequeue, badAtKnow,
		badAtPause, badAtUnique, badAtReplacing, badAtFreeing, badAtInspect, badAtEdit, badAtTick, badAtRefuse, badAtCrash,
		badAtTelemetry,
	} {
		maps.Copy(bad, some)
	}
	sound := func(c *config) worker.Queue { return soundQueue(c) }
	testRows(t, queueRows(), newQueueBench, sound, bad)
}

var badAtEnqueue = map[string][]broken[worker.Queue]{
	"payload bytes": {
		changesJobs("compacts payloads", func(job *worker.Job) {
			var b bytes.Buffer
			_ = json.Compact(&b, job.Payload)
			job.Payload = b.Bytes()
		}),
		changesJobs("re-encodes payloads", func(job *worker.Job) {
			var v any
			_ = json.Unmarshal(job.Payload, &v)
			job.Payload, _ = json.Marshal(v)
		}),
	},
	"exported fields": {
		changesJobs("loses headers", func(job *worker.Job) { job.Headers = nil }),
		changesJobs("loses keys", func(job *worker.Job) { job.Key = "" }),
		changesJobs("loses unique keys", func(job *worker.Job) { job.Unique = nil }),
		changesJobs("loses topics", func(job *worker.Job) { job.Topic = "job:" + job.ID }),
		changesJobs("loses retry policies", func(job *worker.Job) { job.Retry.Window = 0 }),
		changesJobs("loses timeouts", func(job *worker.Job) { job.Timeout = job.Timeout.Truncate(time.Millisecond) }),
		changesJobs("loses expiries", func(job *worker.Job) { job.ExpiresAt = time.Time{} }),
		changesJobs("loses run-at times", func(job *worker.Job) { job.RunAt = time.Time{} }),
		changesJobs("sets EnqueuedAt anew", func(job *worker.Job) { job.EnqueuedAt = time.Now() }),
		changesJobs("hands out delays", func(job *worker.Job) { job.Delay = time.Millisecond }),
	},
	"first claim": {
		changesJobs("counts attempts from 0", func(job *worker.Job) { job.Attempt-- }),
		changesJobs("makes up checkpoints", func(job *worker.Job) { job.CheckpointData = []byte("null") }),
		changesJobs("rejects jobs", func(job *worker.Job) { job.Reject = worker.ErrExpired }),
	},
	"private jobs":          {keepsPayloads},
	"twice while waiting":   {enqueuesTwice, replacesWaiting},
	"twice while held":      {enqueuesTwice},
	"twice at once":         {enqueuesTwice},
	"twice while scheduled": {enqueuesTwice},
	"dead ids": {
		enqueuesTwice,
		hidesEnqueueErrors,
		faulty("mistakes canceled for failed", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				err := q.MemoryQueue.Enqueue(ctx, jobs...)
				var finished *worker.FinishedError
				if errors.As(err, &finished) {
					finished.State = worker.StateFailed
				}
				return err
			}
		}),
	},
	"others of a call": {
		faulty("stops at the first dead id", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				for _, job := range jobs {
					if err := q.MemoryQueue.Enqueue(ctx, job); err != nil {
						return err
					}
				}
				return nil
			}
		}),
	},
	"completed ids": {
		actsAs("buries what was completed", worker.ActionComplete, worker.ActionBury),
		remembersAttempts,
		remembersCheckpoints,
	},
	"many in a call": {
		faulty("takes 1,000 jobs of a call", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				return q.MemoryQueue.Enqueue(ctx, jobs[:min(len(jobs), 1000)]...)
			}
		}),
		faultySessions("settles 1,000 verdicts of a call", func(s *faultySession) {
			s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
				return s.session.Settle(ctx, verdicts[:min(len(verdicts), 1000)]...)
			}
		}),
	},
	"nothing to do": {
		faulty("refuses calls without jobs", func(q *faultyQueue) {
			q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
				if len(jobs) == 0 {
					return worker.ErrRefused
				}
				return q.MemoryQueue.Enqueue(ctx, jobs...)
			}
		}),
		faultySessions("reads the first verdict of none", func(s *faultySession) {
			s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
				_ = verdicts[0]
				return s.session.Settle(ctx, verdicts...)
			}
		}),
	},
}

// keepsPayloads hands out the slice that was enqueued.
var keepsPayloads = faulty("keeps the caller's payload", func(q *faultyQueue) {
	kept := make(map[string]json.RawMessage)
	q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
		for _, job := range jobs {
			kept[job.ID] = job.Payload
		}
		return q.MemoryQueue.Enqueue(ctx, jobs...)
	}
	q.session = func(s *faultySession) {
		s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
			jobs, err := s.session.Claim(ctx, opts)
			for _, job := range jobs {
				job.Payload = kept[job.ID]
			}
			return jobs, err
		}
	}
})

// replacesWaiting lets a second enqueue of an id replace the body of the first.
var replacesWaiting = faulty("replaces the body of a job that waits", func(q *faultyQueue) {
	q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
		for _, job := range jobs {
			q.mu.Lock()
			if e := q.laneLocked(job.Queue).entries[job.ID]; e != nil {
				e.body, _ = worker.EncodeJob(job)
			}
			q.mu.Unlock()
		}
		return q.MemoryQueue.Enqueue(ctx, jobs...)
	}
})

var hidesEnqueueErrors = faulty("says nothing of dead ids", func(q *faultyQueue) {
	q.enqueue = func(ctx context.Context, jobs []*worker.Job) error {
		_ = q.MemoryQueue.Enqueue(ctx, jobs...)
		return nil
	}
})

// remembersAttempts counts the retries of an id for ever.
var remembersAttempts = faultySessions("never forgets attempts", func(s *faultySession) {
	retried := make(map[string]int)
	s.settle = func(ctx context.Context, verdicts []worker.Verdict) error {
		for _, v := range verdicts {
			if v.Action == worker.ActionRetry {
				retried[v.Job.ID]++
			}
		}
		return s.session.Settle(ctx, verdicts...)
	}
	s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		jobs, err := s.session.Claim(ctx, opts)
		for _, job := range jobs {
			job.Attempt = 1 + retried[job.ID]
		}
		return jobs, err
	}
})

// remembersCheckpoints keeps the checkpoint of an id for ever.
var remembersCheckpoints = faultySessions("never forgets checkpoints", func(s *faultySession) {
	kept := make(map[string][]byte)
	s.checkpoint = func(ctx context.Context, job *worker.Job, data []byte) error {
		kept[job.ID] = data
		return s.session.Checkpoint(ctx, job, data)
	}
	s.claim = func(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
		jobs, err := s.session.Claim(ctx, opts)
		for _, job := range jobs {
			job.CheckpointData = kept[job.ID]
		}
		return jobs, err
	}
})
