package history

import (
	"fmt"
	"maps"
	"slices"

	"github.com/real-staging-ai/go-worker"
)

// viewing is invariant 14.
var viewing = []rule{
	{14, "a viewer sees the states of a job in order", other, (*view).seenBackwards},
	{14, "a viewer sees the end of each job", other, (*view).endUnseen},
}

func (v *view) seenBackwards(s *story) string {
	for _, name := range slices.Sorted(maps.Keys(s.viewers)) {
		seen := s.viewers[name].seen
		for i := 1; i < len(seen); i++ {
			if seen[i].Version < seen[i-1].Version {
				return fmt.Sprintf("%s saw %s after %s, which is later", name, seen[i].State, seen[i-1].State)
			}
		}
	}
	return ""
}

func (v *view) endUnseen(s *story) string {
	end := v.endState(s)
	for _, name := range slices.Sorted(maps.Keys(s.viewers)) {
		left := v.fate(name).end != 0
		if end == "" || left {
			continue
		}
		seen := s.viewers[name].seen
		switch {
		case len(seen) == 0:
			return fmt.Sprintf("%s saw nothing of it", name)
		case seen[len(seen)-1].State != end:
			return fmt.Sprintf("%s saw it as %s last, not as %s", name, seen[len(seen)-1].State, end)
		}
	}
	return ""
}

// endState is the final state that viewers must have seen, empty when there is none.
func (v *view) endState(s *story) worker.State {
	switch {
	case s.hasRow && s.row.State.Final():
		return s.row.State
	case !s.hasRow && s.last() != nil:
		return s.last().State
	}
	return ""
}
