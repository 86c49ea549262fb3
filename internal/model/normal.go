package model

import "cmp"

// normalize gives states that behave the same the same form, so that they are one: sessions are where their workers are,
// and tokens are ranks.
func (s *State) normalize() {
	s.placeSessions()
	s.rankTokens()
}

// placeSessions gives each worker's session the worker's place, and those that no worker has the last ones.
func (s *State) placeSessions() {
	var placed [maxSessions]session
	var taken [maxSessions]bool
	for w := range s.workers {
		if p := &s.workers[w]; p.session > 0 {
			placed[w] = s.sessions[p.session-1]
			s.sessions[p.session-1] = session{}
			p.session = uint8(w + 1)
			taken[w] = true
		}
	}
	last := maxSessions - 1
	for _, x := range s.orphans() {
		if x == (session{}) {
			break
		}
		for taken[last] {
			last--
		}
		placed[last] = x
		last--
	}
	s.sessions = placed
}

// orphans returns what is left of the sessions, in an order of its own, empty ones last.
func (s *State) orphans() [maxSessions]session {
	rest := s.sessions
	for i := 1; i < len(rest); i++ {
		for j := i; j > 0 && rest[j].compare(rest[j-1]) > 0; j-- {
			rest[j], rest[j-1] = rest[j-1], rest[j]
		}
	}
	return rest
}

func (s session) compare(t session) int {
	c := cmp.Compare(s.lease, t.lease)
	for j := range s.held {
		c = cmp.Or(c, cmp.Compare(s.held[j], t.held[j]))
	}
	if c == 0 && s.condemned != t.condemned {
		c = 1
		if t.condemned {
			c = -1
		}
	}
	return c
}

// tokens calls visit for each token in the state.
func (s *State) tokens(visit func(*token)) {
	visit(&s.counter)
	for i := range s.sessions {
		for j := range maxJobs {
			visit(&s.sessions[i].held[j])
		}
	}
	for j := range maxJobs {
		visit(&s.rows[j].token)
		visit(&s.ghosts[j].canceled)
	}
	for i := range s.workers {
		s.workers[i].tokens(visit)
	}
	for i := range s.clients {
		c := &s.clients[i]
		visit(&c.token)
		visit(&c.row.token)
		for j := range maxJobs {
			visit(&c.reopened[j])
		}
	}
}

func (p *process) tokens(visit func(*token)) {
	if p.power == down {
		return
	}
	visit(&p.least)
	visit(&p.reply.attempt.token)
	visit(&p.reply.attempt.inQueue)
	for j := range maxJobs {
		visit(&p.beat.held[j])
		visit(&p.strange[j].token)
	}
	for i := range p.slots {
		visit(&p.slots[i].token)
		visit(&p.slots[i].inQueue)
	}
}

// rankTokens replaces tokens by their ranks. Nothing but their order is ever looked at, so a state goes on as before, and
// a world in which claims go round for ever has finitely many states.
func (s *State) rankTokens() {
	var used uint64
	s.tokens(func(t *token) { used |= 1 << *t })
	used |= 1 // 0 stays 0: no token
	if used&(used+1) == 0 {
		return // no gaps
	}
	var rank [64]token
	next := token(0)
	for t := range rank {
		rank[t] = next
		if used>>t&1 == 1 {
			next++
		}
	}
	s.tokens(func(t *token) { *t = rank[*t] })
}
