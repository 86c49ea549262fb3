package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func TestOnProgressHearsAll(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var heard []string
		hears := func(name string) worker.Middleware {
			return func(next worker.Handler) worker.Handler {
				return func(ctx context.Context, job *worker.Job) error {
					job.OnProgress(func(fraction float64, message string) {
						heard = append(heard, fmt.Sprint(name, " ", fraction, " ", message))
					})
					return next(ctx, job)
				}
			}
		}
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			job.Progress(0.5, "half way")
			job.Progress(2, "there")
			return nil
		}, func(c *worker.Config) { c.Registry.Use(hears("outer"), hears("inner")) }).start()
		job := r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, []string{"outer 0.5 half way", "inner 0.5 half way", "outer 2 there", "inner 2 there"}, heard)
		assert.Equal(t, "there", r.last(job.ID).Message, "it is saved all the same")
		r.stop()
	})
}

// A job that no pool runs has listeners, too.
func TestOnProgressOfABareJob(t *testing.T) {
	job, err := worker.NewJob(ping{1})
	require.NoError(t, err)
	job.Progress(0.1, "nobody listens")
	var heard []float64
	job.OnProgress(func(fraction float64, _ string) { heard = append(heard, fraction) })
	job.Progress(0.2, "")
	assert.Equal(t, []float64{0.2}, heard)
}

// Two copies of a registry, each with middleware of its own, don't get in each other's way.
func TestUseOnACopyOfARegistry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var calls []string
		wrap := func(name string) worker.Middleware {
			return func(next worker.Handler) worker.Handler {
				return func(ctx context.Context, job *worker.Job) error {
					calls = append(calls, name)
					return next(ctx, job)
				}
			}
		}
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil }, func(c *worker.Config) {
			for range 3 { // room for more in the slice
				c.Registry.Use(wrap("shared"))
			}
			one, other := *c.Registry, *c.Registry
			one.Use(wrap("one"))
			other.Use(wrap("other"))
			c.Registry = &one
		}).start()
		r.enqueue(1)
		r.quiet()
		assert.Equal(t, []string{"shared", "shared", "shared", "one"}, calls)
		r.stop()
	})
}
