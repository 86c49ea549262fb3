package model

// producerStep is Client.Enqueue: save, push, and what follows a refusal. A Push is one whose row was committed; when the
// queue knows its job as dead, it reads the row and asks again before it records that.
func (m *machine) producerStep(s *State, c, job int) {
	pushes := m.world.Clients[c].Kind == Pushes
	switch s.clients[c].at {
	case atStart:
		m.call(s, c, ProducerSave, job, func(n *State, who *caller) { m.producerSave(n, c, job) })
	case atSecond:
		m.producerPush(s, c, job, pushes)
	case atThird:
		m.call(s, c, ProducerRefused, job, func(n *State, who *caller) {
			m.save(n, job, who.row)
			who.finish()
		})
	case atFourth:
		m.call(s, c, ProducerRead, job, func(n *State, who *caller) {
			r := n.rows[job]
			if r.opens() && r.token > 0 && m.has(PushLeavesRounds) {
				who.finish()
				return
			}
			if who.at, who.row.token = atFifth, r.token; !m.has(PushAsksAgain) {
				who.at = atThird
			}
		})
	default:
		m.call(s, c, ProducerPush, job, func(n *State, who *caller) {
			if !m.offer(n, c, job) {
				who.at = atThird
			}
		})
	}
}

func (m *machine) producerSave(s *State, c, job int) {
	who := &s.clients[c]
	got := m.save(s, job, row{state: waiting})
	switch {
	case got.ok || !got.row.state.final() && m.has(EnqueueAsksQueue):
		who.at, who.repeated = atSecond, got.repeated || !got.ok
	case got.row.state.final():
		who.finish()
	default:
		m.acknowledge(s, c, job)
	}
}

func (m *machine) producerPush(s *State, c, job int, pushes bool) {
	m.call(s, c, ProducerPush, job, func(n *State, who *caller) {
		if m.offer(n, c, job) {
			return
		}
		who.at, who.row = atThird, row{state: n.jobs[job].dead, phase: phaseFinal}
		if pushes {
			who.at = atFourth
		}
	})
	if s.jobs[job].body {
		return // known: no refusal
	}
	step := Step{Actor: clientNames[c], Op: ProducerPush, Job: job + 1, Fault: NoMemory}
	m.spend(s, func(f *Faults) *uint8 { return &f.NoMemory }, step, func(n *State) {
		who := &n.clients[c]
		if pushes || who.repeated && m.has(RepeatedGoesOn) || !m.has(RefusalIsSaved) {
			who.finish()
			return
		}
		who.at, who.row = atThird, row{state: failed, phase: phaseFinal}
	})
}

// offer asks the queue to take a job. It reports false when the queue knows it as dead.
func (m *machine) offer(s *State, c, job int) bool {
	if !m.enqueue(s, job) && s.jobs[job].dead != none {
		return false
	}
	m.acknowledge(s, c, job)
	return true
}

// acknowledge tells a producer that its job was enqueued.
func (m *machine) acknowledge(s *State, c, job int) {
	s.clients[c].finish()
	s.ghosts[job].acked = true
	if s.placeOf(job) == unknown && !s.rows[job].state.final() {
		s.broken = acknowledgedNowhere
	}
}
