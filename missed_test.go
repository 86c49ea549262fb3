package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// outage is a Recorder that cannot be reached for a while.
type outage struct {
	*workertest.Recorder
	down   atomic.Bool
	resets atomic.Int32
}

func (o *outage) Notify(ctx context.Context, statuses ...worker.Status) error {
	if o.down.Load() {
		return errors.New("down")
	}
	return o.Recorder.Notify(ctx, statuses...)
}

func (o *outage) Reset(ctx context.Context, topics ...string) error {
	o.resets.Add(1)
	if o.down.Load() {
		return errors.New("down")
	}
	return o.Recorder.Reset(ctx, topics...)
}

// kinds reads what a topic's log holds: R for a Reset, else the state.
func kinds(t *testing.T, s worker.Subscriber, topic string) (found []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := s.Subscribe(ctx, topic, "")
	require.NoError(t, err)
	for e := range events {
		switch {
		case e.CaughtUp:
			return found
		case e.Reset:
			found = append(found, "R")
		default:
			found = append(found, string(e.Status.State))
		}
	}
	return found
}

// No other status may ever come for a topic whose news were dropped: its readers are sent to a snapshot as soon as the
// notifier works again, however long that takes.
func TestReadersHearThatNewsWereDropped(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := &outage{Recorder: workertest.NewNotifier()}
		r := newRig(t, noop, func(c *worker.Config) { c.Notifier = o }).start()
		before := r.enqueue(1)
		r.after(time.Second)
		o.down.Store(true)
		during := r.enqueue(2)
		r.after(20 * time.Minute)
		tries := o.resets.Load()
		assert.Greater(t, tries, int32(15))
		assert.Less(t, tries, int32(60))
		o.down.Store(false)
		r.after(time.Minute)
		assert.Equal(t, []string{"R"}, kinds(t, o, during.Topic))
		assert.Equal(t, []string{"queued", "running", "succeeded"}, kinds(t, o, before.Topic))
		tries = o.resets.Load()
		r.after(time.Hour)
		assert.Equal(t, tries, o.resets.Load(), "once is enough")
		r.stop()
	})
}

// A working notifier is told at once, by whatever status comes next.
func TestResetsDoNotWaitOnceTheNotifierWorks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := &outage{Recorder: workertest.NewNotifier()}
		r := newRig(t, noop, func(c *worker.Config) { c.Notifier = o }).start()
		o.down.Store(true)
		during := r.enqueue(1)
		r.after(20 * time.Minute)
		o.down.Store(false)
		r.enqueue(2)
		r.after(time.Millisecond)
		assert.Equal(t, []string{"R"}, kinds(t, o, during.Topic))
		r.stop()
	})
}

func TestReadersHearThatTheLaneDroppedNews(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := &outage{Recorder: workertest.NewNotifier()}
		gate := make(chan struct{})
		o.Fault = func(context.Context, []worker.Status) error { <-gate; return nil }
		r := newRig(t, nil, func(c *worker.Config) { c.Notifier = o })
		for n := range 4200 {
			r.enqueue(n, worker.WithTopic(fmt.Sprint("topic", n)))
			if n == 0 {
				r.quiet() // the first one is under way
			}
		}
		close(gate)
		r.after(2 * time.Second)
		assert.Equal(t, []string{"queued"}, kinds(t, o, "topic0"), "it got through")
		assert.Equal(t, []string{"R"}, kinds(t, o, "topic1"))
		assert.Equal(t, []string{"queued"}, kinds(t, o, "topic4199"))
	})
}

func TestStoppedPoolTriesNoMoreResets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		o := &outage{Recorder: workertest.NewNotifier()}
		o.down.Store(true)
		r := newRig(t, noop, func(c *worker.Config) { c.Notifier = o }).start()
		r.enqueue(1)
		r.after(time.Minute)
		r.stop()
		tries := o.resets.Load()
		r.after(time.Hour)
		assert.Equal(t, tries, o.resets.Load())
	})
}
