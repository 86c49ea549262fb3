package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
