package workertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"

	"github.com/real-staging-ai/go-worker"
)

// TestNotifier checks a worker.Notifier against its contract. open is called for each promise and may use t.Cleanup;
// the notifiers that it returns may share a server, as each promise is checked with topics and job ids of its own. What
// subscribers are promised is checked when the notifier is a worker.Subscriber as well, or WithSubscriber finds one.
func TestNotifier(t *testing.T, open func(t *testing.T) worker.Notifier, opts ...Option) {
	c := newConfig(opts)
	runRows(t, c, notifierRows(), func(t *testing.T) *notifierBench { return newNotifierBench(t, c, open(t)) })
}

// notifierRows is the contract of a worker.Notifier and a worker.Subscriber.
func notifierRows() []row[*notifierBench] { return slices.Concat(notifyRows, subscribeRows) }

// notifierBench is what a notifier's row works with.
type notifierBench struct {
	bench
	notifier worker.Notifier
	topic    string // one that is this row's own
}

func newNotifierBench(t tb, c config, n worker.Notifier) *notifierBench {
	return &notifierBench{bench: newBench(t, c), notifier: n, topic: "workertest:" + rand.Text()}
}

// status makes the nth status of a job on the row's topic.
func (b *notifierBench) status(job string, n int) worker.Status {
	s := versioned(b.topic+"/"+job, worker.StateRunning, 1, running, n)
	s.Topic = b.topic
	s.Message = fmt.Sprintf("%s %d", job, n)
	return s
}

// statuses makes n statuses of one job.
func (b *notifierBench) statuses(job string, n int) []worker.Status {
	all := make([]worker.Status, n)
	for i := range all {
		all[i] = b.status(job, i+1)
	}
	return all
}

// tell notifies of each status by itself.
func (b *notifierBench) tell(statuses ...worker.Status) {
	b.Helper()
	for _, s := range statuses {
		b.ok(b.notifier.Notify(b.ctx, s), "notify")
	}
}

// subscription is one reader of a topic.
type subscription struct {
	b      *notifierBench
	events <-chan worker.Event
	end    context.CancelFunc
}

// subscribe reads a topic; the row's end ends it. It skips the row if there is nobody to ask.
func (b *notifierBench) subscribe(topic, after string) *subscription {
	b.Helper()
	sub := &subscription{b: b}
	ctx, cancel := context.WithCancel(b.ctx)
	events, err := b.subscribable().Subscribe(ctx, topic, after)
	sub.events, sub.end = events, cancel
	b.Cleanup(func() {
		cancel()
		if events != nil {
			sub.drain()
		}
	})
	b.ok(err, "subscribe")
	return sub
}

func (b *notifierBench) subscribable() worker.Subscriber {
	if b.subscriber != nil {
		return b.subscriber(b.notifier)
	}
	s, ok := b.notifier.(worker.Subscriber)
	if !ok {
		b.Skipf("the notifier is not a Subscriber, and there is no option WithSubscriber")
	}
	return s
}

// event waits for the next event, CaughtUp apart.
func (s *subscription) event() worker.Event {
	s.b.Helper()
	for {
		if e := received(s.b.bench, s.events, "a subscription"); !e.CaughtUp {
			return e
		}
	}
}

// reads fails the row unless the next events are these statuses, and returns the position of the last.
func (s *subscription) reads(want ...worker.Status) string {
	s.b.Helper()
	position := ""
	for i := range want {
		e := s.event()
		if e.Status == nil {
			s.b.Fatalf("event %d is %+v, want %q", i+1, e, want[i].Message)
		}
		if e.Status.JobID != want[i].JobID || e.Status.Version != want[i].Version {
			s.b.Fatalf("event %d is %q, want %q", i+1, e.Status.Message, want[i].Message)
		}
		position = e.Position
	}
	return position
}

// drain reads until the channel is closed, and tells whether that came soon.
func (s *subscription) drain() bool {
	ctx, cancel := context.WithTimeout(context.Background(), s.b.patience)
	defer cancel()
	for {
		select {
		case _, open := <-s.events:
			if !open {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}
