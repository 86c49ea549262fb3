package model

// machine makes the steps of one world, with one rule off.
type machine struct {
	world World
	off   Rule
	emit  func(Step, State)
}

// has reports whether a rule is on.
func (m *machine) has(r Rule) bool { return m.off != r }

// steps emits each step that is possible in s, with the state after it. Steps that change nothing are left out.
func (m *machine) steps(s *State) {
	for w := range m.world.Workers {
		m.workerSteps(s, w)
	}
	for c := range m.world.Clients {
		m.clientSteps(s, c)
	}
	m.leaseSteps(s)
	m.queueFaults(s)
}

// step emits one step, whose state after it is made by change from a copy of s.
func (m *machine) step(s *State, step Step, change func(*State)) {
	next := *s
	change(&next)
	next.normalize()
	if next != *s {
		m.emit(step, next)
	}
}

// spend emits a step that is a fault, if one of its kind is left.
func (m *machine) spend(s *State, left func(*Faults) *uint8, step Step, change func(*State)) {
	if *left(&s.left) == 0 {
		return
	}
	m.step(s, step, func(n *State) {
		*left(&n.left)--
		change(n)
	})
}

func cuts(f *Faults) *uint8 { return &f.Cuts }

// The names of actors.
var (
	workerNames = [maxWorkers]string{"w1", "w2"}
	clientNames = [maxClients]string{"c1", "c2", "c3", "c4"}
)

// leaseSteps let time pass for leases that nobody renews.
func (m *machine) leaseSteps(s *State) {
	for i := range s.sessions {
		switch ses := &s.sessions[i]; {
		case ses.lease == leaseFresh && !m.renews(s, i):
			m.step(s, Step{Actor: "queue", Op: LeaseExpires, Other: i + 1}, func(n *State) {
				n.sessions[i].lease = leaseExpired
			})
		case ses.lease == leaseExpired && !ses.condemned && (!m.renews(s, i) || !m.has(ReaperGrace)):
			m.step(s, Step{Actor: "queue", Op: GracePasses, Other: i + 1}, func(n *State) {
				n.sessions[i].condemned = true
				if m.renews(n, i) {
					n.broken = robbed
				}
			})
		}
	}
}

// renews reports whether a session has a worker that can beat: one that renews its lease in time.
func (m *machine) renews(s *State, session int) bool {
	w := owner(s, session)
	return w >= 0 && s.workers[w].power == up
}

// owner returns the worker that believes to have a session, -1 if none does.
func owner(s *State, session int) int {
	for w := range s.workers {
		if int(s.workers[w].session) == session+1 {
			return w
		}
	}
	return -1
}

// queueFaults are what can happen to the queue's server.
func (m *machine) queueFaults(s *State) {
	m.spend(s, func(f *Faults) *uint8 { return &f.Away }, Step{Actor: "queue", Op: QueueAway}, func(n *State) {
		for i := range n.sessions {
			if n.sessions[i].lease == leaseFresh {
				n.sessions[i].lease = leaseExpired
			}
		}
	})
	m.spend(s, func(f *Faults) *uint8 { return &f.Empty }, Step{Actor: "queue", Op: QueueEmpty}, func(n *State) {
		n.jobs = [maxJobs]queued{}
		n.sessions = [maxSessions]session{}
		n.lostData = true
		for j := range n.ghosts {
			n.ghosts[j].canceled, n.ghosts[j].tries = 0, 0 // its mark and its counts are gone
		}
		if m.world.ClockBack || !m.has(TokensRise) {
			n.counter = 0
		}
	})
}
