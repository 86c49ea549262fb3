package model

// breach is what must not happen.
type breach uint8

const (
	sound breach = iota

	// Events.
	wentBack
	replacedFinal
	reopenedSuccess
	ranAfterEnd
	ranAfterCancel
	robbed
	disowned
	miscounted
	acknowledgedNowhere

	// States.
	lost
	doubled
	bodiless
	unheld

	// States in which nothing goes on but faults.
	hanging
	disagrees
	undeserved
	leftover
	neverEnds
	goesRound
)

var breachTexts = [...]string{
	sound:               "",
	wentBack:            "a row went back to a lower version",
	replacedFinal:       "a final row was replaced by another than a requeue's",
	reopenedSuccess:     "a row left succeeded",
	ranAfterEnd:         "a handler was started after its round's final row was saved",
	ranAfterCancel:      "a handler was started by a later claim than an acknowledged cancel",
	robbed:              "a worker that could renew its lease was taken over",
	disowned:            "a worker took a claim for lost that the queue has",
	miscounted:          "an attempt is counted that was none, or none that was",
	acknowledgedNowhere: "a producer was told that a job is enqueued which is nowhere",
	lost:                "an accepted job is in no place",
	doubled:             "a job is in two places",
	bodiless:            "a place holds a job without a body",
	unheld:              "a handler runs under a registered session that doesn't hold its claim",
	hanging:             "a job is left unfinished",
	disagrees:           "queue and row disagree on how a job ended",
	undeserved:          "an accepted job failed though neither its handler nor its crashes say so",
	leftover:            "a finished job left something behind",
	neverEnds:           "nothing comes to its end any more",
	goesRound:           "without a fault or a sweep it can go round for ever",
}

func (b breach) String() string { return breachTexts[b] }

// judge says what is wrong with a state, whatever comes next.
func (m *machine) judge(s *State) breach {
	if s.broken != sound {
		return s.broken
	}
	for j := range m.world.Jobs {
		if b := m.judgePlaces(s, j); b != sound {
			return b
		}
	}
	for w := range s.workers {
		if b := s.judgeHandlers(w); b != sound {
			return b
		}
	}
	return sound
}

// judgePlaces holds a job to one place. Where scripts may fail between their writes it may be in more, but not in none.
func (m *machine) judgePlaces(s *State, job int) breach {
	q := &s.jobs[job]
	places := int(q.pending) + int(q.suspects) - int(q.void)
	if q.scheduled {
		places++
	}
	if q.dead != none {
		places++
	}
	for i := range s.sessions {
		if s.sessions[i].lease != leaseNone && s.sessions[i].held[job] > 0 {
			places++
		}
	}
	switch {
	case q.body && places < 1:
		return lost
	case m.world.Faults.Torn > 0:
	case places > 1:
		return doubled
	case !q.body && places > 0:
		return bodiless
	}
	return sound
}

// judgeHandlers holds running handlers to claims, as far as their workers have no reason to know better.
func (s *State) judgeHandlers(w int) breach {
	p := &s.workers[w]
	if p.session == 0 || !s.sessions[p.session-1].registered() {
		return sound
	}
	for _, a := range p.slots {
		if a.at == started && s.sessions[p.session-1].held[a.job] != a.inQueue {
			return unheld
		}
	}
	return sound
}

// judgeEnd says what is wrong with a state in which nothing can happen any more but faults.
func (m *machine) judgeEnd(s *State) breach {
	for j := range m.world.Jobs {
		r, g := s.rows[j], s.ghosts[j]
		switch p := s.placeOf(j); {
		case r.state == none && p == unknown:
			continue
		case !r.state.final() || p == waits || p == held:
			return hanging
		case p == dead && r.state == succeeded, g.over == succeeded && r.state != succeeded:
			return disagrees
		case p == unknown && g.accepted && r.state != succeeded && !s.lostData:
			return lost
		case r.state == failed && !g.deserved && (g.accepted || g.acked):
			return undeserved
		case m.world.Faults.Torn == 0 && s.leaves(j):
			return leftover
		}
	}
	return sound
}

// leaves reports whether the queue keeps anything of a job that is over: marks, entries, or counts of one it has
// forgotten. A script that failed between its writes may leave some of it.
func (s *State) leaves(job int) bool {
	q := &s.jobs[job]
	return q.marked || q.void+q.pending+q.suspects > 0 || !q.body && q.attempts+q.crashes > 0
}
