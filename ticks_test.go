package worker_test

import (
	"context"
	"errors"
	"fmt"
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
		assert.Less(t, at, 110, "it waited for all")
	})
}

func TestPayloadOfATick(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var jobs []*worker.Job
		var payloads []ping
		r := newRig(t, func(_ context.Context, job *worker.Job, p ping) error {
			mu.Lock()
			defer mu.Unlock()
			jobs, payloads = append(jobs, job), append(payloads, p)
			return nil
		}, periodic(worker.Periodic{Name: "ping", Schedule: worker.Every(time.Hour),
			PayloadAt: func(tick time.Time) (worker.Payload, error) { return ping{tick.Hour()}, nil },
			Options:   []worker.JobOption{worker.WithTopic("clock"), worker.MaxAttempts(1)}})).start()
		defer r.stop()
		r.after(2*time.Hour + time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []ping{{1}, {2}}, payloads)
		tick, ok := worker.TickOf(jobs[1])
		require.True(t, ok)
		assert.Equal(t, tick, jobs[1].RunAt)
		assert.Equal(t, 2, tick.Hour())
		assert.Equal(t, "clock", jobs[1].Topic)
		assert.Equal(t, 1, jobs[1].Retry.MaxAttempts)
	})
}

// A tick whose payload cannot be made yet is tried again; one of which no job can be made is given up.
func TestPayloadsThatFail(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		var tries atomic.Int32
		start := time.Now()
		book := &logbook{}
		r := newRig(t, got.handle, periodic(worker.Periodic{Name: "ping", Schedule: worker.Every(time.Hour),
			Missed: worker.MissedAll,
			PayloadAt: func(tick time.Time) (worker.Payload, error) {
				n := tries.Add(1)
				switch {
				case n == 1: // by NewPool
				case tick.Hour() == 1 && n < 5:
					return nil, errFlaky
				case tick.Hour() == 2:
					return nil, worker.Permanent(errFlaky)
				case tick.Hour() == 3:
					panic("broken")
				}
				return ping{}, nil
			}}), func(c *worker.Config) { c.Logger = slog.New(book) }).start()
		defer r.stop()
		r.after(2*time.Hour + 30*time.Minute)
		assert.Equal(t, []float64{60}, got.minutes(start))
		_, late := got.seen()
		assert.Less(t, late[0], 2*time.Second)
		assert.Equal(t, 1, book.count("no job can be made of a tick: it is given up"))
		assert.Equal(t, 1, book.count("a periodic job could not be enqueued: it is tried again"))
		assert.Equal(t, 1, book.count("a periodic job is enqueued again"))
		before := tries.Load()
		r.after(time.Hour)
		assert.Less(t, tries.Load()-before, int32(1000), "without a pause")
		assert.Equal(t, 2, book.count("a periodic job could not be enqueued: it is tried again"))
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

// A schedule that has ended, and one that is broken, harm nobody.
func TestOddSchedules(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got ran
		start := time.Now()
		once := worker.Periodic{Name: "once", Payload: ping{}, Schedule: nextFunc(func(t time.Time) time.Time {
			if only := start.Add(90 * time.Second); only.After(t) {
				return only
			}
			return time.Time{}
		})}
		var asked atomic.Int32
		broken := worker.Periodic{Name: "broken", Payload: ping{}, Schedule: nextFunc(func(t time.Time) time.Time {
			if asked.Add(1) > 2 {
				return t
			}
			return t.Add(time.Minute)
		})}
		r := newRig(t, got.handle, periodic(once, broken)).start()
		defer r.stop()
		r.after(time.Hour)
		assert.Equal(t, []float64{1.5}, got.minutes(start))
		assert.Less(t, asked.Load(), int32(10_000))
	})
}

type nextFunc func(time.Time) time.Time

func (f nextFunc) Next(t time.Time) time.Time { return f(t) }

// slowClock is a queue whose clock is behind, or ahead.
type slowClock struct {
	*workertest.MemoryQueue
	behind time.Duration
}

func (q *slowClock) LastTick(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
	last, now, err = q.MemoryQueue.LastTick(ctx, queue, name, begin)
	return last, now.Add(-q.behind), err
}

// A tick comes when both clocks have reached it, so replicas with a fast clock skip nothing that others would enqueue.
func TestTicksWaitForBothClocks(t *testing.T) {
	for _, c := range []struct{ behind, late time.Duration }{
		{10 * time.Minute, 10 * time.Minute}, {30 * time.Second, 30 * time.Second}, {-10 * time.Minute, 0}, {time.Millisecond, 0},
	} {
		t.Run(c.behind.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var got ran
				r := newRig(t, got.handle, func(cfg *worker.Config) {
					cfg.Queue = &slowClock{workertest.NewQueue(), c.behind}
					cfg.Periodic = []worker.Periodic{minutely(worker.MissedSkip)}
				}).start()
				defer r.stop()
				r.after(30 * time.Minute)
				ticks, late := got.seen()
				require.Greater(t, len(late), 15)
				for i, late := range late {
					assert.GreaterOrEqual(t, late, c.late)
					assert.Less(t, late, c.late+150*time.Millisecond)
					if i > 0 {
						assert.Equal(t, time.Minute, ticks[i].Sub(ticks[i-1]))
					}
				}
			})
		})
	}
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

func TestPeriodicJobsAreChecked(t *testing.T) {
	q := workertest.NewQueue()
	good := minutely(worker.MissedAll)
	change := func(f func(*worker.Periodic)) worker.Periodic { p := good; p.Name = "p"; f(&p); return p }
	for want, p := range map[string]worker.Periodic{
		"Name is empty":            change(func(p *worker.Periodic) { p.Name = "" }),
		"Name has 201 bytes":       change(func(p *worker.Periodic) { p.Name = string(make([]byte, 201)) }),
		"control character":        change(func(p *worker.Periodic) { p.Name = "a\nb" }),
		"the name is taken":        good,
		"Schedule is missing":      change(func(p *worker.Periodic) { p.Schedule = nil }),
		"Every(10ms): the least":   change(func(p *worker.Periodic) { p.Schedule = worker.Every(10 * time.Millisecond) }),
		"Every(0s): the least":     change(func(p *worker.Periodic) { p.Schedule = worker.Every(0) }),
		"whole milliseconds":       change(func(p *worker.Periodic) { p.Schedule = worker.Every(time.Second + 1) }),
		"the schedule goes back":   change(func(p *worker.Periodic) { p.Schedule = nextFunc(func(t time.Time) time.Time { return t }) }),
		"broken":                   change(func(p *worker.Periodic) { p.Schedule = nextFunc(func(time.Time) time.Time { panic("broken") }) }),
		"Missed is 3":              change(func(p *worker.Periodic) { p.Missed = 3 }),
		"exactly one of":           change(func(p *worker.Periodic) { p.Payload = nil }),
		"payload is nil":           change(func(p *worker.Periodic) { p.Payload = (*ping)(nil) }),
		"sets the id":              change(func(p *worker.Periodic) { p.Options = []worker.JobOption{worker.WithID("x")} }),
		"At is among the options":  change(func(p *worker.Periodic) { p.Options = []worker.JobOption{worker.At(time.Now())} }),
		"contains '{'":             change(func(p *worker.Periodic) { p.Options = []worker.JobOption{worker.OnQueue("{}")} }),
		"no payload today":         change(func(p *worker.Periodic) { p.Payload, p.PayloadAt = nil, noPayload }),
		"the limit is 20":          change(func(p *worker.Periodic) { p.Payload = Greeting{Name: "a name that is far too long"} }),
		"name is empty":            change(func(p *worker.Periodic) { p.Payload = Greeting{} }),
		"exactly one of Payload a": change(func(p *worker.Periodic) { p.PayloadAt = noPayload }),
	} {
		cfg := worker.Config{Backend: worker.Backend{Queue: q, MaxPayload: 20}, Registry: worker.NewRegistry(),
			Periodic: []worker.Periodic{good, p}}
		_, err := worker.NewPool(cfg)
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, "Periodic 1", want)
		assert.NotContains(t, err.Error(), "Periodic 0", want)
	}
	_, err := worker.NewPool(worker.Config{Backend: worker.Backend{Queue: struct{ worker.Queue }{q}},
		Registry: worker.NewRegistry(), Periodic: []worker.Periodic{good}})
	require.ErrorContains(t, err, "is no Ticker")
}

func noPayload(time.Time) (worker.Payload, error) { return nil, errors.New("no payload today") }

// The payload's queue may not change from tick to tick, as the memory of ticks is the queue's.
func TestTicksStayOnOneQueue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		book := &logbook{}
		var calls atomic.Int32
		r := newRig(t, nil, periodic(worker.Periodic{Name: "p", Schedule: worker.Every(time.Minute),
			PayloadAt: func(time.Time) (worker.Payload, error) {
				return wandering(fmt.Sprint("q", calls.Add(1))), nil
			}}), func(c *worker.Config) { c.Logger = slog.New(book) }).start()
		defer r.stop()
		r.after(90 * time.Second)
		assert.EqualValues(t, 2, calls.Load())
		assert.Equal(t, 1, book.count("no job can be made of a tick: it is given up"))
	})
}

// wandering is a payload that names its queue.
type wandering string

func (wandering) JobType() string { return "wandering" }
func (w wandering) JobOptions() []worker.JobOption {
	return []worker.JobOption{worker.OnQueue(string(w))}
}

func TestTickOfOtherJobs(t *testing.T) {
	for id, want := range map[string]bool{
		"report@2026-11-29T02:00:00Z": true, "a@b@2026-11-29T02:00:00.5Z": true, "": false, "report": false,
		"@2026-11-29T02:00:00Z": false, "report@": false, "report@2026-11-29T02:00:00+01:00": false,
		"report@2026-11-29T02:00:00.500Z": false, "report@today": false,
		strings.Repeat("n", worker.MaxPeriodicName) + "@2026-11-29T02:00:00Z":   true,
		strings.Repeat("n", worker.MaxPeriodicName+1) + "@2026-11-29T02:00:00Z": false,
	} {
		_, ok := worker.TickOf(&worker.Job{ID: id})
		assert.Equal(t, want, ok, id)
	}
}
