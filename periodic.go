package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxPeriodicName is the longest name of a periodic job in bytes: with a tick behind it, it becomes a job's id.
const MaxPeriodicName = 200

// Periodic is a job that pools enqueue at each tick of a schedule. Any number of replicas may have it: there is no leader,
// and each tick is enqueued once. Its job's id is made of name and tick, "report@2026-11-29T02:00:00Z", and its RunAt is
// the tick, unless an option postpones it.
//
// The queue remembers the last tick of each name, so that a schedule goes on where it was after nobody ran for a while; see
// Missed. A new name begins at its first tick from now on. A schedule may be changed under its name: what was its last tick
// stays so, and while a deployment runs, old replicas enqueue the old ticks and new ones the new. Its jobs may move to another
// queue, where it begins anew: meanwhile a status store sees to it that a tick runs on one of both. A schedule is removed by
// leaving it out of all pools; what was enqueued still runs, and its last tick stays remembered should the name come back.
type Periodic struct {
	// Name names the schedule: at most MaxPeriodicName bytes, no control characters. It must be the only one of that name
	// in the status store, on whichever queue its jobs are, as their ids are made of it; without a store, in their queue.
	Name string
	// Schedule says when: Every(d), or what Parse of package cron returns.
	Schedule Schedule
	// Payload is that of all its jobs. Set it or PayloadAt.
	Payload Payload
	// PayloadAt makes the payload of one tick's job: the same on all replicas. It only computes, as a Schedule does. NewPool
	// calls it once, with the first tick from now on, to see whether a job can be made of it; later the pool calls it, maybe
	// several times for a tick, and for one tick of all its schedules at a time. After an error the tick is tried again, and
	// keeps those after it waiting; one that is Permanent gives the tick up, and so does a status store that refuses its
	// job's status with such an error.
	PayloadAt func(tick time.Time) (Payload, error)
	// Options are those of its jobs, ranking before the payload's own. They can set neither the id nor At; After(d)
	// postpones each job behind its tick. The queue that they name is the same for all ticks. UniqueBy keeps a tick from
	// being enqueued while the job of an earlier one has the key: that one is left out. It cannot replace here.
	Options []JobOption
	// Missed says what becomes of ticks at which nobody ran, or Redis or the status store did not answer. Zero means
	// MissedSkip.
	Missed MissedPolicy
}

// MissedPolicy says what becomes of ticks that are enqueued late, if at all.
type MissedPolicy int

const (
	// MissedSkip enqueues a tick while it is less than a minute late and the next one is not due yet. A Redis or a status
	// store that is down for longer drops it.
	MissedSkip MissedPolicy = iota
	// MissedOnce enqueues the latest tick, however late, and none before it.
	MissedOnce
	// MissedAll enqueues every tick since the last one, oldest first, a hundred at a time.
	MissedAll
)

// String returns the policy's name as logs show it.
func (m MissedPolicy) String() string {
	switch m {
	case MissedSkip:
		return "skip"
	case MissedOnce:
		return "once"
	case MissedAll:
		return "all"
	}
	return fmt.Sprintf("missed(%d)", int(m))
}

const (
	missedAfter = time.Minute // how late a tick may be for MissedSkip
	maxCatchUp  = 100         // ticks of one schedule that are enqueued before the others have their turn
)

// tickLayout is RFC 3339 in UTC, with milliseconds where there are any.
const tickLayout = "2006-01-02T15:04:05.999Z07:00"

func tickText(tick time.Time) string { return tick.UTC().Format(tickLayout) }

// TickOf returns the tick that a periodic job was enqueued for, by its id, which also a retry keeps. It reports false for a
// job whose id is none of a tick. The id is all that it looks at: give no other job one like "report@2026-11-29T02:00:00Z",
// unless it is to be taken for a tick's.
func TickOf(job *Job) (time.Time, bool) {
	if job == nil {
		return time.Time{}, false
	}
	at := strings.LastIndexByte(job.ID, '@')
	if at < 1 || at > MaxPeriodicName {
		return time.Time{}, false
	}
	tick, err := time.Parse(tickLayout, job.ID[at+1:])
	if err != nil || tickText(tick) != job.ID[at+1:] {
		return time.Time{}, false
	}
	return tick, true
}

// ticksOf checks periodic jobs and returns what enqueues them, without its pool; nil when there are none.
func ticksOf(cfg *Config) (t *ticks, problems []error) {
	if len(cfg.Periodic) == 0 {
		return nil, nil
	}
	t = &ticks{asking: make(chan struct{}, 1)}
	if t.ticker, _ = cfg.Queue.(Ticker); t.ticker == nil && cfg.Queue != nil {
		problems = append(problems, fmt.Errorf("Periodic: the queue, a %T, is no Ticker: it cannot remember ticks", cfg.Queue))
	}
	seen := make(map[string]bool)
	for i, p := range cfg.Periodic {
		s, wrong := newTicking(p, or(cfg.MaxPayload, DefaultMaxPayload))
		if seen[p.Name] {
			wrong = append(wrong, errors.New("the name is taken"))
		}
		seen[p.Name] = true
		if _, ok := cfg.Queue.(Uniquer); s.unique && !ok && cfg.Queue != nil {
			wrong = append(wrong, fmt.Errorf("its job has a unique key: the queue, a %T, cannot keep jobs unique", cfg.Queue))
		}
		for _, err := range wrong {
			problems = append(problems, fmt.Errorf("Periodic %d, %q: %w", i, p.Name, err))
		}
		t.schedules = append(t.schedules, s)
	}
	return t, problems
}

// newTicking checks one, and makes the job of its first tick to see which queue it is on.
func newTicking(p Periodic, maxPayload int) (s *ticking, problems []error) {
	s = &ticking{Periodic: p, maxPayload: maxPayload}
	named := checkName("Name", p.Name, MaxPeriodicName)
	first, err := p.firstTick(millis(time.Now()))
	problems = append(problems, named, err)
	if p.Missed < MissedSkip || p.Missed > MissedAll {
		problems = append(problems, fmt.Errorf("Missed is %d: it must be MissedSkip, MissedOnce or MissedAll", p.Missed))
	}
	switch {
	case (p.Payload == nil) == (p.PayloadAt == nil):
		problems = append(problems, errors.New("exactly one of Payload and PayloadAt must be set"))
	case named == nil:
		job, err := s.job(first)
		problems = append(problems, err)
		if err == nil {
			s.queue, s.unique = job.Queue, job.Unique != nil
		}
	}
	return s, slices.DeleteFunc(problems, func(err error) bool { return err == nil })
}

// firstTick checks the schedule, and returns its first tick after now, or now if there is none.
func (p *Periodic) firstTick(now time.Time) (time.Time, error) {
	if isNil(p.Schedule) {
		return now, errors.New("Schedule is missing")
	}
	if e, ok := p.Schedule.(every); ok {
		if err := e.check(); err != nil {
			return now, fmt.Errorf("Schedule: %w", err)
		}
	}
	tick, err := nextTick(p.Schedule, now)
	if err == nil && !tick.IsZero() {
		_, err = nextTick(p.Schedule, tick)
	}
	if err != nil {
		return now, fmt.Errorf("Schedule: %w", err)
	}
	if tick.IsZero() {
		tick = now
	}
	return tick, nil
}

// job makes the job of a tick. An error is Permanent where trying again cannot help.
func (s *ticking) job(tick time.Time) (job *Job, err error) {
	payload, err := s.payload(tick)
	if err != nil {
		return nil, fmt.Errorf("PayloadAt: %w", err)
	}
	defer catch(&err) // of options, and of the payload's methods
	var wrong error   // with what the options say
	job, err = newJob(payload, append(slices.Clip(s.Options), func(j *Job) {
		switch {
		case j.ID != "":
			wrong = errors.New("an option sets the id, which is made of name and tick")
		case j.replaces():
			wrong = errors.New("UniquePolicy.Replace is among the options: it is not for periodic jobs")
		case !j.RunAt.IsZero():
			wrong = errors.New("At is among the options: it would be the same time for all ticks")
		case s.queue != "" && or(j.Queue, DefaultQueue) != s.queue:
			wrong = fmt.Errorf("its job is on queue %q, and that of the first tick was on %q", j.Queue, s.queue)
		}
		j.ID = s.Name + "@" + tickText(tick)
		j.RunAt = tick
		if j.Delay > 0 { // counted from the tick, not from when it is enqueued
			j.RunAt, j.Delay = tick.Add(j.Delay), 0
		}
	}))
	if err == nil {
		err = wrong
	}
	if err == nil {
		err = job.check(s.maxPayload)
	}
	if err != nil {
		return nil, Permanent(err)
	}
	return job, nil
}

func (p *Periodic) payload(tick time.Time) (payload Payload, err error) {
	if p.PayloadAt == nil {
		return p.Payload, nil
	}
	defer catch(&err)
	return p.PayloadAt(tick)
}
