package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// What a handler leaves behind hears that its job has ended, and nothing else afterwards.
func TestAJobsContextEndsWithIt(t *testing.T) {
	for name, with := range map[string]func(*worker.Config){"store": func(*worker.Config) {}, "no store": withoutStore} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var kept context.Context
				r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
					kept = ctx
					end, ok := ctx.Deadline()
					assert.True(t, ok)
					assert.Equal(t, time.Hour, time.Until(end), "all of its time is left")
					time.Sleep(time.Second)
					return ctx.Err()
				}, with, func(c *worker.Config) { c.JobTimeout = time.Hour })
				r.store.Fault = func(context.Context, []worker.Status) error {
					time.Sleep(3 * time.Second) // which is not the handler's
					return nil
				}
				r.start()
				r.enqueue(1)
				r.after(time.Minute)
				require.NotNil(t, kept)
				require.ErrorIs(t, kept.Err(), context.Canceled)
				r.after(2 * time.Hour)
				assert.Equal(t, context.Canceled, kept.Err(), "its time doesn't run out any more")
				assert.Equal(t, context.Canceled, context.Cause(kept))
				r.stop()
			})
		})
	}
}
