package sse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// snapshots calls Config.Snapshot, once for all the viewers of a topic that want it at about the same time.
type snapshots struct {
	read    func(ctx context.Context, topic string) ([]worker.Status, error)
	timeout time.Duration
	log     *slog.Logger
	warned  atomic.Int64 // when a failure was logged last, in nanoseconds since 1970

	mu     sync.Mutex
	topics map[string]*watched
}

// watched is a topic that has viewers. Its fields are guarded by the mutex of snapshots.
type watched struct {
	viewers int
	latest  *reading           // the last that has begun
	next    *reading           // asked for while the latest is under way, to begin after it
	cancel  context.CancelFunc // ends the one under way; nil if there is none
}

// reading is one call. Its fields are set before done is closed, at before it begins.
type reading struct {
	ctx  context.Context // of the viewer who asked first, without its end
	at   time.Time
	done chan struct{}
	rows []worker.Status // shared by viewers: read only
	err  error
}

// join notes a viewer of topics, leave that it has gone.
func (s *snapshots) join(topics []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range topics {
		w := s.topics[topic]
		if w == nil {
			if s.topics == nil {
				s.topics = make(map[string]*watched)
			}
			w = &watched{}
			s.topics[topic] = w
		}
		w.viewers++
	}
}

func (s *snapshots) leave(topics []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range topics {
		w := s.topics[topic]
		if w.viewers--; w.viewers > 0 {
			continue
		}
		delete(s.topics, topic)
		if w.cancel != nil {
			w.cancel()
		}
	}
}

// ask returns a reading of the topic, which the caller has joined, that began at most maxAge ago or, with zero, begins
// after this call.
func (s *snapshots) ask(ctx context.Context, topic string, maxAge time.Duration) *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.topics[topic]
	if w.latest != nil && maxAge > 0 && time.Since(w.latest.at) <= maxAge {
		return w.latest
	}
	if w.cancel == nil {
		r := newReading(ctx)
		s.beginLocked(topic, w, r)
		return r
	}
	if w.next == nil {
		w.next = newReading(ctx)
	}
	return w.next
}

func newReading(ctx context.Context) *reading {
	return &reading{ctx: context.WithoutCancel(ctx), done: make(chan struct{})}
}

// beginLocked starts the goroutine of a reading, which ends by the timeout or soon after the topic's last viewer left.
func (s *snapshots) beginLocked(topic string, w *watched, r *reading) {
	ctx, cancel := context.WithTimeout(r.ctx, s.timeout)
	w.latest, w.cancel = r, cancel
	r.at = time.Now()
	go func() {
		r.rows, r.err = s.call(ctx, topic)
		if !errors.Is(ctx.Err(), context.Canceled) {
			s.report(topic, r.err)
		}
		cancel()
		s.finish(topic, w)
		close(r.done)
	}()
}

// call keeps a panic of the host's function from taking the process down.
func (s *snapshots) call(ctx context.Context, topic string) (rows []worker.Status, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.read(ctx, topic)
}

// report logs failures, but not each: with the database gone there is one per topic and heartbeat.
func (s *snapshots) report(topic string, err error) {
	now, last := time.Now().UnixNano(), s.warned.Load()
	if err == nil || last != 0 && now-last < int64(warnEvery) || !s.warned.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn("the snapshot of a topic cannot be read", "topic", topic, "error", err)
}

const warnEvery = 10 * time.Second

// finish begins the next reading, if one was asked for and somebody is still there.
func (s *snapshots) finish(topic string, w *watched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.cancel = nil
	if next := w.next; next != nil && w.viewers > 0 {
		w.next = nil
		s.beginLocked(topic, w, next)
	}
}
