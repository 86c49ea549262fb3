package model

// answer is worker.Saved.
type answer struct {
	ok, repeated bool
	row          row // when not ok
}

// save is StatusStore.Save of one status. It also judges: whatever the rules in force allow, a row may not do what users
// must never see.
func (m *machine) save(s *State, job int, st row) answer {
	was := s.rows[job]
	switch {
	case was.state == none:
	case was.version() == st.version():
		return answer{ok: true, repeated: true}
	case !m.supersedes(st, was):
		return answer{row: was}
	}
	s.rows[job] = st
	switch {
	case was.state == succeeded:
		s.broken = reopenedSuccess
	case was.state.final() && !was.refused() && (!st.opens() || st.token <= was.token):
		s.broken = replacedFinal
	case st.version() < was.version() && !was.refused():
		s.broken = wentBack
	}
	if st.opens() && st.token > 0 { // a new round
		g := &s.ghosts[job]
		g.deserved, g.over, g.canceled = false, none, 0
	}
	return answer{ok: true}
}

// supersedes is worker.Status.Supersedes.
func (m *machine) supersedes(st, was row) bool {
	switch {
	case was.state == succeeded && m.has(SucceededStays):
		return false
	case was.state.final() && was.token == 0 && m.has(RefusedRowYields):
		return st.opens() || st.version() > was.version()
	case was.state.final() && m.has(FinalRowsStay):
		return st.opens() && st.token > was.token
	case st.opens() && st.token > 0 && !was.state.final() && m.has(RoundReplacesNothing):
		return false
	}
	return st.version() > was.version() || !m.has(RowsMoveForward)
}
