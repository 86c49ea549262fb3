package worker

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEveryCountsFromTheEpoch(t *testing.T) {
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		return parsed
	}
	for _, c := range []struct {
		every       time.Duration
		after, want string
	}{
		{time.Hour, "2026-11-29T02:00:00Z", "2026-11-29T03:00:00Z"},
		{time.Hour, "2026-11-29T02:59:59.999999999Z", "2026-11-29T03:00:00Z"},
		{time.Hour, "2026-11-29T02:30:00+05:30", "2026-11-28T22:00:00Z"},
		{24 * time.Hour, "2026-11-29T02:00:00+01:00", "2026-11-30T00:00:00Z"},
		{1500 * time.Millisecond, "1970-01-01T00:00:00Z", "1970-01-01T00:00:01.5Z"},
		{time.Hour, "1969-12-31T23:30:00Z", "1970-01-01T00:00:00Z"},
		{time.Hour, "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"},
		{time.Millisecond, "2026-11-29T02:00:00.5Z", "2026-11-29T02:00:01Z"}, // NewPool refuses it
	} {
		assert.Equal(t, at(c.want), Every(c.every).Next(at(c.after)), "every %v after %s", c.every, c.after)
	}
}

// listed is a schedule of some times.
type listed []time.Time

func (l listed) Next(t time.Time) time.Time {
	for _, tick := range l {
		if tick.After(t) {
			return tick
		}
	}
	return time.Time{}
}

// asked counts how often a schedule is asked.
type asked struct {
	Schedule
	times int
}

func (a *asked) Next(t time.Time) time.Time { a.times++; return a.Schedule.Next(t) }

func TestLatestTickIsTheLastThatHasCome(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 2000 {
		var l listed
		for at := start; len(l) < 12; l = append(l, at) {
			at = at.Add(time.Duration(1+rand.N(5000)) * time.Millisecond)
		}
		after := start.Add(time.Duration(rand.N(30000)) * time.Millisecond)
		until := after.Add(time.Duration(rand.N(30000)) * time.Millisecond)
		var want time.Time
		for _, tick := range l {
			if tick.After(after) && !tick.After(until) {
				want = tick
			}
		}
		got, err := latestTick(l, after, until)
		require.NoError(t, err)
		require.Equal(t, want, got, "%v after %v until %v", l, after, until)
	}
}

func TestLatestTickOfManyYearsIsFoundSoon(t *testing.T) {
	a := &asked{Schedule: Every(time.Second)}
	until := time.Date(2026, 1, 1, 0, 0, 0, 7e6, time.UTC)
	got, err := latestTick(a, until.AddDate(-20, 0, 0), until)
	require.NoError(t, err)
	assert.Equal(t, until.Add(-7*time.Millisecond), got)
	assert.Less(t, a.times, 60)
}

// scheduleFunc is a schedule of a function.
type scheduleFunc func(time.Time) time.Time

func (f scheduleFunc) Next(t time.Time) time.Time { return f(t) }

func TestTicksAreWholeMillisecondsThatGoForward(t *testing.T) {
	now := time.UnixMilli(1000).UTC()
	tick, err := nextTick(scheduleFunc(func(t time.Time) time.Time { return t.Add(1) }), now)
	require.NoError(t, err)
	assert.Equal(t, now.Add(time.Millisecond), tick)
	for _, backwards := range []time.Duration{0, -1, -time.Hour} {
		_, err = nextTick(scheduleFunc(func(t time.Time) time.Time { return t.Add(backwards) }), now)
		require.ErrorContains(t, err, "goes back")
		_, err = latestTick(scheduleFunc(func(t time.Time) time.Time { return t.Add(backwards) }), now, now)
		require.ErrorContains(t, err, "goes back")
	}
	_, err = nextTick(scheduleFunc(func(time.Time) time.Time { panic("broken") }), now)
	require.ErrorContains(t, err, "broken")
	tick, err = nextTick(scheduleFunc(func(time.Time) time.Time { return time.Time{} }), now)
	require.NoError(t, err)
	assert.True(t, tick.IsZero())
}
