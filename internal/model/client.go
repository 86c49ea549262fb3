package model

// Kind is what a client does, once.
type Kind uint8

// The clients. A sweeping one goes on for ever.
const (
	Enqueues Kind = iota + 1
	Cancels
	Requeues
	Sweeps
	Pushes // what was committed with its row
)

// ClientSpec is one client of a world.
type ClientSpec struct {
	Kind Kind
	Job  int // from 1; a sweep's is 0
}

// Where a client is. Each kind counts from atStart on.
const (
	atStart = iota
	atSecond
	atThird
	atFourth
	atFifth
	atEnd
)

// clientSteps are the next step of a client, and what can befall it.
func (m *machine) clientSteps(s *State, c int) {
	spec := m.world.Clients[c]
	who := &s.clients[c]
	switch {
	case who.at == atEnd:
		return
	case spec.Kind == Enqueues || spec.Kind == Pushes:
		m.producerStep(s, c, spec.Job-1)
	case spec.Kind == Cancels:
		m.cancelStep(s, c, spec.Job-1)
	case spec.Kind == Requeues:
		m.requeueStep(s, c, spec.Job-1)
	default:
		m.sweepStep(s, c)
	}
	if who.at == atStart {
		return
	}
	m.spend(s, func(f *Faults) *uint8 { return &f.ClientDeaths }, Step{Actor: clientNames[c], Op: ClientDies},
		func(n *State) {
			if n.clients[c].finish(); spec.Kind == Sweeps {
				n.clients[c] = caller{}
			}
		})
	if spec.Kind != Sweeps {
		m.spend(s, func(f *Faults) *uint8 { return &f.Repeats }, Step{Actor: clientNames[c], Op: ClientRepeats},
			func(n *State) { n.clients[c] = caller{} })
	}
}

// finish ends a client's operation.
func (c *caller) finish() { *c = caller{at: atEnd} }

// call emits one step of a client.
func (m *machine) call(s *State, c int, op Op, job int, change func(*State, *caller)) {
	m.step(s, Step{Actor: clientNames[c], Op: op, Job: job + 1}, func(n *State) { change(n, &n.clients[c]) })
}

// cancelStep is Client.Cancel: read, mark, save, remove.
func (m *machine) cancelStep(s *State, c, job int) {
	first, second := CancelSave, CancelRemove
	if !m.has(CancelSavesFirst) {
		first, second = second, first
	}
	switch s.clients[c].at {
	case atStart:
		m.call(s, c, CancelRead, job, func(n *State, who *caller) {
			who.at, who.row = atSecond, n.rows[job]
			if r := who.row; r.state.final() && r.token > 0 {
				who.finish()
			}
		})
	case atSecond:
		m.call(s, c, CancelMark, job, func(n *State, who *caller) { m.cancelMark(n, who, job) })
	case atThird:
		m.cancelHalf(s, c, job, first, atFourth)
	default:
		m.cancelHalf(s, c, job, second, atEnd)
	}
}

func (m *machine) cancelMark(s *State, who *caller, job int) {
	p, t := m.markCanceled(s, job)
	switch {
	case p == held:
		s.ghosts[job].canceled = t // its caller is told that it runs, and will end
		who.finish()
	case p != waits && who.row.state == none:
		who.finish()
	default:
		*who = caller{at: atThird, token: t, place: p}
	}
}

func (m *machine) cancelHalf(s *State, c, job int, op Op, next uint8) {
	m.call(s, c, op, job, func(n *State, who *caller) {
		who.at = next
		if op == CancelRemove {
			m.removeCanceled(n, job, who.place)
		} else if !m.cancelSave(n, who, job) {
			who.at = atEnd
		}
		if who.at == atEnd {
			if who.repeated && n.rows[job].state == canceled { // it was saved, and its caller is told so
				n.ghosts[job].canceled = max(n.ghosts[job].canceled, who.token)
			}
			who.finish()
		}
	})
}

// cancelSave reports whether the cancel goes on. Its caller's repeated says that the row was saved.
func (m *machine) cancelSave(s *State, who *caller, job int) bool {
	t := who.token
	if !m.has(CancelDrawsToken) {
		t = 0
	}
	got := m.save(s, job, row{canceled, t, phaseFinal})
	who.repeated = got.ok
	return got.ok || got.row.state == canceled || got.row.state.final() && !m.has(CancelRemovesCanceled)
}

// requeueStep is Client.Requeue: read, draw, save, move.
func (m *machine) requeueStep(s *State, c, job int) {
	first, second := RequeueSave, RequeueMove
	if !m.has(RequeueSavesFirst) {
		first, second = second, first
	}
	switch s.clients[c].at {
	case atStart:
		m.call(s, c, RequeueRead, job, func(n *State, who *caller) {
			who.at, who.row = atSecond, n.rows[job]
			if who.row.state == succeeded {
				who.finish()
			}
		})
	case atSecond:
		m.call(s, c, RequeueDraw, job, func(n *State, who *caller) {
			p := n.placeOf(job)
			if (p == waits || p == held) && m.has(RequeueAsksPlace) || p == unknown && who.row.state == none {
				who.finish()
				return
			}
			*who = caller{at: atThird, token: m.draw(n, 0)}
		})
	case atThird:
		m.requeueHalf(s, c, job, first, atFourth)
	default:
		m.requeueHalf(s, c, job, second, atEnd)
	}
}

func (m *machine) requeueHalf(s *State, c, job int, op Op, next uint8) {
	m.call(s, c, op, job, func(n *State, who *caller) {
		who.at = next
		if op == RequeueMove {
			m.reopen(n, job)
		} else {
			got := m.save(n, job, row{waiting, who.token, phaseWaiting})
			if !got.ok && (got.row.state.final() || !m.has(RequeueFinishesCut)) {
				who.at = atEnd
			}
		}
		if who.at == atEnd {
			who.finish()
		}
	})
}

// sweepStep is Client.Sweep for one row: list, ask the queue, read again, then push or reopen, or record the end.
func (m *machine) sweepStep(s *State, c int) {
	who := s.clients[c]
	job := int(who.job)
	switch who.at {
	case atStart:
		for j := range m.world.Jobs {
			if r := s.rows[j]; r.state != none && !r.state.final() && m.has(SweepEnqueues) {
				m.call(s, c, SweepList, j, func(n *State, who *caller) { who.at, who.job, who.row = atSecond, uint8(j), r })
			}
		}
	case atSecond:
		m.call(s, c, SweepAsk, job, func(n *State, who *caller) {
			if who.at, who.place = atThird, n.placeOf(job); who.place == waits || who.place == held {
				who.rest()
			} else if m.has(SweepReadsAgain) {
				who.row = row{} // what the page said may be over
			}
		})
	case atThird:
		m.sweepAct(s, c, job)
	default:
		m.call(s, c, SweepRecord, job, func(n *State, who *caller) {
			m.save(n, job, who.row)
			who.rest()
		})
	}
}

// rest ends what a sweep does about one job.
func (c *caller) rest() { *c = caller{reopened: c.reopened} }

// sweepAct reads the row again, and acts in a step after it.
func (m *machine) sweepAct(s *State, c, job int) {
	who := s.clients[c]
	if who.row.state == none {
		m.call(s, c, SweepRead, job, func(n *State, who *caller) {
			if who.row = n.rows[job]; who.row.state.final() {
				who.rest()
			}
		})
		return
	}
	if cut := who.place == dead && who.row.opens() && who.row.token > 0; cut && who.reopened[job] != who.row.token &&
		m.has(SweepFinishesRequeue) {
		m.call(s, c, SweepReopen, job, func(n *State, who *caller) {
			if m.reopen(n, job) || !m.has(ReopenTellsActive) {
				who.reopened[job] = who.row.token
			}
			who.rest()
		})
		return
	}
	m.call(s, c, SweepPush, job, func(n *State, who *caller) {
		m.enqueue(n, job)
		end := n.jobs[job].dead
		if end == none || !m.has(SweepRecordsDead) || who.place != dead && m.has(SweepRecordsSeenDead) {
			who.rest()
			return
		}
		who.at, who.row = atFourth, row{end, who.row.token, phaseFinal}
		if !m.has(SweepKeepsToken) {
			who.row.token = m.draw(n, 0)
		}
	})
}
