package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// What a worker could not apply, as the job is already where it is, is no option of a handler.
func TestAHandlersOptionsAreThoseOfItsAttempts(t *testing.T) {
	for field, option := range map[string]worker.JobOption{
		"":          worker.WithRetry(worker.RetryPolicy{MaxAttempts: 3, Window: time.Hour}),
		"ID":        worker.WithID("1"),
		"Queue":     worker.OnQueue("x"),
		"Topic":     worker.WithTopic("x"),
		"Key":       worker.WithKey("x"),
		"Headers":   worker.WithHeader("a", "b"),
		"Unique":    worker.UniqueBy("x", worker.UniquePolicy{}),
		"Delay":     worker.After(time.Second),
		"RunAt":     worker.At(time.Now()),
		"ExpiresAt": worker.ExpireAfter(time.Second),
	} {
		t.Run(field, func(t *testing.T) {
			registry := worker.NewRegistry()
			worker.Handle(registry, noop, option)
			_, err := worker.NewPool(worker.Config{Backend: worker.Backend{Queue: workertest.NewQueue()}, Registry: registry})
			if field == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, `defaults for "ping": `+field+" is set")
		})
	}
}
