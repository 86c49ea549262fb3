package worker

import (
	"context"
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
	missed   missed
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
	a.lane = newLane(a.notify, 1, maxWaitingNotes)
	a.missed.reset = func(topics []string) {
		for _, topic := range topics {
			a.announce(resetOf(topic))
		}
	}
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
	if dropped := a.queue(statuses); len(dropped) > 0 {
		a.fail(dropped, "the notifier falls behind: statuses are dropped", nil) // calls the host's code: without the lock
	}
}

// queue adds to the lane in the order of versions, and returns what had to make room.
func (a *announcer) queue(statuses []Status) (dropped []Status) {
	if a.newest != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		statuses = slices.DeleteFunc(slices.Clone(statuses), a.staleLocked)
	}
	return a.lane.add(statuses...)
}

// staleLocked reports whether something later was announced of the job. It remembers a bounded number of jobs.
func (a *announcer) staleLocked(st Status) bool {
	if st.isReset() {
		return false
	}
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
	statuses, resets := batch, []Status(nil)
	if slices.ContainsFunc(batch, func(st Status) bool { return st.isReset() }) {
		statuses = slices.DeleteFunc(slices.Clone(batch), func(st Status) bool { return st.isReset() })
		resets = slices.DeleteFunc(slices.Clone(batch), func(st Status) bool { return !st.isReset() })
	}
	if err := a.tell(ctx, statuses); err != nil {
		a.fail(statuses, "the notifier fails: statuses are dropped", err)
		a.missed.add(resets...)
		return
	}
	if err := a.reset(ctx, resets); err != nil {
		a.fail(nil, "the notifier fails to reset topics", err)
		a.missed.add(resets...)
		return
	}
	a.missed.worked()
	if a.down.clear() {
		a.log.Info("the notifier works again")
	}
}

// tell keeps a notifier's panic from taking the process down, as reset does.
func (a *announcer) tell(ctx context.Context, statuses []Status) (err error) {
	defer catch(&err)
	if len(statuses) == 0 {
		return nil
	}
	return a.notifier.Notify(ctx, statuses...)
}

func (a *announcer) reset(ctx context.Context, resets []Status) (err error) {
	defer catch(&err)
	if len(resets) == 0 || a.resetter == nil {
		return nil
	}
	topics := make([]string, len(resets))
	for i := range resets {
		topics[i] = resets[i].Topic
	}
	return a.resetter.Reset(ctx, topics...)
}

func (a *announcer) fail(dropped []Status, message string, err error) {
	a.tel.dropped.Add(context.Background(), int64(len(dropped)))
	if a.down.raise(err) {
		var attrs []any
		if err != nil {
			attrs = append(attrs, "error", err)
		}
		a.log.Warn(message, attrs...)
	}
	if a.resetter != nil {
		a.missed.add(dropped...)
	}
}

// end is called with the end of the pool. What waits for a notifier that is too slow for it is dropped.
func (a *announcer) end() {
	a.missed.end()
	if left := a.lane.take(func(Status) bool { return true }); len(left) > 0 {
		a.fail(left, "the notifier was too slow for the pool's end: statuses are dropped", nil)
	}
}
