package worker

import (
	"fmt"
	"time"
)

// Schedule says when a periodic job is due.
//
// Its ticks are the same in every process and do not depend on when they are asked for, so that any number of replicas
// agree on them: Every, and Parse of package cron, make such ones. A schedule is asked by one goroutine at a time of each
// pool that has it, and only computes: until it answers, all others of the pool wait, and so does Stop for as long as it may.
type Schedule interface {
	// Next returns the first tick after t; a zero time says that there is none. A later t never has an earlier tick. Pools
	// round ticks up to whole milliseconds.
	Next(t time.Time) time.Time
}

// minEvery is the shortest interval of Every.
const minEvery = time.Second

// Every is a schedule of ticks that lie d apart, counted from the beginning of 1970 in UTC: Every(time.Hour) ticks on the
// hour, Every(24*time.Hour) at midnight UTC, wherever it runs and whenever it was started. NewPool refuses a d below one
// second or with a fraction of a millisecond.
func Every(d time.Duration) Schedule { return every(d) }

type every time.Duration

// Next implements Schedule.
func (e every) Next(t time.Time) time.Time {
	step := max(time.Duration(e), minEvery).Milliseconds()
	ms := t.UnixMilli()
	past := ms % step
	if past < 0 { // before 1970
		past += step
	}
	return time.UnixMilli(ms - past + step).UTC()
}

func (e every) String() string { return "every " + time.Duration(e).String() }

func (e every) check() error {
	switch d := time.Duration(e); {
	case d < minEvery:
		return fmt.Errorf("Every(%v): the least is %v", d, minEvery)
	case d%time.Millisecond != 0:
		return fmt.Errorf("Every(%v): ticks have whole milliseconds", d)
	}
	return nil
}

// nextTick asks a schedule for the tick after t, which has whole milliseconds. The zero time says that there is none.
func nextTick(s Schedule, t time.Time) (tick time.Time, err error) {
	defer catch(&err)
	if tick = s.Next(t); tick.IsZero() {
		return time.Time{}, nil
	}
	if tick = ceilToMillis(tick); !tick.After(t) {
		return time.Time{}, fmt.Errorf("the schedule goes back: after %s it says %s", tickText(t), tickText(tick))
	}
	return tick, nil
}

// latestTick returns the last tick after one time and not after another; the zero time if there is none. It asks the
// schedule some 40 times however many ticks lie between, as a schedule that ticked each second may have rested for years.
func latestTick(s Schedule, after, until time.Time) (time.Time, error) {
	tick, err := nextTick(s, after)
	if err != nil || tick.IsZero() || tick.After(until) {
		return time.Time{}, err
	}
	latest, high := tick, until // no tick after high has come
	for high.After(latest) {
		middle := millis(latest.Add(high.Sub(latest) / 2))
		if tick, err = nextTick(s, middle); err != nil {
			return time.Time{}, err
		}
		if tick.IsZero() || tick.After(until) {
			high = middle
		} else {
			latest = tick
		}
	}
	return latest, nil
}

func ceilToMillis(t time.Time) time.Time {
	floor := millis(t)
	if floor.Before(t) {
		floor = floor.Add(time.Millisecond)
	}
	return floor
}
