package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func TestDelete(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, stored := range []bool{true, false} {
			r := newRig(t, nil, func(c *worker.Config) {
				worker.Handle(c.Registry, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) })
				if !stored {
					c.StatusStore = nil
				}
			})
			client := r.pool.Client()
			dead := r.enqueue(1)
			r.start()
			r.after(time.Second)
			r.stop()
			waiting, scheduled := r.enqueue(2), r.enqueue(3, worker.After(time.Hour))
			for _, job := range []*worker.Job{dead, waiting, scheduled} {
				require.NoError(t, client.Delete(t.Context(), job.ID))
				require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", job.ID))
				if stored {
					require.True(t, r.last(job.ID).State.Final())
					require.NoError(t, client.Delete(t.Context(), job.ID), "twice is once")
				} else {
					require.ErrorIs(t, client.Delete(t.Context(), job.ID), worker.ErrJobNotFound)
				}
			}
			require.ErrorIs(t, client.Delete(t.Context(), "nobody's"), worker.ErrJobNotFound)
			if stored {
				n, err := client.Sweep(t.Context())
				require.NoError(t, err)
				require.Zero(t, n)
				time.Sleep(time.Hour)
				n, err = client.Sweep(t.Context())
				require.NoError(t, err)
				require.Zero(t, n, "what was deleted is over in the store")
				require.Equal(t, worker.StateFailed, r.last(dead.ID).State)
				require.Equal(t, worker.StateCanceled, r.last(waiting.ID).State)
			}
		}
	})
}

// A dead job whose end the store doesn't have would be enqueued by a sweep once the queue has forgotten it.
func TestDeleteRecordsTheEndOfADeadJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) })
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			for _, st := range statuses {
				if st.State == worker.StateFailed {
					return worker.Permanent(errors.New("not this"))
				}
			}
			return nil
		}
		r.start()
		job := r.enqueue(1)
		r.after(time.Second)
		r.stop()
		require.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		require.False(t, r.last(job.ID).State.Final())
		require.NoError(t, r.pool.Client().Delete(t.Context(), job.ID))
		require.True(t, r.last(job.ID).State.Final())
	})
}

func TestRequeueDead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mended atomic.Bool
		r := newRig(t, func(_ context.Context, _ *worker.Job, p ping) error {
			if !mended.Load() || p.N == 5 {
				return worker.Permanent(errFlaky)
			}
			return nil
		}).start()
		for n := range 250 {
			r.enqueue(n)
		}
		r.after(time.Minute)
		require.Equal(t, 250, r.queue.Count("default", worker.PlaceDead))
		mended.Store(true)
		client := r.pool.Client()
		even := func(info *worker.JobInfo) bool {
			var p ping
			require.NoError(t, json.Unmarshal(info.Job.Payload, &p))
			return p.N%2 == 0
		}
		n, err := client.RequeueDead(t.Context(), "default", even)
		require.NoError(t, err)
		require.Equal(t, 125, n)
		r.after(time.Minute)
		require.Equal(t, 125, r.queue.Count("default", worker.PlaceDead))
		n, err = client.RequeueDead(t.Context(), "default", nil)
		require.NoError(t, err)
		require.Equal(t, 125, n, "one that dies again meanwhile isn't reopened again")
		r.after(time.Minute)
		require.Equal(t, 1, r.queue.Count("default", worker.PlaceDead))
		r.stop()
	})
}

func TestPurge(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client := r.pool.Client()
		var ids []string
		for n := range 250 {
			ids = append(ids, r.enqueue(n).ID)
			r.enqueue(n, worker.After(time.Hour))
		}
		n, err := client.Purge(t.Context(), "default", worker.PlaceWaiting, nil)
		require.NoError(t, err)
		require.Equal(t, 250, n)
		require.Equal(t, 250, r.queue.Count("default", worker.PlaceWaiting), "the scheduled ones")
		require.Equal(t, worker.StateCanceled, r.last(ids[0]).State)
		n, err = client.Purge(t.Context(), "default", worker.PlaceScheduled, nil)
		require.NoError(t, err)
		require.Equal(t, 250, n)
		_, err = client.Purge(t.Context(), "default", worker.PlaceHeld, nil)
		require.Error(t, err)
	})
}

// Jobs that are claimed while a purge goes on run; the others go.
func TestPurgePassesOverWhatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-hold; return nil })
		for n := range 10 {
			r.enqueue(n)
		}
		started := false
		n, err := r.pool.Client().Purge(t.Context(), "default", worker.PlaceWaiting, func(*worker.JobInfo) bool {
			if !started {
				started = true
				r.start()
				r.after(time.Second)
			}
			return true
		})
		require.NoError(t, err)
		require.Equal(t, 6, n)
		require.Equal(t, 4, r.queue.Count("default", worker.PlaceHeld))
		close(hold)
		r.after(time.Second)
		r.stop()
	})
}

// bare is a queue without powers.
type bare struct{ worker.Queue }

func TestManagingNeedsPowers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = bare{c.Queue} })
		client := r.pool.Client()
		require.ErrorIs(t, client.Edit(t.Context(), "x", setPayload(1)), errors.ErrUnsupported)
		require.ErrorIs(t, client.RunNow(t.Context(), "x"), errors.ErrUnsupported)
		require.ErrorIs(t, client.Delete(t.Context(), "x"), errors.ErrUnsupported)
		_, err := client.RequeueDead(t.Context(), "default", nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = client.Purge(t.Context(), "default", worker.PlaceDead, nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
	})
}

func TestWorkersTellTheirProcess(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, name := range []string{"", "resizer"} {
			r := newRig(t, noop, func(c *worker.Config) { c.Name = name }).start()
			activity, err := r.queue.Activity(t.Context(), "default")
			require.NoError(t, err)
			require.Len(t, activity.Workers, 1)
			host, err := os.Hostname()
			require.NoError(t, err)
			want := worker.Process{Name: name, Host: host, PID: os.Getpid(), Started: activity.Workers[0].Process.Started}
			if name == "" {
				want.Name = host + ":" + strconv.Itoa(os.Getpid())
			}
			require.Equal(t, want, activity.Workers[0].Process)
			require.WithinDuration(t, time.Now(), want.Started, time.Second)
			r.stop()
		}
		_, err := worker.NewPool(worker.Config{Backend: worker.Backend{Queue: newRig(t, noop).queue}, Name: "a\nb",
			Registry: worker.NewRegistry()})
		require.ErrorContains(t, err, "Name")
	})
}
