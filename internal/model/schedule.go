package model

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Schedule is a way from a world's beginning to a breach, found with one rule off. On code that follows all rules its
// steps lead elsewhere: what is to be checked there is that nothing of the kind happens.
type Schedule struct {
	World  string
	Rule   Rule   // the one that was off
	Breach string // what then happened
	Steps  []Step
	Loop   int // how many of the last steps then repeat for ever; 0: none
}

// forEver is the line before the steps that repeat.
const forEver = "for ever:"

//go:embed schedules/*.txt
var schedules embed.FS

// Schedules returns the shortest schedule for each rule, in the order of the rules: what the tests of this package found,
// and hold to be up to date.
func Schedules() ([]Schedule, error) {
	files, err := fs.Glob(schedules, "schedules/*.txt")
	if err != nil {
		return nil, err
	}
	all := make([]Schedule, 0, len(files))
	for _, name := range files {
		text, err := schedules.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, err := ParseSchedule(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Schedule) int { return int(a.Rule) - int(b.Rule) })
	return all, nil
}

// String returns the text form of a schedule, which ParseSchedule reads.
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "world: %s\nwithout: %s\nbreach: %s\n\n", s.World, s.Rule, s.Breach)
	for i, step := range s.Steps {
		if s.Loop > 0 && i == len(s.Steps)-s.Loop {
			b.WriteString(forEver + "\n")
		}
		b.WriteString(step.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// ParseSchedule reads the text form of a schedule: what it is about, an empty line, and one step a line.
func ParseSchedule(text string) (*Schedule, error) {
	head, body, ok := strings.Cut(text, "\n\n")
	if !ok {
		return nil, errors.New("schedule: no empty line after the head")
	}
	s := &Schedule{}
	for line := range strings.Lines(head) {
		if err := s.parseHead(strings.TrimSpace(line)); err != nil {
			return nil, err
		}
	}
	loop := -1
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == forEver {
			loop = len(s.Steps)
			continue
		}
		step, err := parseStep(line)
		if err != nil {
			return nil, err
		}
		s.Steps = append(s.Steps, step)
	}
	if loop >= 0 {
		s.Loop = len(s.Steps) - loop
	}
	return s, nil
}

func (s *Schedule) parseHead(line string) error {
	key, value, _ := strings.Cut(line, ": ")
	switch key {
	case "world":
		s.World = value
	case "without":
		i := slices.IndexFunc(Rules(), func(r Rule) bool { return r.String() == value })
		if i < 0 {
			return fmt.Errorf("schedule: no rule %q", value)
		}
		s.Rule = Rules()[i]
	case "breach":
		s.Breach = value
	default:
		return fmt.Errorf("schedule: line %q", line)
	}
	return nil
}

// parseStep reads what Step.String writes.
func parseStep(line string) (Step, error) {
	actor, rest, _ := strings.Cut(line, " ")
	op, rest, _ := strings.Cut(rest, " ")
	step := Step{Actor: actor, Op: Op(op)}
	for rest != "" {
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			return step, fmt.Errorf("schedule: step %q", line)
		}
		rest = ""
		var err error
		switch key {
		case "job", "session":
			value, rest, _ = strings.Cut(value, " ")
			err = step.parseNumber(key, value)
		case "result", "fault":
			var quoted string
			if quoted, err = strconv.QuotedPrefix(value); err == nil {
				rest = strings.TrimPrefix(value[len(quoted):], " ")
				err = step.parseText(key, quoted)
			}
		default:
			err = fmt.Errorf("unknown field %q", key)
		}
		if err != nil {
			return step, fmt.Errorf("schedule: step %q: %w", line, err)
		}
	}
	return step, nil
}

func (s *Step) parseNumber(key, value string) (err error) {
	if key == "job" {
		s.Job, err = strconv.Atoi(value)
	} else {
		s.Other, err = strconv.Atoi(value)
	}
	return err
}

func (s *Step) parseText(key, quoted string) error {
	text, err := strconv.Unquote(quoted)
	if key == "result" {
		s.Result = text
	} else {
		s.Fault = Fault(text)
	}
	return err
}
