package worker_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestStoreDownStopsClaimsAndKeepsOutcomes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		var runs atomic.Int32
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			runs.Add(1)
			time.Sleep(2 * time.Second)
			return nil
		}, func(c *worker.Config) { c.Concurrency = 2 })
		r.store.Fault = func(context.Context, []worker.Status) error {
			if down.Load() {
				return errors.New("database is down")
			}
			return nil
		}
		jobs := []*worker.Job{r.enqueue(0), r.enqueue(1), r.enqueue(2), r.enqueue(3), r.enqueue(4), r.enqueue(5)}
		r.start()
		r.after(time.Second)
		down.Store(true)
		r.after(30 * time.Second)
		assert.EqualValues(t, 2, runs.Load(), "nothing new starts")
		for _, job := range jobs[2:] {
			assert.Equal(t, worker.PlaceWaiting, r.queue.Place("default", job.ID), "what was claimed but not started went back")
		}
		assert.Equal(t, worker.PlaceHeld, r.queue.Place("default", jobs[0].ID), "the outcome waits in memory")
		down.Store(false)
		r.after(30 * time.Second)
		for _, job := range jobs {
			assert.Equal(t, []worker.State{queued, running, succeeded}, r.states(job.ID))
		}
		assert.EqualValues(t, 6, runs.Load(), "none runs twice")
		r.stop()
	})
}

func TestStopWhileTheStoreIsDownGivesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var down atomic.Bool
		r := newRig(t, func(context.Context, *worker.Job, ping) error { down.Store(true); return nil })
		r.store.Fault = func(context.Context, []worker.Status) error {
			if down.Load() {
				return errors.New("database is down")
			}
			return nil
		}
		r.start()
		job := r.enqueue(1)
		r.after(time.Second)
		require.NoError(t, r.pool.Stop(context.Background()))
		assert.Equal(t, worker.PlaceWaiting, r.queue.Place("default", job.ID))
		assert.Equal(t, running, r.last(job.ID).State)
	})
}

func TestOneStatusRefusedForItsDataHarmsNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			_ = job.SetResult(strings.Repeat("x", p.N))
			return nil
		}, func(c *worker.Config) { c.Concurrency = 8 })
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			for _, st := range statuses {
				if len(st.Result) > 1000 {
					return worker.Permanent(errors.New("value too long"))
				}
			}
			return nil
		}
		var small []*worker.Job
		for i := range 7 {
			small = append(small, r.enqueue(i))
		}
		big := r.enqueue(2000)
		r.start()
		r.after(time.Second)
		for _, job := range small {
			assert.Equal(t, succeeded, r.last(job.ID).State)
		}
		st := r.last(big.ID)
		assert.Equal(t, succeeded, st.State)
		assert.Empty(t, st.Result)
		assert.Contains(t, st.Error, "value too long")
		r.stop()
	})
}

func TestStatusThatTheStoreNeverTakesBuriesTheJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		runs := 0
		r := newRig(t, func(context.Context, *worker.Job, ping) error { runs++; return nil })
		job := r.enqueue(1)
		r.store.Fault = func(context.Context, []worker.Status) error { return worker.Permanent(errors.New("no such column")) }
		r.start()
		r.after(time.Second)
		assert.Equal(t, 1, runs, "a refused running is skipped and the job runs")
		assert.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		assert.Equal(t, succeeded, r.toldStates(job.ID)[1], "and the user is told")
		r.stop()
	})
}

func TestJobThatIsOverForTheHostIsNotRun(t *testing.T) {
	for _, tt := range []struct {
		state worker.State
		place worker.Place
	}{{succeeded, worker.PlaceUnknown}, {failed, worker.PlaceDead}, {canceled, worker.PlaceDead}} {
		t.Run(string(tt.state), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *worker.Job, ping) error { panic("not called") })
				job := r.enqueue(1)
				_, err := r.store.Save(t.Context(), worker.Status{JobID: job.ID, Type: "ping", Queue: "default",
					Topic: job.Topic, State: tt.state, Version: 1<<62 | 3<<12})
				require.NoError(t, err)
				r.start()
				r.after(time.Second)
				assert.Equal(t, tt.place, r.queue.Place("default", job.ID))
				assert.Equal(t, []worker.State{queued, tt.state}, r.toldStates(job.ID), "the row is announced again")
				r.stop()
			})
		})
	}
}

func TestStaleClaimIsGivenUpAndRunsUnderALargerToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1)
		const later = 5000
		_, err := r.store.Save(t.Context(), worker.Status{JobID: job.ID, Type: "ping", Queue: "default", Topic: job.Topic,
			State: running, Version: later<<14 | 1<<12})
		require.NoError(t, err)
		r.start()
		r.after(time.Minute)
		st := r.last(job.ID)
		assert.Equal(t, succeeded, st.State)
		assert.Greater(t, st.Token(), int64(later))
		r.stop()
	})
}

func TestHostsCancelInTheStoreStopsTheHandler(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			for ctx.Err() == nil {
				job.Progress(0.5, "on my way")
				time.Sleep(time.Second)
			}
			assert.ErrorIs(t, context.Cause(ctx), worker.ErrCanceled)
			return ctx.Err()
		}).start()
		job := r.enqueue(1)
		r.after(3 * time.Second)
		_, err := r.store.Save(t.Context(), worker.Status{JobID: job.ID, Type: "ping", Queue: "default", Topic: job.Topic,
			State: canceled, Version: 1<<62 | 3<<12})
		require.NoError(t, err)
		r.after(3 * time.Second)
		assert.Equal(t, canceled, r.last(job.ID).State)
		assert.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		r.stop()
	})
}

func TestStatusesAreSavedInBatchesOfOnePerJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			job.Progress(0.1, "begun")
			return nil
		}, func(c *worker.Config) { c.Concurrency = 100 })
		var mu sync.Mutex
		most, calls, together := 0, 0, 0
		saving := map[string]bool{}
		note := func(statuses []worker.Status, begins int) {
			mu.Lock()
			defer mu.Unlock()
			most, calls = max(most, len(statuses)), calls+begins
			together = max(together, calls)
			for _, st := range statuses {
				assert.Equal(t, begins < 0, saving[st.JobID], "one status per job in a call, and in all that are under way")
				saving[st.JobID] = begins > 0
			}
		}
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			note(statuses, 1)
			defer note(statuses, -1)
			time.Sleep(time.Millisecond)
			return nil
		}
		jobs := make([]*worker.Job, 300)
		for i := range jobs {
			jobs[i] = r.enqueue(i)
		}
		r.start()
		r.after(time.Minute)
		assert.Zero(t, r.queue.Count("default", worker.PlaceHeld)+r.queue.Count("default", worker.PlaceWaiting))
		assert.Greater(t, most, 20)
		assert.Equal(t, 2, together)
		r.stop()
		for _, job := range jobs {
			told := r.told.Of(job.ID)
			assert.True(t, slices.IsSortedFunc(told, func(a, b worker.Status) int { return cmp.Compare(a.Version, b.Version) }))
			assert.True(t, told[len(told)-1].State.Final())
		}
	})
}

func TestNotifierThatHangsPanicsOrFailsHarmsNoJob(t *testing.T) {
	faults := map[string]func(ctx context.Context, _ []worker.Status) error{
		"hangs":  func(ctx context.Context, _ []worker.Status) error { <-ctx.Done(); return ctx.Err() },
		"panics": func(context.Context, []worker.Status) error { panic("ouch") },
		"fails":  func(context.Context, []worker.Status) error { return errFlaky },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, noop)
				r.told.Fault = fault
				r.start()
				job := r.enqueue(1)
				r.quiet()
				assert.Equal(t, succeeded, r.last(job.ID).State)
				r.stop()
				r.after(time.Minute)
			})
		})
	}
}

// tersely is a store that doesn't say what it holds.
type tersely struct{ *workertest.MemoryStatusStore }

func (s *tersely) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	saved, err := s.MemoryStatusStore.Save(ctx, statuses...)
	for i := range saved {
		saved[i].Row = nil
	}
	return saved, err
}

// Who recorded the end may have died before it told of it. A store that keeps no whole statuses can't say how the job
// ended, so its readers are sent to a snapshot.
func TestAnEndThatTheStoreDoesNotDescribeIsToldAsAReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &tersely{workertest.NewStatusStore()}
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil },
			func(c *worker.Config) { c.StatusStore = store })
		r.store = store.MemoryStatusStore
		job := r.enqueue(1)
		over := *r.last(job.ID)
		over.State, over.Version = worker.StateSucceeded, 1<<14|3<<12
		r.save(over)
		events, err := r.told.Subscribe(t.Context(), job.Topic, "")
		require.NoError(t, err)
		r.start()
		defer r.stop()
		for e := range events {
			if e.Reset {
				break
			}
			require.True(t, e.CaughtUp || e.Status.State == worker.StateQueued, "%+v", e)
		}
		r.quiet()
		assert.Equal(t, worker.PlaceUnknown, r.queue.Place(worker.DefaultQueue, job.ID))
	})
}

func TestAPlainNotifierHearsNothingOfResets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &tersely{workertest.NewStatusStore()}
		var told []worker.State
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil }, func(c *worker.Config) {
			c.StatusStore = store
			c.Notifier = worker.NotifierFunc(func(_ context.Context, statuses ...worker.Status) error {
				for _, st := range statuses {
					told = append(told, st.State)
				}
				return nil
			})
		})
		r.store = store.MemoryStatusStore
		job := r.enqueue(1)
		over := *r.last(job.ID)
		over.State, over.Version = worker.StateSucceeded, 1<<14|3<<12
		r.save(over)
		r.start()
		r.quiet()
		r.stop()
		assert.Equal(t, []worker.State{worker.StateQueued}, told)
	})
}

// A row with a token that no clock could have given costs its own job, and no other: theirs go on being counted from
// the queue's own.
func TestARowFromTheFutureHarmsNoOtherJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var tokens []int64
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			tokens = append(tokens, job.Token)
			return nil
		}, func(c *worker.Config) { c.Concurrency = 1 })
		edited := r.enqueue(1)
		row := *r.last(edited.ID)
		row.State, row.Version = worker.StateRunning, 1<<62|1<<12
		r.save(row)
		r.start()
		r.after(5 * time.Second)
		job := r.enqueue(2)
		r.after(5 * time.Second)
		r.stop()
		assert.Equal(t, succeeded, r.last(job.ID).State)
		require.Len(t, tokens, 1)
		assert.Less(t, tokens[0], int64(1000))
	})
}

// overruling is a store that answers for the last status of its first large call that something later has written. Until
// it is opened no call returns.
type overruling struct {
	*workertest.MemoryStatusStore
	open chan struct{}
	once sync.Once
}

func (o *overruling) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	<-o.open
	saved, err := o.MemoryStatusStore.Save(ctx, statuses...)
	if err == nil && len(statuses) > 50 {
		o.once.Do(func() { saved[len(saved)-1] = worker.Saved{Current: worker.StateRunning} })
	}
	return saved, err
}

// stuckLog is a log that takes its time over a job that was overruled.
type stuckLog struct {
	slog.Handler
	end chan struct{}
}

func (*stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *stuckLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "outcome" && a.Value.String() == "overruled" {
			<-l.end
		}
		return true
	})
	return nil
}

// What one call saved is announced before its jobs go on, whose next statuses another call may save meanwhile.
func TestAnnouncementsKeepTheirOrderOverTwoCalls(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		store := &overruling{MemoryStatusStore: workertest.NewStatusStore(), open: make(chan struct{})}
		log := &stuckLog{slog.DiscardHandler, make(chan struct{})}
		r := newRig(t, noop, func(c *worker.Config) {
			c.Concurrency, c.StatusStore, c.Logger = 300, store, slog.New(log)
		})
		jobs := make([]*worker.Job, 300)
		for i := range jobs {
			job, err := worker.NewJob(ping{i})
			require.NoError(t, err)
			require.NoError(t, r.queue.Enqueue(t.Context(), job))
			jobs[i] = job
		}
		r.start()
		r.quiet() // all slots wait for the store
		close(store.open)
		r.quiet() // all jobs are done but those that stand behind the log
		close(log.end)
		r.after(time.Minute)
		for _, job := range jobs {
			told := r.told.Of(job.ID)
			assert.True(t, slices.IsSortedFunc(told, func(a, b worker.Status) int { return cmp.Compare(a.Version, b.Version) }))
		}
		r.stop()
	})
}
