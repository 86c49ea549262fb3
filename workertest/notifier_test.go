package workertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// TestNotifierRows checks that the promises of notifiers hold for Recorder, and that each finds who breaks it.
func TestNotifierRows(t *testing.T) {
	sound := func(*config) worker.Notifier { return NewNotifier() }
	testRows(t, notifierRows(), newNotifierBench, sound, badNotifiers)
}

// faultyNotifier is a Recorder with its methods replaced.
type faultyNotifier struct {
	*Recorder
	notify    func(context.Context, []worker.Status) error
	subscribe func(ctx context.Context, topic, after string) (<-chan worker.Event, error)
	reset     func(ctx context.Context, topics []string) error
}

func (n *faultyNotifier) Reset(ctx context.Context, topics ...string) error {
	if n.reset != nil {
		return n.reset(ctx, topics)
	}
	return n.Recorder.Reset(ctx, topics...)
}

func (n *faultyNotifier) Notify(ctx context.Context, statuses ...worker.Status) error {
	if n.notify != nil {
		return n.notify(ctx, statuses)
	}
	return n.Recorder.Notify(ctx, statuses...)
}

func (n *faultyNotifier) Subscribe(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
	if n.subscribe != nil {
		return n.subscribe(ctx, topic, after)
	}
	return n.Recorder.Subscribe(ctx, topic, after)
}

func faultyNotifiers(what string, spoil func(*faultyNotifier)) broken[worker.Notifier] {
	return broken[worker.Notifier]{what: what, open: func(*config) worker.Notifier {
		n := &faultyNotifier{Recorder: NewNotifier()}
		spoil(n)
		return n
	}}
}

func faultyResets(
	what string, reset func(n *faultyNotifier, ctx context.Context, topics []string) error,
) broken[worker.Notifier] {
	return faultyNotifiers(what, func(n *faultyNotifier) {
		n.reset = func(ctx context.Context, topics []string) error { return reset(n, ctx, topics) }
	})
}

// refusesTold refuses what it finds wrong.
func refusesTold(what string, wrong func([]worker.Status) bool) broken[worker.Notifier] {
	return faultyNotifiers(what, func(n *faultyNotifier) {
		n.Fault = func(_ context.Context, statuses []worker.Status) error {
			if wrong(statuses) {
				return errors.New("cannot be told")
			}
			return nil
		}
	})
}

// changesTold changes what is told.
func changesTold(what string, change func([]worker.Status) []worker.Status) broken[worker.Notifier] {
	return faultyNotifiers(what, func(n *faultyNotifier) {
		n.notify = func(ctx context.Context, statuses []worker.Status) error {
			return n.Recorder.Notify(ctx, change(slices.Clone(statuses))...)
		}
	})
}

// changesEvents passes events through change, which may drop or multiply them.
func changesEvents(what string, change func(worker.Event) []worker.Event) broken[worker.Notifier] {
	return faultyNotifiers(what, func(n *faultyNotifier) {
		n.subscribe = func(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
			in, err := n.Recorder.Subscribe(ctx, topic, after)
			out := make(chan worker.Event)
			go func() {
				defer close(out)
				for e := range in {
					for _, changed := range change(e) {
						if !send(ctx, out, changed) {
							return
						}
					}
				}
			}()
			return out, err
		}
	})
}

var (
	losesEvents = faultyNotifiers("loses every fifth call", func(n *faultyNotifier) {
		calls := 0
		n.notify = func(ctx context.Context, statuses []worker.Status) error {
			if calls++; calls%5 == 0 {
				return nil
			}
			return n.Recorder.Notify(ctx, statuses...)
		}
	})
	startsAtTheEnd = faultyNotifiers("replays nothing", func(n *faultyNotifier) {
		n.subscribe = func(ctx context.Context, topic, _ string) (<-chan worker.Event, error) {
			n.mu.Lock()
			last := ""
			if log := n.topicLocked(topic); len(log.events) > 0 {
				last = log.events[len(log.events)-1].Position
			}
			n.mu.Unlock()
			return n.Recorder.Subscribe(ctx, topic, last)
		}
	})
	startsAnew = faultyNotifiers("doesn't look at positions", func(n *faultyNotifier) {
		n.subscribe = func(ctx context.Context, topic, _ string) (<-chan worker.Event, error) {
			return n.Recorder.Subscribe(ctx, topic, "")
		}
	})
	repeatsPosition = faultyNotifiers("repeats the event at the position", func(n *faultyNotifier) {
		n.subscribe = func(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
			if after == "1" {
				after = ""
			}
			return n.Recorder.Subscribe(ctx, topic, strings.Replace(after, "4", "3", 1))
		}
	})
	neverCloses = faultyNotifiers("never closes the channel", func(n *faultyNotifier) {
		n.subscribe = func(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
			in, err := n.Recorder.Subscribe(ctx, topic, after)
			out := make(chan worker.Event)
			go func() {
				for e := range in {
					if !send(ctx, out, e) {
						return
					}
				}
			}()
			return out, err
		}
	})
)

var badNotifiers = map[string][]broken[worker.Notifier]{
	"one status": {refusesTold("knows three states", func(s []worker.Status) bool { return s[0].State == worker.StateRetrying })},
	"many statuses": {
		refusesTold("refuses large calls", func(s []worker.Status) bool { return len(s) > 100 }),
		refusesTold("takes one topic a call", func(s []worker.Status) bool { return len(s) > 1 && s[0].Topic != s[1].Topic }),
	},
	"no statuses":       {refusesTold("refuses calls without statuses", func(s []worker.Status) bool { return len(s) == 0 })},
	"awkward statuses":  {refusesTold("trips over line ends", func(s []worker.Status) bool { return strings.Contains(s[0].Message, "\n") })},
	"context of notify": {waitsForEver},
	"fields": {
		changesTold("cuts at line ends", func(s []worker.Status) []worker.Status {
			s[0].Message, _, _ = strings.Cut(s[0].Message, "\n")
			return s
		}),
		changesTold("loses results", func(s []worker.Status) []worker.Status { s[0].Result = nil; return s }),
		changesEvents("sends the status as plain bytes", func(e worker.Event) []worker.Event {
			return []worker.Event{{Position: e.Position, Plain: []byte("{}")}}
		}),
	},
	"order": {
		losesEvents,
		changesTold("tells the statuses of a call backwards", func(s []worker.Status) []worker.Status {
			slices.Reverse(s)
			return s
		}),
	},
	"replay": {startsAtTheEnd, startsAnew, repeatsPosition, losesEvents},
	"positions": {
		changesEvents("has no positions", func(e worker.Event) []worker.Event { e.Position = ""; return []worker.Event{e} }),
		changesEvents("has one position", func(e worker.Event) []worker.Event { e.Position = "1"; return []worker.Event{e} }),
	},
	"seam": {
		startsAtTheEnd, losesEvents,
		changesEvents("sends every event twice", func(e worker.Event) []worker.Event { return []worker.Event{e, e} }),
	},
	"caught up": {
		startsAtTheEnd,
		changesEvents("never catches up", func(e worker.Event) []worker.Event {
			if e.CaughtUp {
				return nil
			}
			return []worker.Event{e}
		}),
		changesEvents("catches up after every event", func(e worker.Event) []worker.Event {
			return []worker.Event{e, {Position: e.Position, CaughtUp: true}}
		}),
		changesEvents("catches up nowhere", func(e worker.Event) []worker.Event {
			if e.CaughtUp {
				e.Position = ""
			}
			return []worker.Event{e}
		}),
	},
	"every subscriber": {sharesEvents},
	"topics are separate": {
		changesTold("has one topic", func(s []worker.Status) []worker.Status {
			for i := range s {
				s[i].Topic = strings.TrimSuffix(s[i].Topic, "2")
			}
			return s
		}),
	},
	"stale status": {
		faultyNotifiers("tells stale statuses", func(n *faultyNotifier) {
			n.notify = func(_ context.Context, statuses []worker.Status) error {
				n.mu.Lock()
				defer n.mu.Unlock()
				for _, s := range statuses {
					n.topicLocked(s.Topic).append(worker.Event{Status: &s})
				}
				return nil
			}
		}),
	},
	"idle reader": {waitsForReaders},
	"reset": {
		changesEvents("tells nobody of resets", func(e worker.Event) []worker.Event {
			if e.Reset {
				return nil
			}
			return []worker.Event{e}
		}),
		faultyResets("resets all topics", func(n *faultyNotifier, ctx context.Context, topics []string) error {
			return n.Recorder.Reset(ctx, append(topics, topics[0]+"2")...)
		}),
	},
	"end":           {neverCloses},
	"lost position": {ignoresLostPositions},
}

var waitsForEver = faultyNotifiers("waits for an hour when its context has ended", func(n *faultyNotifier) {
	n.Fault = func(ctx context.Context, _ []worker.Status) error {
		if ctx.Err() != nil {
			rest(context.WithoutCancel(ctx), time.Hour)
		}
		return nil
	}
})

// sharesEvents has one channel for all subscribers of a topic.
var sharesEvents = faultyNotifiers("shares out events among subscribers", func(n *faultyNotifier) {
	var shared <-chan worker.Event
	n.subscribe = func(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
		if shared != nil {
			return shared, nil
		}
		var err error
		shared, err = n.Recorder.Subscribe(ctx, topic, after)
		return shared, err
	}
})

// waitsForReaders tells each subscriber before Notify returns.
var waitsForReaders = faultyNotifiers("waits for its readers", func(n *faultyNotifier) {
	var readers []chan worker.Event
	n.subscribe = func(ctx context.Context, _, _ string) (<-chan worker.Event, error) {
		reader := make(chan worker.Event)
		readers = append(readers, reader)
		closing := make(chan worker.Event)
		go func() {
			defer close(closing)
			for {
				select {
				case e := <-reader:
					send(ctx, closing, e)
				case <-ctx.Done():
					return
				}
			}
		}()
		return closing, nil
	}
	n.notify = func(ctx context.Context, statuses []worker.Status) error {
		for i := range statuses {
			for _, reader := range readers {
				if !send(ctx, reader, worker.Event{Position: "1", Status: &statuses[i]}) {
					return ctx.Err()
				}
			}
		}
		return nil
	}
})

// ignoresLostPositions takes a position that it doesn't have for the last one.
var ignoresLostPositions = faultyNotifiers("takes a lost position for the last one", func(n *faultyNotifier) {
	n.subscribe = func(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
		if strings.HasPrefix(after, "no") {
			after = "1"
		}
		return n.Recorder.Subscribe(ctx, topic, after)
	}
})
