package history

import "fmt"

// sweeping is invariant 1 while Redis keeps its data: what a sweep finds and heals would otherwise hide that it was lost.
var sweeping = []rule{
	{1, "an accepted job is in its queue until it ends, also without a sweep", lost, (*view).healed},
}

func (v *view) healed(s *story) string {
	for _, e := range s.missed {
		switch {
		case v.lostBy(e.At):
		case e.Token > 0:
			return fmt.Sprintf("the queue lost it after claim %d, and %s enqueued it again", e.Token, e.Proc)
		case s.accepted && s.answered < e.At:
			return fmt.Sprintf("the queue lost it after its enqueue was OK, and %s enqueued it again", e.Proc)
		}
	}
	return ""
}
