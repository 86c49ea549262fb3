package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// The model's store decides as Status.Supersedes does, for every two statuses of a job.
func TestTheStoreDecidesAsTheRealOne(t *testing.T) {
	real := map[rowState]worker.State{
		waiting: worker.StateQueued, running: worker.StateRunning, retrying: worker.StateRetrying,
		succeeded: worker.StateSucceeded, failed: worker.StateFailed, canceled: worker.StateCanceled,
	}
	phases := map[rowState]uint8{waiting: phaseWaiting, running: phaseRunning, retrying: phasePutBack}
	var all []row
	for state := range real {
		phase, ok := phases[state]
		if !ok {
			phase = phaseFinal
		}
		for token := range token(4) {
			all = append(all, row{state, token, phase})
		}
	}
	status := func(r row) *worker.Status {
		return &worker.Status{State: real[r.state], Version: int64(r.token)<<14 | int64(r.phase)<<12}
	}
	m := machine{}
	for _, was := range all {
		for _, st := range all {
			require.Equalf(t, status(st).Supersedes(status(was)), m.supersedes(st, was), "%v after %v", st, was)
		}
	}
}
