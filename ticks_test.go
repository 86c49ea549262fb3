package worker_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// minutely is a periodic ping.
func minutely(missed worker.MissedPolicy) worker.Periodic {
	return worker.Periodic{Name: "ping", Schedule: worker.Every(time.Minute), Payload: ping{}, Missed: missed}
}

func periodic(p ...worker.Periodic) func(*worker.Config) {
	return func(c *worker.Config) { c.Periodic = p }
}

// ran remembers which ticks ran when.
type ran struct {
	mu    sync.Mutex
	ticks []time.Time
	late  []time.Duration
	jobs  []string // their ids
}

func (r *ran) handle(_ context.Context, job *worker.Job, _ ping) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	tick, ok := worker.TickOf(job)
	if !ok {
		return worker.Permanent(fmt.Errorf("%q is no tick", job.ID))
	}
	r.ticks, r.late, r.jobs = append(r.ticks, tick), append(r.late, time.Since(tick)), append(r.jobs, job.ID)
	return nil
}

// seen returns what ran so far.
func (r *ran) seen() (ticks []time.Time, late []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ticks), slices.Clone(r.late)
}

func (r *ran) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.jobs)
}

// minutes returns the ticks as minutes after a time.
func (r *ran) minutes(start time.Time) (minutes []float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tick := range r.ticks {
		minutes = append(minutes, tick.Sub(start).Minutes())
	}
	return minutes
}

// The bubble's clock begins at midnight UTC: a whole minute, and no tick of a schedule that begins then.
func TestTicksRunInTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		r := newRig(t, got.handle, periodic(minutely(worker.MissedSkip))).start()
		defer r.stop()
		r.after(10*time.Minute + time.Second)
		assert.Equal(t, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, got.minutes(start))
		_, late := got.seen()
		assert.LessOrEqual(t, late[0], 100*time.Millisecond)
		for _, late := range late[1:] {
			assert.Less(t, late, 10*time.Millisecond, "who was first comes first again")
		}
		id := "ping@" + start.Add(time.Minute).UTC().Format(time.RFC3339)
		assert.Equal(t, []worker.State{worker.StateQueued, worker.StateRunning, worker.StateSucceeded}, r.states(id))
	})
}

func TestTicksOfOneKeyDoNotOverlap(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		slow := func(ctx context.Context, job *worker.Job, p ping) error {
			time.Sleep(3*time.Minute + 30*time.Second)
			return got.handle(ctx, job, p)
		}
		p := minutely(worker.MissedAll)
		p.Options = []worker.JobOption{worker.UniqueBy("ping", worker.UniquePolicy{})}
		r := newRig(t, slow, periodic(p)).start()
		defer r.stop()
		r.after(13 * time.Minute)
		assert.Equal(t, []float64{1, 5, 9}, got.minutes(start))
		turnedAway := "ping@" + start.Add(2*time.Minute).UTC().Format(time.RFC3339)
		assert.Equal(t, []worker.State{worker.StateQueued, worker.StateCanceled}, r.states(turnedAway))
	})
}

func TestTicksGoOnWhereverTheyWere(t *testing.T) {
	for _, c := range []struct {
		missed worker.MissedPolicy
		down   time.Duration
		want   []float64 // of the ticks after the first two
	}{
		{worker.MissedSkip, 5*time.Minute + 10*time.Second, []float64{7, 8}}, // 10 s late
		{worker.MissedOnce, 5*time.Minute + 10*time.Second, []float64{7, 8}},
		{worker.MissedAll, 5*time.Minute + 10*time.Second, []float64{3, 4, 5, 6, 7, 8}},
	} {
		t.Run(c.missed.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got ran
				start := time.Now()
				r := newRig(t, got.handle, periodic(minutely(c.missed))).start()
				r.after(2*time.Minute + time.Second)
				r.stop()
				time.Sleep(c.down)
				again := newRig(t, got.handle, periodic(minutely(c.missed)), func(cfg *worker.Config) {
					cfg.Queue, cfg.Concurrency = r.queue, 1 // in the order in which they were enqueued
				}).start()
				defer again.stop()
				again.after(time.Minute)
				assert.Equal(t, append([]float64{1, 2}, c.want...), got.minutes(start))
			})
		})
	}
}

// A tick of a daily schedule is skipped when it is a minute late.
func TestLateTicks(t *testing.T) {
	for _, c := range []struct {
		missed worker.MissedPolicy
		late   time.Duration
		want   int
	}{
		{worker.MissedSkip, 59 * time.Second, 1},
		{worker.MissedSkip, time.Minute, 0},
		{worker.MissedOnce, 23 * time.Hour, 1},
	} {
		t.Run(fmt.Sprint(c.missed, c.late), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got ran
				p := minutely(c.missed)
				p.Schedule = worker.Every(24 * time.Hour)
				r := newRig(t, got.handle, periodic(p)).start()
				r.after(time.Hour)
				r.stop()
				time.Sleep(23*time.Hour + c.late)
				book := &logbook{}
				again := newRig(t, got.handle, periodic(p), func(cfg *worker.Config) {
					cfg.Queue, cfg.Logger = r.queue, slog.New(book)
				}).start()
				defer again.stop()
				again.after(30 * time.Minute)
				ticks, _ := got.seen()
				assert.Len(t, ticks, c.want)
				assert.Equal(t, 1-c.want, book.count("ticks were missed and are skipped"))
			})
		})
	}
}

// logbook is a slog.Handler that counts messages.
type logbook struct {
	slog.Handler
	mu       sync.Mutex
	messages map[string]int
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages == nil {
		l.messages = make(map[string]int)
	}
	l.messages[r.Message]++
	return nil
}

func (l *logbook) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.messages[message]
}

// Many missed ticks of one schedule don't keep another from its time.
func TestCatchingUpLeavesTheOthersTheirTurn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		all := worker.Periodic{Name: "all", Schedule: worker.Every(time.Second), Payload: ping{}, Missed: worker.MissedAll}
		r := newRig(t, got.handle, periodic(all, minutely(worker.MissedSkip))).start()
		r.after(time.Second + 500*time.Millisecond)
		r.stop()
		time.Sleep(time.Hour)
		var made ran
		again := newRig(t, made.handle, periodic(all, minutely(worker.MissedSkip)),
			func(cfg *worker.Config) { cfg.Queue = r.queue }).start()
		defer again.stop()
		again.after(time.Millisecond)
		ids := made.ids()
		assert.Len(t, ids, 3601)
		at := slices.IndexFunc(ids, func(id string) bool { return strings.HasPrefix(id, "ping@") })
		assert.Positive(t, at)
		assert.Less(t, at, 200, "it waited for more than a turn of the other")
	})
}

// After(d) postpones each job behind its tick.
func TestTicksMayBePostponed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		p := minutely(worker.MissedSkip)
		p.Schedule, p.Options = worker.Every(time.Hour), []worker.JobOption{worker.After(10 * time.Minute)}
		r := newRig(t, got.handle, periodic(p)).start()
		defer r.stop()
		r.after(2 * time.Hour)
		_, late := got.seen()
		require.Len(t, late, 1)
		assert.InDelta(t, 10, late[0].Minutes(), 0.1)
	})
}

// It counts from the tick, however late that is enqueued.
func TestLateTicksArePostponedFromTheirTime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		p := minutely(worker.MissedOnce)
		p.Schedule, p.Options = worker.Every(time.Hour), []worker.JobOption{worker.After(40 * time.Minute)}
		r := newRig(t, got.handle, periodic(p)).start()
		start := time.Now()
		r.after(time.Minute)
		r.stop()
		time.Sleep(3*time.Hour + 19*time.Minute)
		again := newRig(t, got.handle, periodic(p), func(cfg *worker.Config) { cfg.Queue = r.queue }).start()
		defer again.stop()
		again.after(30 * time.Minute)
		ticks, late := got.seen()
		require.Len(t, ticks, 1)
		require.Equal(t, start.Add(3*time.Hour), ticks[0].In(start.Location()))
		assert.InDelta(t, 40, late[0].Minutes(), 0.1)
	})
}

// A replica that comes too late for a tick whose row it has just made ends that row, or a sweep would run it.
func TestRowOfATickThatHasPassed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		late := &passes{MemoryQueue: workertest.NewQueue()}
		r := newRig(t, got.handle, func(cfg *worker.Config) {
			cfg.Queue, cfg.Periodic = late, []worker.Periodic{minutely(worker.MissedSkip)}
		}).start()
		defer r.stop()
		r.after(10*time.Minute + time.Second)
		assert.Equal(t, []float64{1, 3, 4, 5, 6, 7, 8, 9, 10}, got.minutes(start))
		passed := r.last("ping@" + start.Add(2*time.Minute).UTC().Format(time.RFC3339))
		assert.Equal(t, worker.StateCanceled, passed.State)
		assert.Contains(t, passed.Error, "not enqueued")
	})
}

// passes is a queue on which somebody else skips the second tick just before it is enqueued.
type passes struct {
	*workertest.MemoryQueue
	calls int
}

func (q *passes) EnqueueTick(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
	if q.calls++; q.calls == 2 {
		if _, err := q.MemoryQueue.EnqueueTick(ctx, name, tick.Add(time.Second), copyOf(job, "other")); err != nil {
			return false, err
		}
	}
	return q.MemoryQueue.EnqueueTick(ctx, name, tick, job)
}

func copyOf(job *worker.Job, id string) *worker.Job {
	return &worker.Job{ID: id, Type: "other", Queue: job.Queue, Topic: job.Topic, Payload: job.Payload,
		EnqueuedAt: job.EnqueuedAt, RunAt: job.RunAt}
}
