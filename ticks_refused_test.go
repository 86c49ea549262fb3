package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// idOf is the id of the job of minutely's tick some minutes after a time.
func idOf(start time.Time, minutes int) string {
	return "ping@" + start.Add(time.Duration(minutes)*time.Minute).UTC().Format(time.RFC3339)
}

// onQueue is a pool's configuration with a schedule whose jobs are on a queue of their own.
func onQueue(queue string, missed worker.MissedPolicy) func(*worker.Config) {
	p := minutely(missed)
	p.Options = []worker.JobOption{worker.OnQueue(queue)}
	return func(c *worker.Config) {
		c.Periodic, c.Queues = []worker.Periodic{p}, map[string]worker.QueueConfig{"a": {}, "b": {}}
	}
}

// While a deployment moves a schedule to another queue, the status store sees to it that each tick runs once, on either.
func TestScheduleThatMovesToAnotherQueue(t *testing.T) {
	for _, missed := range []worker.MissedPolicy{worker.MissedSkip, worker.MissedOnce, worker.MissedAll} {
		t.Run(missed.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got ran
				begin := time.Now()
				older := newRig(t, got.handle, onQueue("a", missed)).start()
				older.after(2*time.Minute + 30*time.Second)
				book := &logbook{}
				newer := newRig(t, got.handle, onQueue("b", missed), func(c *worker.Config) {
					c.Queue, c.StatusStore, c.Logger = older.queue, older.store, slog.New(book)
				}).start()
				newer.after(5 * time.Minute)
				older.stop()
				newer.after(3 * time.Minute)
				newer.stop()
				minutes := got.minutes(begin)
				slices.Sort(minutes)
				assert.Equal(t, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, minutes)
				assert.Zero(t, book.count("a periodic job could not be enqueued: it is tried again"))
				assert.Equal(t, "b", older.last(idOf(begin, 10)).Queue)
			})
		})
	}
}

// olderPing is what the payload's type was before.
type olderPing struct{}

func (olderPing) JobType() string { return "older ping" }

// A replica that died between the row and the tick, before a deployment with another type of payload: its job runs by a
// sweep, and the schedule goes on with the next tick.
func TestScheduleWhosePayloadsTypeChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		var older []string
		start, book := time.Now(), &logbook{}
		r := newRig(t, got.handle, periodic(minutely(worker.MissedAll)), func(c *worker.Config) {
			c.Logger = slog.New(book)
			worker.Handle(c.Registry, func(_ context.Context, job *worker.Job, _ olderPing) error {
				older = append(older, job.ID)
				return nil
			})
		})
		job, err := worker.NewJob(olderPing{}, worker.WithID(idOf(start, 2)))
		require.NoError(t, err)
		st, err := worker.InitialStatus(job)
		require.NoError(t, err)
		r.save(st)
		r.start()
		r.after(5*time.Minute + time.Second)
		r.stop()
		assert.Equal(t, []float64{1, 3, 4, 5}, got.minutes(start))
		assert.Equal(t, []string{idOf(start, 2)}, older)
		assert.Equal(t, 1, book.count("a tick's job was refused for good: it is given up"))
	})
}

// A tick whose status the store refuses for good keeps no other one waiting.
func TestTickWhoseStatusIsRefusedForGood(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start, book := time.Now(), &logbook{}
		r := newRig(t, got.handle, periodic(minutely(worker.MissedAll)), func(c *worker.Config) { c.Logger = slog.New(book) })
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			for i := range statuses {
				if statuses[i].JobID == idOf(start, 2) {
					return worker.Permanent(errors.New("no such tenant"))
				}
			}
			return nil
		}
		r.start()
		r.after(4*time.Minute + time.Second)
		r.stop()
		assert.Equal(t, []float64{1, 3, 4}, got.minutes(start))
		assert.Equal(t, 1, book.count("a tick's job was refused for good: it is given up"))
	})
}

// To MissedSkip a status store that fails is like a Redis that doesn't answer.
func TestTicksWhileTheStatusStoreIsDown(t *testing.T) {
	for _, c := range []struct {
		missed worker.MissedPolicy
		down   time.Duration
		want   []float64
	}{
		{worker.MissedSkip, 50 * time.Second, []float64{60, 120}},
		{worker.MissedSkip, 61 * time.Second, []float64{120}},
		{worker.MissedOnce, 61 * time.Second, []float64{60, 120}},
	} {
		t.Run(fmt.Sprint(c.missed, c.down), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got ran
				start, book := time.Now(), &logbook{}
				p := minutely(c.missed)
				p.Schedule = worker.Every(time.Hour)
				r := newRig(t, got.handle, periodic(p), func(cfg *worker.Config) { cfg.Logger = slog.New(book) })
				r.store.Fault = func(context.Context, []worker.Status) error {
					if since := time.Since(start) - time.Hour; since >= 0 && since < c.down {
						return errors.New("down")
					}
					return nil
				}
				r.start()
				r.after(2*time.Hour + time.Second)
				r.stop()
				assert.Equal(t, c.want, got.minutes(start))
				assert.Equal(t, 2-len(c.want), book.count("ticks were missed and are skipped"))
			})
		})
	}
}
