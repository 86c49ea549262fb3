package model

import (
	"fmt"
	"strings"
)

// Schedule is a way from a world's beginning to a breach, found with one rule off.
type Schedule struct {
	World  string
	Rule   Rule
	Breach string
	Steps  []Step
}

// String returns the text form of a schedule, which Parse reads.
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "world: %s\nwithout: %s\nbreach: %s\n\n", s.World, s.Rule, s.Breach)
	for _, step := range s.Steps {
		b.WriteString(step.String())
		b.WriteByte('\n')
	}
	return b.String()
}
