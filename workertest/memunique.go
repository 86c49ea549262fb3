package workertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// taken is a unique key that a job has.
type taken struct {
	id    string
	until time.Time
}

// holder returns the id that has a unique key, empty when it is free.
func (l *lane) holder(key string) string {
	if t, ok := l.unique[key]; ok && l.now().Before(t.until) {
		return t.id
	}
	return ""
}

// lock gives a job its unique key, if it has one and no other job does.
func (l *lane) lock(job *worker.Job) error {
	u := job.Unique
	if u == nil {
		return nil
	}
	if id := l.holder(u.Key); id != "" && id != job.ID {
		return &worker.DuplicateError{Key: u.Key, Holder: id}
	}
	wait := job.Delay
	if wait <= 0 && !job.RunAt.IsZero() {
		wait = job.RunAt.Sub(l.now())
	}
	if l.unique == nil {
		l.unique = make(map[string]taken)
	}
	l.unique[u.Key] = taken{job.ID, l.now().Add(u.Expiry(wait))}
	return nil
}

// unlock frees a unique key, if the job has it.
func (l *lane) unlock(u *worker.Unique, id string) {
	if u != nil && l.unique[u.Key].id == id {
		delete(l.unique, u.Key)
	}
}

// ended frees the unique key of a job that has ended, unless it is taken for a period.
func (l *lane) ended(u *worker.Unique, id string) {
	if u != nil && u.Until != worker.ForPeriod {
		l.unlock(u, id)
	}
}

// Holders implements worker.Uniquer.
func (q *MemoryQueue) Holders(ctx context.Context, jobs ...*worker.Job) ([]worker.Holder, error) {
	if err := q.begin(ctx, "Holders"); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	holders := make([]worker.Holder, len(jobs))
	for i, job := range jobs {
		if job == nil || job.Unique == nil {
			return nil, fmt.Errorf("holders: job %d is not unique", i)
		}
		if err := worker.CheckQueueName(job.Queue); err != nil {
			return nil, fmt.Errorf("holders: %w", err)
		}
		l := q.laneLocked(job.Queue)
		id := l.holder(job.Unique.Key)
		if own := l.entries[job.ID]; id == job.ID || own != nil && own.place != worker.PlaceDead {
			continue
		}
		holders[i].ID = id
		if e := l.entries[id]; e != nil && job.Unique.Replace {
			holders[i].Job = e.job()
		}
	}
	return holders, nil
}

// Replace implements worker.Uniquer.
func (q *MemoryQueue) Replace(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
	if err := q.begin(ctx, "Replace"); err != nil {
		return worker.PlaceUnknown, 0, err
	}
	if before == nil || after == nil || before.ID != after.ID || before.Queue != after.Queue ||
		before.Unique == nil || after.Unique == nil || before.Unique.Key != after.Unique.Key {
		return worker.PlaceUnknown, 0, errors.New("replace: the two are not of one id, queue and unique key")
	}
	is, err := worker.EncodeJob(before)
	if err != nil {
		return worker.PlaceUnknown, 0, fmt.Errorf("replace: %w", err)
	}
	body, err := worker.EncodeJob(after)
	if err != nil {
		return worker.PlaceUnknown, 0, fmt.Errorf("replace: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(after.Queue)
	e := l.entries[after.ID]
	switch {
	case e == nil:
		return worker.PlaceUnknown, 0, nil
	case e.place == worker.PlaceHeld && before.Unique.Until == worker.UntilStarted:
		if bytes.Equal(e.body, is) {
			l.unlock(before.Unique, e.id)
		}
		return worker.PlaceUnknown, 0, nil
	case e.place != worker.PlaceWaiting:
		return e.place, 0, nil
	case e.canceled:
		return worker.PlaceDead, 0, nil
	case l.holder(after.Unique.Key) != e.id || !bytes.Equal(e.body, is):
		return worker.PlaceUnknown, 0, nil
	}
	_ = l.lock(after) // it has the key
	e.checkpoint = nil
	l.rewrite(e, body, q.dueTime(after))
	return worker.PlaceWaiting, q.drawLocked(0), nil
}

// ReleaseUnique implements worker.UniqueReleaser.
func (q *MemoryQueue) ReleaseUnique(ctx context.Context, queue, key string) (string, error) {
	if err := q.beginOn(ctx, "ReleaseUnique", queue); err != nil {
		return "", err
	}
	if key == "" {
		return "", fmt.Errorf("release a unique key of %s: unique key is empty", queue)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	holder := l.holder(key)
	delete(l.unique, key)
	return holder, nil
}

// rewrite gives a waiting entry another body and due time. One that is in line keeps its place unless it is due later.
func (l *lane) rewrite(e *entry, body []byte, due time.Time) {
	if e.list == nil || due.After(l.now()) {
		l.unlink(e)
		l.admit(e, body, due)
		return
	}
	e.begin(body, due)
}

// Unlock implements worker.Unlocker.
func (s *session) Unlock(ctx context.Context, jobs ...*worker.Job) error {
	if err := s.queue.begin(ctx, "Unlock"); err != nil {
		return err
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.over {
		return fmt.Errorf("unlock: %w", worker.ErrLeaseLost)
	}
	for _, job := range jobs {
		if s.heldLocked(job) != nil {
			s.lane.unlock(job.Unique, job.ID)
		}
	}
	return nil
}
