package model

// workerSteps are what a worker can do, and what can befall it.
func (m *machine) workerSteps(s *State, w int) {
	p := &s.workers[w]
	name := workerNames[w]
	switch {
	case p.power == paused:
		m.step(s, Step{Actor: name, Op: WorkerResume}, func(n *State) { n.workers[w].power = up })
		return
	case p.session == 0:
		m.open(s, w)
		return
	}
	m.claims(s, w)
	m.beats(s, w)
	for i := range p.slots {
		if p.slots[i].at != idle {
			m.attemptSteps(s, w, i)
		}
	}
	m.takeovers(s, w)
	m.spend(s, func(f *Faults) *uint8 { return &f.Deaths }, Step{Actor: name, Op: WorkerDies}, func(n *State) {
		n.workers[w] = process{}
	})
	m.spend(s, func(f *Faults) *uint8 { return &f.Stops }, Step{Actor: name, Op: WorkerStops}, func(n *State) {
		m.closeSession(n, w)
	})
	m.spend(s, func(f *Faults) *uint8 { return &f.Pauses }, Step{Actor: name, Op: WorkerPauses}, func(n *State) {
		n.workers[w].power = paused
	})
}

// open registers a new session, under a name that nobody goes by.
func (m *machine) open(s *State, w int) {
	for i := range s.sessions {
		if s.sessions[i].lease != leaseNone || owner(s, i) >= 0 {
			continue
		}
		m.step(s, Step{Actor: workerNames[w], Op: WorkerOpen, Other: i + 1}, func(n *State) {
			n.sessions[i] = session{lease: leaseFresh}
			n.workers[w].power, n.workers[w].session = up, uint8(i+1)
		})
		return
	}
}

// lose gives up all that belongs to a session that is over.
func (p *process) lose() { *p = process{power: p.power, least: p.least} }

// claims are the calls of Claim, for one job each.
func (m *machine) claims(s *State, w int) {
	p := &s.workers[w]
	name, ses := workerNames[w], int(p.session)-1
	if p.reply.under {
		job := int(p.reply.job)
		m.step(s, Step{Actor: name, Op: WorkerClaimed, Job: job + 1}, func(n *State) {
			n.workers[w].receive(n.workers[w].reply.attempt)
		})
		return
	}
	if !m.mayClaim(s, w) {
		return
	}
	for job := range m.world.Jobs {
		q := &s.jobs[job]
		if q.pending+q.suspects == 0 && !q.scheduled {
			continue
		}
		step := Step{Actor: name, Op: WorkerClaim, Job: job + 1}
		m.step(s, step, func(n *State) {
			if a, ok := m.claim(n, w, job); ok {
				n.workers[w].receive(a)
			}
		})
		step.Fault = LostReply
		m.spend(s, cuts, step, func(n *State) { m.claim(n, w, job) })
		step.Fault = Slow
		m.spend(s, cuts, step, func(n *State) {
			a, ok := m.claim(n, w, job)
			n.workers[w].reply = claimReply{under: ok, job: uint8(job), attempt: a}
		})
		step.Fault = Torn
		m.spend(s, torn, step, func(n *State) { m.tearClaim(n, w, ses, job) })
	}
}

// tearClaim is a claim whose script failed between its writes.
func (m *machine) tearClaim(s *State, w, ses, job int) {
	before := s.jobs[job]
	_, ok := m.claim(s, w, job)
	switch {
	case !ok:
	case m.has(DestinationFirst):
		s.jobs[job].pending, s.jobs[job].suspects = before.pending, before.suspects
	default:
		s.sessions[ses].held[job] = 0
	}
}

// mayClaim reports whether the pool has a slot for a job: none beside one that has its last crash to spend.
func (m *machine) mayClaim(s *State, w int) bool {
	free := 0
	for _, a := range s.workers[w].slots {
		if a.at == idle {
			free++
		} else if m.alone(a) {
			return false
		}
	}
	return free > maxSlots-m.world.Slots
}

// alone reports whether an attempt has the job's last crash to spend.
func (m *machine) alone(a attempt) bool {
	return a.suspect && int(a.crashes) >= m.world.maxCrashes()-1 && m.has(SuspectsApart)
}

// claim is the queue's part of a claim.
func (m *machine) claim(s *State, w, job int) (attempt, bool) {
	p := &s.workers[w]
	ses := int(p.session) - 1
	if !s.sessions[ses].registered() && m.has(ClaimChecksSession) {
		p.lose()
		return attempt{}, false
	}
	return m.take(s, ses, job, p.least, m.maySuspect(s, w))
}

// maySuspect reports whether a claim may take a suspect that runs: only while none is held, knowingly or not.
func (m *machine) maySuspect(s *State, w int) bool {
	p := &s.workers[w]
	for _, a := range p.slots {
		if a.at != idle && a.suspect {
			return false
		}
	}
	for job, t := range s.sessions[p.session-1].held {
		if t > 0 && !p.knows(job, t) {
			return false
		}
	}
	return true
}

// knows reports whether the worker knows of a claim that the queue has.
func (p *process) knows(job int, t token) bool {
	for _, a := range p.slots {
		if a.at != idle && int(a.job) == job && a.inQueue == t {
			return true
		}
	}
	return false
}

// receive takes in the answer to a claim. A job that is held already goes on under its new token.
func (p *process) receive(got attempt) {
	p.reply = claimReply{}
	for j := range p.strange {
		p.strange[j].blocked = false
	}
	free := -1
	for i := range p.slots {
		switch a := &p.slots[i]; {
		case a.at == idle:
			free = i
		case a.job == got.job && !a.settling:
			a.inQueue = got.token
			return
		}
	}
	if free >= 0 {
		p.slots[free] = got
	}
}

// beats are the heartbeats. A beat and its answer are one step unless the answer is slow.
func (m *machine) beats(s *State, w int) {
	p := &s.workers[w]
	name := workerNames[w]
	if p.beat.under {
		m.step(s, Step{Actor: name, Op: BeatReply}, func(n *State) {
			heard := n.workers[w].beat
			n.workers[w].beat = beatReply{}
			m.compare(n, w, heard)
		})
		return
	}
	m.step(s, Step{Actor: name, Op: Beat}, func(n *State) {
		if heard, ok := m.beat(n, w); ok {
			m.compare(n, w, heard)
		}
	})
	m.spend(s, cuts, Step{Actor: name, Op: Beat, Fault: Slow}, func(n *State) {
		if heard, ok := m.beat(n, w); ok {
			heard.under = true
			n.workers[w].beat = heard
		}
	})
}

// beat is the heartbeat script.
func (m *machine) beat(s *State, w int) (beatReply, bool) {
	p := &s.workers[w]
	x := &s.sessions[p.session-1]
	if !x.registered() {
		p.lose()
		return beatReply{}, false
	}
	x.lease = leaseFresh
	heard := beatReply{held: x.held}
	for j, t := range x.held {
		heard.marked[j] = t > 0 && s.jobs[j].marked
	}
	return heard, true
}

// compare is what the worker makes of a beat's answer: the ledger's compare, and what follows from it.
func (m *machine) compare(s *State, w int, heard beatReply) {
	p := &s.workers[w]
	for j, t := range heard.held {
		m.compareStrange(s, w, j, t)
		if heard.marked[j] {
			p.stop(j)
		}
	}
	for i := range p.slots {
		a := &p.slots[i]
		if a.at == idle {
			continue
		}
		missing := heard.held[a.job] != a.inQueue && (!a.settling || !m.has(SettlingIsNotMissing))
		running := a.at == claimed || a.at == started
		if missing && running && (a.missing || !m.has(LostAtTwoBeats)) {
			if s.sessions[p.session-1].held[a.job] == a.inQueue {
				s.broken = disowned
			}
			*a = attempt{}
			continue
		}
		a.missing = missing
	}
}

// compareStrange gives back a claim that nobody here knows.
func (m *machine) compareStrange(s *State, w, job int, t token) {
	p := &s.workers[w]
	known := &p.strange[job]
	if t == 0 || p.knows(job, t) {
		*known = stranger{}
		return
	}
	if known.token != t {
		*known = stranger{token: t, blocked: p.reply.under}
		if m.has(ReturnedAtTwoBeats) {
			return
		}
	}
	if m.has(LostClaimsReturn) && (!known.blocked || !m.has(UnansweredClaimsWait)) {
		m.settle(s, int(p.session)-1, job, t, release, none, false)
		*known = stranger{}
	}
}

// stop tells the handlers of a job that it is canceled.
func (p *process) stop(job int) {
	for i := range p.slots {
		if a := &p.slots[i]; int(a.job) == job && (a.at == claimed || a.at == started) {
			a.stopped = true
		}
	}
}

// takeovers are the calls of retire on other sessions.
func (m *machine) takeovers(s *State, w int) {
	for i := range s.sessions {
		if !s.sessions[i].condemned || i == int(s.workers[w].session)-1 {
			continue
		}
		step := Step{Actor: workerNames[w], Op: Takeover, Other: i + 1}
		m.step(s, step, func(n *State) { m.retire(n, i, false) })
		step.Fault = Torn
		m.spend(s, torn, step, func(n *State) { m.retire(n, i, true) })
	}
}

func torn(f *Faults) *uint8 { return &f.Torn }
