package workertest

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// resumesAfter makes a backend whose pauses end d after they were to.
func resumesAfter(d time.Duration) broken[worker.Queue] {
	return pauses("resumes after "+d.String(), func(q *MemoryQueue, l *lane, paused bool) {
		if paused {
			return
		}
		l.paused = true
		time.AfterFunc(d, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			l.paused = false
			l.signal()
		})
	})
}

// revokesAfter makes a backend that tells of cancels d after they came.
func revokesAfter(d time.Duration) broken[worker.Queue] {
	return spoilsEntry("revokes after "+d.String(), func(q *MemoryQueue, _ *lane, e *entry, _ string) {
		holder, late := e.holder, <-e.holder.revoked
		time.AfterFunc(d, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			holder.revokeLocked(late)
		})
	})
}

// inRealTime shows a backend to the rows as it is outside of a bubble, and with the patience that there is by default.
func inRealTime(b broken[worker.Queue]) broken[worker.Queue] {
	open := b.open
	b.what += ", in real time"
	b.open = func(c *config) worker.Queue {
		c.bubble, c.patience = false, newConfig(nil).patience
		return open(c)
	}
	return b
}
