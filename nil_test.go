package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func TestWhatIsNilIsSaidToBeMissing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1, worker.After(time.Hour))
		require.EqualError(t, r.pool.Client().Edit(t.Context(), job.ID, nil), `edit job "`+job.ID+`": change is missing`)
		_, ok := worker.TickOf(nil)
		require.False(t, ok)
	})
}
