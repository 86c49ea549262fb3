package model

const (
	maxAttempts = 2
	maxEntries  = 3 // of one job in the lists: more are one breach or another
)

// draw returns the next fencing token. When the queue's clock has stepped back as well, it is below some, but equal to
// none.
func (m *machine) draw(s *State, least token) token {
	t := max(s.counter, least) + 1
	if m.world.ClockBack && s.lostData {
		s.tokens(func(u *token) {
			if *u >= t {
				*u++
			}
		})
	}
	s.counter = t
	return t
}

// placeOf is the scripts' place_of: it is given every worker's claims.
func (s *State) placeOf(job int) place {
	for i := range s.sessions {
		if s.sessions[i].lease != leaseNone && s.sessions[i].held[job] > 0 {
			return held
		}
	}
	switch q := &s.jobs[job]; {
	case q.dead != none:
		return dead
	case q.body:
		return waits
	}
	return unknown
}

// enqueue is the enqueue script: it reports whether the job is new.
func (m *machine) enqueue(s *State, job int) bool {
	q := &s.jobs[job]
	if q.body && m.has(EnqueueByID) {
		return false
	}
	q.body = true
	q.addPending()
	s.ghosts[job].accepted = true
	s.ghosts[job].tries = 0
	return true
}

func (q *queued) addPending()  { q.pending = min(q.pending+1, maxEntries) }
func (q *queued) addSuspects() { q.suspects = min(q.suspects+1, maxEntries) }

// putBack is the scripts' put_back: it only adds.
func (m *machine) putBack(s *State, job int) {
	if q := &s.jobs[job]; int(q.crashes) >= m.world.threshold() {
		q.addSuspects()
	} else {
		q.addPending()
	}
}

// take is the claim script for one job and a worker that may hold a suspect or not. Which of several waiting jobs a claim
// hands out is left open.
func (m *machine) take(s *State, ses, job int, least token, maySuspect bool) (attempt, bool) {
	q := &s.jobs[job]
	if q.scheduled { // due
		q.scheduled = false
		m.putBack(s, job)
	}
	a, ok := m.takeFrom(s, ses, job, &q.suspects, least, maySuspect)
	if !ok {
		a, ok = m.takeFrom(s, ses, job, &q.pending, least, true)
	}
	if m.noEntries(s) { // void entries of nothing
		for j := range s.jobs {
			s.jobs[j].void = 0
		}
	}
	return a, ok
}

func (m *machine) noEntries(s *State) bool {
	for j := range s.jobs {
		if s.jobs[j].pending+s.jobs[j].suspects > 0 {
			return false
		}
	}
	return true
}

// takeFrom takes a job from one list, and drops its entries there that do not count.
func (m *machine) takeFrom(s *State, ses, job int, list *uint8, least token, maySuspect bool) (attempt, bool) {
	q := &s.jobs[job]
	for *list > 0 {
		if q.void > 0 {
			q.void--
			*list--
			continue
		}
		if !q.body {
			*list--
			continue
		}
		runs := int(q.crashes) < m.world.maxCrashes() && !q.marked
		if runs && !maySuspect && m.has(SuspectsApart) {
			return attempt{}, false
		}
		t := m.draw(s, least)
		s.sessions[ses].held[job] = t
		if q.attempts != s.ghosts[job].tries && m.world.Faults.Torn == 0 {
			s.broken = miscounted
		}
		*list--
		return m.claimedAttempt(q, job, t), true
	}
	return attempt{}, false
}

func (m *machine) claimedAttempt(q *queued, job int, t token) attempt {
	a := attempt{at: claimed, job: uint8(job), token: t, inQueue: t, number: q.attempts + 1, crashes: q.crashes}
	switch {
	case q.marked && m.has(CancelMarks):
		a.rejected = canceled
	case int(q.crashes) >= m.world.maxCrashes() && m.has(CrashesCount):
		a.rejected = failed
	default:
		a.suspect = int(q.crashes) >= m.world.threshold()
	}
	return a
}

// settle is the settle script for one verdict. It reports false when the session is over.
func (m *machine) settle(s *State, ses, job int, t token, v verdict, outcome rowState, torn bool) bool {
	if !s.sessions[ses].registered() && m.has(SettleChecksSession) {
		return false
	}
	entry := &s.sessions[ses].held[job]
	if *entry == 0 || *entry != t && m.has(SettleChecksToken) {
		return true // ignored
	}
	if torn && !m.has(DestinationFirst) {
		*entry = 0
		return true
	}
	q := &s.jobs[job]
	switch v {
	case complete:
		if torn {
			return true // its deletions are of one place each
		}
		*q = queued{pending: q.pending, suspects: q.suspects, void: q.void, marked: q.marked && !m.has(EndDropsMark)}
	case retry:
		s.ghosts[job].tries = min(s.ghosts[job].tries+1, maxAttempts)
		q.attempts = min(q.attempts+1, maxAttempts)
		q.scheduled = true
	case release:
		m.putBack(s, job)
	case bury, cancel:
		q.dead = outcome
		if m.has(EndDropsMark) {
			q.marked = false
		}
	}
	if !torn {
		*entry = 0
	}
	return true
}

// markCanceled is the cancel_mark script.
func (m *machine) markCanceled(s *State, job int) (place, token) {
	p := s.placeOf(job)
	t := m.draw(s, 0)
	if (p == waits || p == held) && m.has(CancelMarks) {
		s.jobs[job].marked = true
	}
	return p, t
}

// removeCanceled is the cancel_remove script; at is the place that the caller knows from before.
func (m *machine) removeCanceled(s *State, job int, at place) {
	q := &s.jobs[job]
	p := s.placeOf(job)
	if !m.has(RemoveAsksAnew) {
		p = at
	}
	switch {
	case p == held:
		return
	case p != waits:
		q.marked = false
		return
	case !q.marked && m.has(RemoveKeepsUnmarked) && m.has(RemoveAsksAnew) && m.has(CancelMarks):
		return
	}
	q.dead = canceled
	if q.scheduled {
		q.scheduled = false
	} else if m.has(RemovedEntriesVoid) {
		q.void = min(q.void+1, maxEntries)
	}
	q.marked = false
}

// reopen is the requeue_move script. It reports whether it moved the job: not one that is active.
func (m *machine) reopen(s *State, job int) bool {
	if p := s.placeOf(job); p == waits || p == held {
		return false
	}
	q := &s.jobs[job]
	was := *q
	*q = queued{body: true, pending: q.pending, suspects: q.suspects, void: q.void}
	if !m.has(RoundStartsAnew) {
		q.attempts, q.crashes = was.attempts, was.crashes
	}
	q.addPending()
	g := &s.ghosts[job]
	g.accepted, g.tries = true, 0
	g.canceled = 0 // a cancel of this moment came before the round, or else comes upon it
	return true
}

// retire is one call of the retire script by a reaper, with a batch of one job.
func (m *machine) retire(s *State, ses int, torn bool) {
	x := &s.sessions[ses]
	if x.lease == leaseFresh && m.has(DeadlineCompared) {
		x.condemned = false // alive
		return
	}
	if x.lease == leaseFresh && m.renews(s, ses) {
		s.broken = robbed
	}
	if m.has(FenceBeforeMove) {
		x.lease = leaseFenced
	}
	left := 0
	last := -1
	for j, t := range x.held {
		if t > 0 {
			left++
			if last < 0 || t > x.held[last] {
				last = j
			}
		}
	}
	if last >= 0 {
		m.moveBack(s, x, last, torn)
		left--
	}
	if torn {
		return
	}
	if left == 0 || !m.has(RemoveWhenEmpty) {
		*x = session{}
	}
}

// closeSession is retire as a worker calls it for itself: all that it holds goes back, with no crash counted.
func (m *machine) closeSession(s *State, w int) {
	p := &s.workers[w]
	x := &s.sessions[p.session-1]
	if x.registered() {
		for j, t := range x.held {
			if t > 0 && (m.has(CloseReadsQueue) || p.knows(j, t)) {
				m.putBack(s, j)
			}
		}
		*x = session{}
	}
	*p = process{}
}

// moveBack is retire's way with one job.
func (m *machine) moveBack(s *State, x *session, job int, torn bool) {
	if torn && !m.has(DestinationFirst) {
		x.held[job] = 0
		return
	}
	if m.has(CrashesCount) {
		s.jobs[job].crashes = min(s.jobs[job].crashes+1, maxEntries)
	}
	m.putBack(s, job)
	if !torn {
		x.held[job] = 0
	}
}
