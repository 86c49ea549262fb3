package model

// attemptSteps are the steps of a job's way in a worker: save running, handler, save outcome, settle.
func (m *machine) attemptSteps(s *State, w, i int) {
	a := s.workers[w].slots[i]
	switch {
	case a.at == claimed && a.rejected == none && !a.stopped:
		if !m.alone(a) || m.onlyOne(s, w) {
			m.saveRunning(s, w, i)
		}
	case a.at == started:
		m.handler(s, w, i)
	case a.at != settled:
		m.saveOutcome(s, w, i)
	case a.verdict != noVerdict:
		m.settleSteps(s, w, i)
	}
}

// onlyOne reports whether a worker has one attempt.
func (m *machine) onlyOne(s *State, w int) bool {
	n := 0
	for _, a := range s.workers[w].slots {
		if a.at != idle {
			n++
		}
	}
	return n == 1
}

// saveRunning records that the job runs, and starts its handler if it may. The two are one step: a worker that stands
// still between them long enough to be robbed starts a handler too many, which is then stopped.
func (m *machine) saveRunning(s *State, w, i int) {
	a := s.workers[w].slots[i]
	job := int(a.job)
	step := Step{Actor: workerNames[w], Op: WorkerSaveRunning, Job: job + 1}
	st := row{running, a.token, phaseRunning}
	m.step(s, step, func(n *State) {
		p := &n.workers[w]
		got := m.save(n, job, st)
		if !got.ok && m.has(RunningIsAsked) {
			p.overrule(m, i, got.row)
			return
		}
		p.slots[i].at = started
		switch g := n.ghosts[job]; {
		case n.rows[job].state.final() && !n.rows[job].refused(), g.over != none && !n.lostData:
			n.broken = ranAfterEnd
		case g.canceled > 0 && a.token > g.canceled:
			n.broken = ranAfterCancel
		}
	})
	step.Fault = LostReply
	m.spend(s, cuts, step, func(n *State) { m.save(n, job, st) })
}

// overrule decides an attempt whose status the store did not take.
func (p *process) overrule(m *machine, i int, r row) {
	a := &p.slots[i]
	p.least = max(p.least, r.token)
	a.at, a.outcome, a.overruled = settled, none, true
	switch {
	case !r.state.final():
		a.verdict = release
		if !m.has(OverruledIsReleased) {
			a.verdict = noVerdict
		}
	case !m.has(OverruledFollowsRow):
		a.verdict = release
	case r.state == succeeded:
		a.verdict = complete
	case r.state == failed:
		a.verdict, a.rejected = bury, failed
	default:
		a.verdict, a.rejected = cancel, canceled
	}
}

// handler lets a handler return in every way that it can.
func (m *machine) handler(s *State, w, i int) {
	a := s.workers[w].slots[i]
	step := Step{Actor: workerNames[w], Op: WorkerHandler, Job: int(a.job) + 1}
	if m.world.Poison == int(a.job)+1 {
		step.Result = "kills its worker"
		m.step(s, step, func(n *State) { n.workers[w] = process{} })
		return
	}
	returns := func(result string, outcome rowState) {
		step.Result = result
		m.step(s, step, func(n *State) {
			b := &n.workers[w].slots[i]
			b.at, b.outcome = ended, outcome
			if !m.has(SaveBeforeSettle) {
				_, v := m.result(*b)
				b.at, b.verdict, b.rejected = settled, v, outcome
			}
			if outcome == failed {
				n.ghosts[a.job].deserved = true
			}
		})
	}
	returns("succeeds", succeeded)
	if m.world.AlwaysSucceeds {
		return
	}
	switch {
	case a.stopped:
		returns("stops", canceled)
	case a.number < maxAttempts:
		returns("fails", retrying)
		returns("fails for good", failed)
	default:
		returns("fails for good", failed)
	}
}

// result is what an attempt that has come to its end is to save, and its verdict.
func (m *machine) result(a attempt) (row, verdict) {
	outcome := a.outcome
	if outcome == none {
		if outcome = a.rejected; a.stopped {
			outcome = canceled
		}
	}
	st := row{outcome, a.token, phaseFinal}
	switch outcome {
	case succeeded:
		return st, complete
	case retrying:
		st.phase = phasePutBack
		return st, retry
	case canceled:
		return st, cancel
	}
	return st, bury
}

func (m *machine) saveOutcome(s *State, w, i int) {
	a := s.workers[w].slots[i]
	job := int(a.job)
	step := Step{Actor: workerNames[w], Op: WorkerSaveOutcome, Job: job + 1}
	st, v := m.result(a)
	m.step(s, step, func(n *State) {
		if a.rejected == failed && (m.world.Poison == 0 || m.world.Poison == job+1) {
			n.ghosts[job].deserved = true // by its crashes
		}
		p := &n.workers[w]
		got := m.save(n, job, st)
		switch {
		case !m.has(SaveBeforeSettle) && a.outcome != none: // it is settled
			p.slots[i] = attempt{}
		case got.ok:
			p.slots[i].at, p.slots[i].verdict = settled, v
			p.slots[i].outcome, p.slots[i].rejected = none, st.state
		default:
			p.overrule(m, i, got.row)
		}
	})
	step.Fault = LostReply
	m.spend(s, cuts, step, func(n *State) { m.save(n, job, st) })
	step.Fault = Refused
	m.spend(s, func(f *Faults) *uint8 { return &f.Unstorable }, step, func(n *State) {
		b := &n.workers[w].slots[i]
		b.at, b.verdict, b.outcome, b.rejected = settled, bury, none, failed
		n.ghosts[job].deserved = true // it is announced so
	})
	if !m.has(SaveIsRepeated) {
		step.Fault = NotSent
		m.spend(s, cuts, step, func(n *State) {
			b := &n.workers[w].slots[i]
			b.at, b.verdict, b.outcome, b.rejected = settled, v, none, st.state
		})
	}
}

// settleSteps settle a verdict, again and again until it is answered.
func (m *machine) settleSteps(s *State, w, i int) {
	a := s.workers[w].slots[i]
	job, ses := int(a.job), int(s.workers[w].session)-1
	v, outcome := a.verdict, a.rejected
	step := Step{Actor: workerNames[w], Op: WorkerSettle, Job: job + 1}
	m.step(s, step, func(n *State) {
		p := &n.workers[w]
		n.end(ses, a, outcome)
		switch {
		case !m.settle(n, ses, job, a.inQueue, v, outcome, false):
			p.lose()
		case !m.has(SaveBeforeSettle) && a.outcome != none:
			p.slots[i].at = ended
		default:
			p.slots[i] = attempt{}
		}
	})
	failing := func(fault Fault, left func(*Faults) *uint8) {
		step.Fault = fault
		m.spend(s, left, step, func(n *State) {
			b := &n.workers[w].slots[i]
			if fault == LostReply {
				n.end(ses, a, outcome)
			}
			if fault == NotSent || m.settle(n, ses, job, a.inQueue, v, outcome, fault == Torn) {
				b.settling = true
				if !m.has(SettleIsRepeated) {
					b.at, b.verdict = settled, noVerdict
				}
			}
		})
	}
	failing(LostReply, cuts)
	failing(Torn, torn)
	if !m.has(SettleIsRepeated) {
		failing(NotSent, cuts)
	}
}

// end notes that a settlement of what an attempt came to ends its round. One that was overruled ends nothing.
func (s *State) end(ses int, a attempt, outcome rowState) {
	x := &s.sessions[ses]
	if outcome.final() && !a.overruled && x.registered() && x.held[a.job] == a.inQueue {
		s.ghosts[a.job].over = outcome
	}
}
