package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
)

// A job whose key cannot be freed for a while may be too late when it can.
func TestAJobThatExpiresBeforeItsKeyIsFreeIsNotRun(t *testing.T) {
	for name, change := range map[string]func(*worker.Config){"with a store": func(*worker.Config) {}, "without": withoutStore} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got given
				r := newRig(t, got.handle, change)
				var up atomic.Bool
				r.queue.Fault = func(_ context.Context, call string) error {
					if call == "Unlock" && !up.Load() {
						return errFlaky
					}
					return nil
				}
				late := r.enqueue(1, worker.UniqueBy("late", worker.UniquePolicy{Until: worker.UntilStarted}), worker.ExpireAfter(20*time.Second))
				soon := r.enqueue(2, worker.UniqueBy("soon", worker.UniquePolicy{Until: worker.UntilStarted}), worker.ExpireAfter(time.Hour))
				r.start()
				defer r.stop()
				r.after(30 * time.Second)
				up.Store(true)
				r.after(30 * time.Second)
				assert.Equal(t, []int{2}, got.all())
				assert.Equal(t, worker.StateFailed, r.toldStates(late.ID)[len(r.toldStates(late.ID))-1])
				assert.Equal(t, worker.PlaceDead, r.queue.Place("default", late.ID))
				assert.Equal(t, worker.PlaceUnknown, r.queue.Place("default", soon.ID))
			})
		})
	}
}
