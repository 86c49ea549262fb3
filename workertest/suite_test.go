package workertest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// The backends in memory pass as a third party's would: through the exported functions, in a bubble and out of it.

func TestMemoryQueue(t *testing.T) {
	t.Run("in bubble", func(t *testing.T) {
		var q *MemoryQueue
		open := func(*testing.T) worker.Queue { q = NewQueue(); return q }
		TestQueue(t, open, InBubble(), WithCrash(11*time.Second, func(c worker.Consumer) { q.Crash(c) }),
			WithRaw(func(queue, id string, body []byte) error { q.EnqueueRaw(queue, id, body); return nil }))
	})
	t.Run("with a clock that is moved", func(t *testing.T) {
		var clock *Clock
		var q *MemoryQueue
		open := func(*testing.T) worker.Queue {
			clock = NewClock()
			q = &MemoryQueue{Clock: clock}
			return q
		}
		TestQueue(t, open, InBubble(), WithClock(func(d time.Duration) { clock.Advance(d) }),
			WithCrash(11*time.Second, func(c worker.Consumer) { q.Crash(c) }))
	})
	t.Run("in real time", func(t *testing.T) {
		var q *MemoryQueue
		open := func(*testing.T) worker.Queue { q = &MemoryQueue{Lease: 50 * time.Millisecond}; return q }
		TestQueue(t, open, WithCrash(100*time.Millisecond, func(c worker.Consumer) { q.Crash(c) }))
	})
}

// plainQueue is a queue without optional powers.
type plainQueue struct{ worker.Queue }

func TestQueueWithoutOptions(t *testing.T) {
	TestQueue(t, func(*testing.T) worker.Queue { return plainQueue{NewQueue()} }, InBubble())
}

func TestMemoryStatusStore(t *testing.T) {
	TestStatusStore(t, func(*testing.T) worker.StatusStore { return NewStatusStore() })
}

func TestRecorder(t *testing.T) {
	open := func(*testing.T) worker.Notifier { return NewNotifier() }
	t.Run("in real time", func(t *testing.T) { TestNotifier(t, open) })
	t.Run("in bubble", func(t *testing.T) { TestNotifier(t, open, InBubble()) })
	t.Run("with a subscriber of its own", func(t *testing.T) {
		var r *Recorder
		TestNotifier(t, func(*testing.T) worker.Notifier {
			r = NewNotifier()
			return worker.NotifierFunc(r.Notify)
		}, WithSubscriber(func(worker.Notifier) worker.Subscriber { return r }))
	})
	t.Run("without a subscriber", func(t *testing.T) {
		TestNotifier(t, func(*testing.T) worker.Notifier { return worker.NotifierFunc(NewNotifier().Notify) })
	})
}

// TestFailurePrintsPromise runs this test binary once more on a queue that breaks a promise.
func TestFailurePrintsPromise(t *testing.T) {
	const self = "WORKERTEST_BROKEN"
	if os.Getenv(self) != "" {
		c := config{}
		TestQueue(t, func(*testing.T) worker.Queue { return enqueuesTwice.open(&c) }, InBubble())
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFailurePrintsPromise$/^twice_while_held$")
	cmd.Env = append(os.Environ(), self+"=yes")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the suite passed on a broken queue:\n%s", out)
	}
	for _, want := range []string{
		"the promise: enqueueing the id of a job that runs leaves it as it is, without an error",
		"queue_enqueue.go:", "it is held already",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}
