package workertest

import (
	"container/list"
	"context"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Stats implements worker.Sampler.
func (q *MemoryQueue) Stats(ctx context.Context, queue string) (worker.QueueStats, error) {
	if err := q.beginOn(ctx, "Stats", queue); err != nil {
		return worker.QueueStats{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.laneLocked(queue).stats(q.now()), nil
}

// Ping implements worker.Pinger.
func (q *MemoryQueue) Ping(ctx context.Context) error { return q.begin(ctx, "Ping") }

// stats counts the entries of a lane by what they are in.
func (l *lane) stats(now time.Time) worker.QueueStats {
	l.promote(now)
	stats := worker.QueueStats{
		Queue: l.name, Waiting: int64(l.pending.Len() + l.suspects.Len()), Scheduled: int64(len(l.scheduled)),
		Workers: len(l.sessions), Paused: l.paused,
	}
	for _, s := range l.sessions {
		stats.Running += int64(len(s.held))
	}
	stats.Dead = int64(len(l.entries)) - stats.Waiting - stats.Scheduled - stats.Running
	for _, waiting := range []*list.List{&l.pending, &l.suspects} {
		if since := firstKnown(waiting); !since.IsZero() {
			stats.OldestAge = max(stats.OldestAge, now.Sub(since))
		}
	}
	return stats
}

// firstKnown returns since when the first entry that tells could have run. Where none does, as their workers have died, it is
// when the first one was enqueued or due.
func firstKnown(waiting *list.List) time.Time {
	el := waiting.Front()
	for range 16 {
		if el == nil {
			break
		}
		if since := el.Value.(*entry).runnable; !since.IsZero() {
			return since
		}
		el = el.Next()
	}
	if el = waiting.Front(); el == nil {
		return time.Time{}
	}
	job := el.Value.(*entry).job()
	switch {
	case job == nil:
		return time.Time{}
	case job.RunAt.After(job.EnqueuedAt):
		return job.RunAt
	}
	return job.EnqueuedAt
}
