package cron_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/cron"
)

var _ worker.Schedule = (*cron.Schedule)(nil)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	require.NoError(t, err)
	return location
}

func parse(t testing.TB, text string, location *time.Location) *cron.Schedule {
	t.Helper()
	s, err := cron.Parse(text, location)
	require.NoError(t, err)
	return s
}

// ticks returns the ticks in [from, to) as the location's clock shows them, with its offset.
func ticks(s *cron.Schedule, from, to time.Time) (texts []string) {
	for t := s.Next(from.Add(-1)); t.Before(to) && !t.IsZero(); t = s.Next(t) {
		texts = append(texts, t.Format("02 15:04 -0700"))
	}
	return texts
}

// The rule at changes of the clock, in the nights of Europe/Berlin and America/New_York and of places whose changes are odd.
func TestChangesOfTheClock(t *testing.T) {
	for _, c := range []struct{ zone, day, text, want string }{
		{"Europe/Berlin", "2026-03-29", "30 2 * * *", "29 03:00 +0200"},
		{"Europe/Berlin", "2026-10-25", "30 2 * * *", "25 02:30 +0200"},
		{"Europe/Berlin", "2026-03-29", "0 3 * * *", "29 03:00 +0200"},
		{"Europe/Berlin", "2026-03-29", "0 2,3 * * *", "29 03:00 +0200"},
		{"Europe/Berlin", "2026-03-29", "*/20 2 * * *", "29 03:00 +0200"},
		{"Europe/Berlin", "2026-10-25", "*/20 2 * * *", "25 02:00 +0200, 25 02:20 +0200, 25 02:40 +0200"},
		{"Europe/Berlin", "2026-10-25", "0 3 * * *", "25 03:00 +0100"},
		{"Europe/Berlin", "2026-03-29", "15 0-4 * * *",
			"29 00:15 +0100, 29 01:15 +0100, 29 03:00 +0200, 29 03:15 +0200, 29 04:15 +0200"},
		{"Europe/Berlin", "2026-10-25", "15 1-3 * * *", "25 01:15 +0200, 25 02:15 +0200, 25 03:15 +0100"},
		{"Europe/Berlin", "2026-03-29", "0 */8 * * *", "29 00:00 +0100, 29 08:00 +0200, 29 16:00 +0200"},
		{"Europe/Berlin", "2026-10-25", "0 */8 * * *", "25 00:00 +0200, 25 08:00 +0100, 25 16:00 +0100"},
		{"Europe/Berlin", "2026-03-29", "0 2 29 3 *", "29 03:00 +0200"},
		{"Europe/Berlin", "2026-03-29", "0 2 * * SUN", "29 03:00 +0200"},
		{"Europe/Berlin", "2026-03-29", "0 2 * * MON", ""},
		{"America/New_York", "2026-03-08", "30 2 * * *", "08 03:00 -0400"},
		{"America/New_York", "2026-11-01", "30 1 * * *", "01 01:30 -0400"},
		{"America/New_York", "2026-11-01", "30 2 * * *", "01 02:30 -0500"},
		{"America/New_York", "2026-11-01", "0 0-2 * * *", "01 00:00 -0400, 01 01:00 -0400, 01 02:00 -0500"},
		{"America/Santiago", "2026-09-06", "0 0 * * *", "06 01:00 -0300"},   // midnight is skipped
		{"America/Santiago", "2026-04-04", "30 23 * * *", "04 23:30 -0300"}, // the last hour of the day comes twice
		{"Australia/Lord_Howe", "2026-10-04", "10 2 * * *", "04 02:30 +1100"},
		{"Australia/Lord_Howe", "2026-04-05", "40 1 * * *", "05 01:40 +1100"},
		{"Asia/Kolkata", "2026-03-29", "30 2 * * *", "29 02:30 +0530"},
	} {
		location := zone(t, c.zone)
		date, err := time.Parse(time.DateOnly, c.day)
		require.NoError(t, err)
		day := func(n int) time.Time { return time.Date(date.Year(), date.Month(), date.Day()+n, 0, 0, 0, 0, location) }
		got := ticks(parse(t, c.text, location), day(0), day(1))
		assert.Equal(t, c.want, strings.Join(got, ", "), "%s on %s in %s", c.text, c.day, c.zone)
	}
}

// Schedules of each hour go by time that passes.
func TestEachHourIsARealHour(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "UTC"} {
		for text, step := range map[string]time.Duration{
			"0 * * * *": time.Hour, "@hourly": time.Hour, "*/15 * * * *": 15 * time.Minute, "* * * * *": time.Minute,
		} {
			location := zone(t, name)
			s := parse(t, text, location)
			tick := s.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, location))
			for n := 0; tick.Year() == 2026; n++ {
				next := s.Next(tick)
				require.Equal(t, step, next.Sub(tick), "%s in %s after %s", text, name, tick)
				tick = next
				if step < time.Hour && n%50 == 49 { // a year of minutes would take long
					tick = s.Next(tick.Add(30 * time.Hour))
				}
			}
		}
	}
}

// Each day of a year has one tick at a time of day, in places with all kinds of changes.
func TestEachDayOnce(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe",
		"Africa/Casablanca", "Europe/Dublin", "Asia/Tehran", "UTC"} {
		for _, text := range []string{"30 2 * * *", "0 0 * * *", "59 23 * * *", "30 1 * * *", "0 3 * * *", "0 2 * * *"} {
			location := zone(t, name)
			s := parse(t, text, location)
			days := make(map[string]int)
			for tick := s.Next(time.Date(2025, 12, 31, 23, 59, 59, 0, location)); tick.Year() == 2026; tick = s.Next(tick) {
				days[tick.Format(time.DateOnly)]++
			}
			for day, n := range days {
				require.Equal(t, 1, n, "%s of %q in %s", day, text, name)
			}
			require.Len(t, days, 365, "%q in %s", text, name)
		}
	}
}

// However it is asked, a schedule has the same ticks, and goes forward.
func TestTicksDoNotDependOnTheAsking(t *testing.T) {
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
		location := zone(t, name)
		for _, text := range []string{"30 2 * * *", "*/20 1-3 * * *", "7 * * * *", "0 */5 * * *", "0 2 * * 0"} {
			s := parse(t, text, location)
			for range 300 {
				from := time.Date(2026, time.Month(1+rand.IntN(12)), 1+rand.IntN(28), 0, 0, 0, rand.IntN(1e9), time.UTC)
				to := from.Add(rand.N(40 * 24 * time.Hour))
				first, second := s.Next(from), s.Next(to)
				require.True(t, first.After(from))
				require.False(t, second.Before(first), "a later time has an earlier tick: %q %s %s", text, from, to)
				if to.Before(first) {
					require.Equal(t, first, second, "%q %s %s", text, from, to)
				}
			}
		}
	}
}

func TestTexts(t *testing.T) {
	from := time.Date(2026, 11, 29, 12, 30, 15, 5, time.UTC) // a Sunday
	for text, want := range map[string]string{
		"* * * * *":                          "2026-11-29T12:31:00Z",
		" 5  4\t* * * ":                      "2026-11-30T04:05:00Z",
		"0 0 * * 7":                          "2026-12-06T00:00:00Z",
		"0 0 * * mon-fri":                    "2026-11-30T00:00:00Z",
		"0 0 1 JAN ?":                        "2027-01-01T00:00:00Z",
		"0 0 1 Jan-mar/2,DEC *":              "2026-12-01T00:00:00Z",
		"0 0 * * FRIL":                       "2026-12-25T00:00:00Z",
		"0 0 * * Fri#2,sat":                  "2026-12-05T00:00:00Z",
		"0 0 2w * *":                         "2026-12-02T00:00:00Z",
		"0 0 15 * TUE":                       "2026-12-01T00:00:00Z", // either day
		"0 0 L * *":                          "2026-11-30T00:00:00Z",
		"0 0 * * 5L":                         "2026-12-25T00:00:00Z",
		"0 0 * * 5#2":                        "2026-12-11T00:00:00Z",
		"0 0 29 2 *":                         "2028-02-29T00:00:00Z",
		"@DAILY":                             "2026-11-30T00:00:00Z",
		"@midnight":                          "2026-11-30T00:00:00Z",
		"@yearly":                            "2027-01-01T00:00:00Z",
		"CRON_TZ=Europe/Berlin 30 2 * * *":   "2026-11-30T02:30:00+01:00",
		"TZ=America/New_York  30 2 * * *":    "2026-11-30T02:30:00-05:00",
		"CRON_TZ=America/New_York @daily":    "2026-11-30T00:00:00-05:00",
		"CRON_TZ=UTC 0-10/5,59 12-13 29 * *": "2026-11-29T12:59:00Z",
	} {
		s := parse(t, text, nil)
		assert.Equal(t, want, s.Next(from).Format(time.RFC3339), text)
		assert.Equal(t, text, s.String())
	}
}

func TestTextsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "0 fields", "* * * *": "4 fields", "* * * * * *": "6 fields", "@reboot": "1 fields", "@5minutes": "1 fields",
		"@everysecond": "1 fields", "60 * * * *": "minute", "* 24 * * *": "hour", "* * 0 * *": "day of the month",
		"* * * 13 *": "month", "* * * * 8": "day of the week", "5,99 * * * *": "minute", "*/0 * * * *": "minute",
		"5-1 * * * *": "minute", "1,,2 * * * *": "minute", "x * * * *": "minute", "-1 * * * *": "minute",
		"0 0 * * 1-5-7": "neither a number nor a range", "+5 * * * *": `minute "+5"`, "* * 1-1-LW * *": "neither a number",
		"0 2 * * 2030/7": "between 0 and 7", "61/5 * * * *": "between 0 and 59", "0 25/2 * * *": "between 0 and 23",
		"*/5/5 * * * *": "more than one step", "0 0 0W * *": "between 1 and 31", "0 0 1,32W * *": "between 1 and 31",
		"0 0 * * 9L": "between 0 and 7", "0 0 * * 8#1": "day of the week", "0 0 * * 1,5#6": "five times", "0 0 * * 5#0": "five times",
		"1JAN * * * *": `"1JAN" is neither`, "0 0 TUE2 * *": "day of the month", "0 0 1 MON *": `month "MON"`, "0 MON * * *": "hour",
		"0 0 * * TUE2": "day of the week", "0 0 * * JAN": "day of the week", "0 0 1 JANFEB *": "neither a number nor a name",
		"0 0 15 * *,5": "nothing to add", "0 0 5,* * *": "nothing to add", "?,5 * * * *": "nothing to add",
		"0 0 30 2 *": "never comes due", "0 0 31 4 *": "never comes due",
		"CRON_TZ= * * * * *": "time zone", "CRON_TZ=Local * * * * *": "time zone", "CRON_TZ=Nowhere * * * * *": "Nowhere",
		"CRON_TZ=UTC": "0 fields", "CRON_TZ=../etc * * * * *": "../etc",
	} {
		_, err := cron.Parse(text, nil)
		assert.ErrorContains(t, err, want, text)
		assert.ErrorContains(t, err, fmt.Sprintf("%q", text))
	}
}

func TestSchedulesMayBeShared(t *testing.T) {
	s := parse(t, "*/7 * * * *", zone(t, "Europe/Berlin"))
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 200 {
				at := from.Add(time.Duration(i) * time.Hour)
				assert.True(t, s.Next(at).After(at))
			}
		})
	}
	all.Wait()
}

// Whatever parses has ticks that go forward, and soon.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"* * * * *", "0 0 29 2 *", "5-1 * * * *", "*/70 * * * *", "0 0 L * 5#5", "0/3 1-9/2 15W * 7",
		"1/ * * * *", "1/2/3 * * * *", "*- * * * *", "0 0 LW * *", "0 0 * * L", "CRON_TZ=UTC 0 0 * * *", "0 0 31W 2 1L", "? ? ? ? ?",
		"0-0/1 0 1 1 0-7", "0 0 1-31/30 */11 *", "0 0 32W * *", "0 0 * * 9#9", "0 0 ,L * *", "0 0 W * *", "0 0 # * *"} {
		f.Add(text, int64(1_700_000_000))
	}
	location := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string, seconds int64) {
		s, err := cron.Parse(text, location)
		if err != nil {
			return
		}
		from := time.Unix(seconds%(1<<33), 0)
		for range 3 {
			next := s.Next(from)
			if next.IsZero() {
				return
			}
			require.True(t, next.After(from))
			from = next
		}
	})
}
