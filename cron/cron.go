// Package cron makes schedules for periodic jobs of cron's five fields, in a time zone, with changes of the clock in mind.
//
// It is a module of its own, so that programs without cron texts don't depend on a parser.
package cron

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Schedule is a worker.Schedule of a cron text. It is safe for concurrent use.
//
// Where clocks are put forward or back, the hour field decides. A schedule whose hour is * goes by time that passes: one of
// each hour runs at each real hour, through a repeated hour twice, and a skipped hour has no ticks. Any other names times of
// day, each of which comes once: at the first of two, and what is skipped comes at the moment when the clock is put
// forward, once however much of it was skipped.
type Schedule struct {
	text     string
	fields   string // of minute to weekday, with a 0 for the second before them: what the parser reads
	location *time.Location
	hourly   bool // the hour is *
}

// Parse reads a cron text: minute, hour, day of the month, month and day of the week (0 and 7 are Sunday), or @hourly,
// @daily, @weekly, @monthly, @yearly. When both days are restricted, either will do; one that begins with *, as */2 does, is
// no restriction in this, and both have to fit. Names of months and weekdays, L for the last day, 15W for the workday
// nearest to the 15th, 5L and 5#2 for the last and the second Friday are understood.
//
// The times are those of location; nil means UTC, so that replicas agree wherever they run. A text that begins with
// CRON_TZ= or TZ= and the name of a time zone, "CRON_TZ=Europe/Berlin 30 2 * * *", names its own; the program must have the
// database of time zones then, see package time/tzdata. An error says which field is wrong; a text that never comes due is
// one, too.
func Parse(text string, location *time.Location) (*Schedule, error) {
	s := &Schedule{text: text, location: location}
	fields, err := s.takeZone(text)
	if err == nil {
		err = s.takeFields(fields)
	}
	if err != nil {
		return nil, fmt.Errorf("cron %q: %w", text, err)
	}
	return s, nil
}

// takeZone sets the location, and returns the text without it.
func (s *Schedule) takeZone(text string) (fields string, err error) {
	if s.location == nil {
		s.location = time.UTC
	}
	fields = strings.TrimSpace(text)
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		rest, ok := strings.CutPrefix(fields, prefix)
		if !ok {
			continue
		}
		zone, fields, _ := strings.Cut(rest, " ")
		if zone == "" || zone == "Local" {
			return "", fmt.Errorf("time zone %q: replicas would not agree on it", zone)
		}
		s.location, err = time.LoadLocation(zone)
		return fields, err
	}
	return fields, nil
}

// macros are the texts that stand for five fields.
var macros = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

var fieldNames = [...]string{"second", "minute", "hour", "day of the month", "month", "day of the week"}

func (s *Schedule) takeFields(text string) error {
	fields := strings.Fields(text)
	if len(fields) == 1 {
		if macro, ok := macros[strings.ToLower(fields[0])]; ok {
			fields = strings.Fields(macro)
		}
	}
	if len(fields) != 5 {
		return fmt.Errorf("%d fields: there must be 5, from minute to day of the week", len(fields))
	}
	if err := checkNames(fields); err != nil {
		return err
	}
	fields, err := gronx.Segments(strings.Join(fields, " ")) // with a second before them, and numbers for names
	if err == nil {
		err = checkFields(fields)
	}
	if err != nil {
		return err
	}
	s.fields = strings.Join(fields, " ")
	s.hourly = fields[2] == "*" || fields[2] == "?" || fields[2] == "*/1"
	if s.nextWall(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return errors.New("it never comes due")
	}
	return nil
}

// words are what has letters in a field, and names what they may be in each of the five: L and W follow a number.
var (
	words    = regexp.MustCompile(`\w*[^\W\d]\w*`)
	months   = regexp.MustCompile(`^(?:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)$`)
	weekdays = regexp.MustCompile(`^(?:SUN|MON|TUE|WED|THU|FRI|SAT|\d)?L?$`)
	letters  = regexp.MustCompile(`^\d*[LW]$`)
	names    = [...]*regexp.Regexp{letters, letters, letters, months, weekdays}
)

// checkNames refuses names where they are none: the parser makes numbers of them in the midst of any field.
func checkNames(fields []string) error {
	for i, field := range fields {
		for _, word := range words.FindAllString(field, -1) {
			if !names[i].MatchString(strings.ToUpper(word)) {
				return fmt.Errorf("%s %q: %q is neither a number nor a name of this field", fieldNames[i+1], field, word)
			}
		}
	}
	return nil
}

// checkFields has the parser look at each part of each field, as by itself it stops at the first that decides.
func checkFields(fields []string) error {
	checker := gronx.SegmentChecker{}
	checker.SetRef(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	for i, field := range fields {
		for part := range strings.SplitSeq(field, ",") {
			if part != field && (part == "*" || part == "?") {
				return fmt.Errorf("%s %q: %s leaves the others nothing to add", fieldNames[i], field, part)
			}
			_, err := checker.CheckDue(part, i)
			if err == nil {
				err = checkPart(part, i)
			}
			if err != nil {
				return fmt.Errorf("%s %q: %w", fieldNames[i], field, err)
			}
		}
	}
	return nil
}

// plain is a part of numbers: *, 5, 1-5, with a step or none. special is one that names a day by a letter or a number behind
// it: 15W, 5L, 5#2.
var (
	plain   = regexp.MustCompile(`^(?:[*?]|(\d+)(?:-\d+)?)(?:/\d+)?$`)
	special = regexp.MustCompile(`^(\d+)(?:[LW]|#(\d+))$`)
)

// limits are the least and the largest number of each field.
var limits = [...][2]int{{0, 59}, {0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 7}}

// checkPart refuses what the parser takes for something else than it says.
func checkPart(part string, field int) error {
	if strings.Count(part, "/") > 1 {
		return fmt.Errorf("%q has more than one step", part)
	}
	match, nth := plain.FindStringSubmatch(part), ""
	if day := special.FindStringSubmatch(part); day != nil {
		match, nth = day, day[2]
	}
	switch {
	case part == "L":
		return nil
	case match == nil:
		return fmt.Errorf("%q is neither a number nor a range nor a day", part)
	case match[1] == "": // *
		return nil
	}
	least, most := limits[field][0], limits[field][1]
	if first, err := strconv.Atoi(match[1]); err != nil || first < least || first > most {
		return fmt.Errorf("%q: it must lie between %d and %d", part, least, most)
	}
	if nth != "" && (len(nth) > 1 || nth < "1" || nth > "5") {
		return fmt.Errorf("%q: a month has the same weekday five times at most", part)
	}
	return nil
}

// String returns the text that the schedule was made of.
func (s *Schedule) String() string { return s.text }

// maxPeriods is between how many changes of the clock Next looks, which is thirty years and more.
const maxPeriods = 100

// Next implements worker.Schedule: it returns the first tick after t, in the schedule's location, or the zero time if the
// parser finds none in the coming years.
//
// The parser is only asked about wall clocks that are never put forward or back. Between two changes of the location's
// clock the two differ by a constant.
func (s *Schedule) Next(t time.Time) time.Time {
	t = t.In(s.location)
	after := wallOf(t)
	for range maxPeriods {
		start, end := t.ZoneBounds()
		if !s.hourly && !start.IsZero() {
			if before := wallOf(start.Add(-1)); before.After(after) { // the clock was put back, and showed that already
				after = before
			}
		}
		next := s.nextWall(after)
		if next.IsZero() {
			return time.Time{}
		}
		tick := t.Add(next.Sub(wallOf(t)))
		if end.IsZero() || tick.Before(end) {
			return tick
		}
		if !s.hourly && next.Before(wallOf(end)) { // the clock is put forward beyond it
			return end
		}
		t, after = end, wallOf(end).Add(-1)
	}
	return time.Time{}
}

// wallOf returns what the clock on the wall says at t, as a time in UTC.
func wallOf(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// nextWall returns the next time on the wall that the fields name, the zero time if there is none in the coming years.
func (s *Schedule) nextWall(after time.Time) time.Time {
	next, err := gronx.NextTickAfter(s.fields, after, false)
	if err != nil || !next.After(after) {
		return time.Time{}
	}
	return next
}
