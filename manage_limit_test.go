package worker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// A client may have a smaller limit than the one that enqueued a job: what it leaves alone it need not like.
func TestEditLeavesAPayloadAboveTheClientsLimit(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1000, worker.After(time.Hour))
		backend := r.cfg.Backend
		backend.MaxPayload = len(job.Payload) - 1
		client, err := worker.NewClient(backend)
		require.NoError(t, err)
		require.NoError(t, client.Edit(t.Context(), job.ID, func(job *worker.Job) error { job.Timeout = time.Minute; return nil }))
		require.ErrorContains(t, client.Edit(t.Context(), job.ID, func(job *worker.Job) error {
			job.Payload = json.RawMessage(strings.Repeat(" ", len(job.Payload)) + "1")
			return nil
		}), "payload has 11 bytes: the limit is 10")
		require.NoError(t, client.RunNow(t.Context(), job.ID))
		r.start()
		r.quiet()
		require.Equal(t, succeeded, r.last(job.ID).State)
		r.stop()
	})
}
