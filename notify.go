package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	maxWaitingNotes = 4_096 // statuses that may wait for a slow notifier before the oldest are dropped
	maxNewest       = 10_000
	notifyTimeout   = 5 * time.Second
)

// announcer tells the notifier what was saved, on a lane of its own that nothing ever waits for.
type announcer struct {
	notifier Notifier
	resetter Resetter // nil if the notifier isn't one
	log      *slog.Logger
	tel      *telemetry
	lane     *lane[Status]
	down     flag

	mu     sync.Mutex
	newest map[string]int64 // version by job id, of what was announced last; nil where a store keeps the order
}

func newAnnouncer(n Notifier, stored bool, log *slog.Logger, tel *telemetry) *announcer {
	a := &announcer{notifier: n, log: log, tel: tel}
	if !stored {
		a.newest = make(map[string]int64)
	}
	a.resetter, _ = n.(Resetter)
	a.lane = newLane(a.notify, maxWaitingNotes)
	return a
}

// resetOf stands, among statuses that are announced, for a reset of a topic.
func resetOf(topic string) Status { return Status{Topic: topic} }

func (s *Status) isReset() bool { return s.State == "" }

// announce queues statuses for the notifier. With no notifier it does nothing.
func (a *announcer) announce(statuses ...Status) {
	if a.notifier == nil || len(statuses) == 0 {
		return
	}
	if a.newest != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		statuses = slices.DeleteFunc(slices.Clone(statuses), a.staleLocked)
	}
	if dropped := a.lane.add(statuses...); dropped > 0 {
		a.fail(dropped, "the notifier falls behind: statuses are dropped")
	}
}

// staleLocked reports whether something later was announced of the job. It remembers a bounded number of jobs.
func (a *announcer) staleLocked(st Status) bool {
	if last, ok := a.newest[st.JobID]; ok && st.Version <= last {
		return true
	}
	if len(a.newest) >= maxNewest {
		clear(a.newest)
	}
	a.newest[st.JobID] = st.Version
	return false
}

func (a *announcer) notify(batch []Status) {
	ctx, cancel := context.WithTimeout(context.Background(), notifyTimeout)
	defer cancel()
	if err := a.call(ctx, batch); err != nil {
		a.fail(len(batch), "the notifier fails: statuses are dropped", "error", err)
		return
	}
	if a.down.clear() {
		a.log.Info("the notifier works again")
	}
}

// call keeps a notifier's panic from taking the process down.
func (a *announcer) call(ctx context.Context, batch []Status) (err error) {
	defer catch(&err)
	var topics []string
	statuses := slices.DeleteFunc(batch, func(st Status) bool {
		if st.isReset() {
			topics = append(topics, st.Topic)
		}
		return st.isReset()
	})
	if len(statuses) > 0 {
		err = a.notifier.Notify(ctx, statuses...)
	}
	if len(topics) > 0 && a.resetter != nil {
		err = errors.Join(err, a.resetter.Reset(ctx, topics...))
	}
	return err
}

func (a *announcer) fail(dropped int, message string, attrs ...any) {
	a.tel.dropped.Add(context.Background(), int64(dropped))
	if a.down.raise() {
		a.log.Warn(message, attrs...)
	}
}

// giveUp drops what waits for a notifier that is too slow for the end of its pool.
func (a *announcer) giveUp() {
	if left := len(a.lane.take(func(Status) bool { return true })); left > 0 {
		a.fail(left, "the notifier was too slow for the pool's end: statuses are dropped")
	}
}
