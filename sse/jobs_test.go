package sse

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
)

func TestOpensRound(t *testing.T) {
	for token := range int64(4) {
		for phase := range int64(4) {
			for _, sequence := range []int64{0, 1, 4095} {
				st := &worker.Status{Version: token<<14 | phase<<12 | sequence, State: worker.StateQueued}
				assert.Equal(t, phase == 0, opensRound(st), "%d.%d.%d", token, phase, sequence)
			}
		}
	}
}

func TestNewer(t *testing.T) {
	at := func(state worker.State, token, phase int64) *worker.Status {
		return &worker.Status{State: state, Version: token<<14 | phase<<12}
	}
	running := at(worker.StateRunning, 3, 1)
	for _, c := range [...]struct {
		name     string
		st, last *worker.Status
		want     bool
	}{
		{name: "first", st: running, want: true},
		{name: "same", st: running, last: running},
		{name: "older claim", st: at(worker.StateRunning, 2, 1), last: running},
		{name: "later claim", st: at(worker.StateRunning, 4, 1), last: running, want: true},
		{name: "requeue that was missed", st: at(worker.StateRunning, 5, 1), last: at(worker.StateFailed, 3, 3), want: true},
		{name: "after success", st: at(worker.StateRunning, 5, 1), last: at(worker.StateSucceeded, 3, 3)},
		{name: "enqueued after a refusal", st: at(worker.StateQueued, 0, 0), last: at(worker.StateFailed, 0, 3), want: true},
	} {
		assert.Equal(t, c.want, newer(c.st, c.last), c.name)
	}
}
