package sse

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// A status is saved before it is announced. A viewer who is shown a row whose announcement is still on its way would miss
// the states before it, so a young row that is ahead of the log is kept back for a moment.
const (
	// announceLag is how long such a row is kept back.
	announceLag = time.Second
	// youngRow is how old a row is, by its own time, when nothing of it can be on its way any more. It allows for clocks
	// that differ.
	youngRow = 10 * time.Second
)

// awaited is a row that a stream keeps back.
type awaited struct {
	version int64
	since   time.Time
}

// early reports whether a row of a topic is to be kept back from a viewer who has been shown last of the job, nil for
// nothing. Before has the rows that were kept back of the topic's snapshot before.
func (s *stream) early(topic int, row, last *worker.Status, before map[string]awaited) bool {
	now, p := time.Now(), &s.places[topic]
	a, waited := before[row.JobID]
	switch {
	case !newer(row, last), now.Sub(row.At) >= youngRow, waited && now.Sub(a.since) >= announceLag:
		return false
	case !waited:
		a = awaited{version: row.Version, since: now}
	}
	if p.awaited == nil {
		p.awaited = make(map[string]awaited, 1)
	}
	p.awaited[row.JobID] = a
	s.soon = true
	return true
}

// arrived notes that the viewer is shown st.
func (p *place) arrived(st *worker.Status) {
	if a, ok := p.awaited[st.JobID]; ok && st.Version >= a.version {
		delete(p.awaited, st.JobID)
	}
}

// settled returns the rows of a topic's snapshot that may be shown now. Rows that were kept back and are not in it, as
// they were deleted or are not for viewers any more, are awaited no longer.
func (s *stream) settled(topic int, rows []worker.Status) []worker.Status {
	p := &s.places[topic]
	before := p.awaited
	p.awaited = nil
	kept := rows[:0:0]
	for i := range rows {
		if !s.early(topic, &rows[i], s.jobs.last(rows[i].JobID), before) {
			kept = append(kept, rows[i])
		}
	}
	return kept
}

// awaits reports whether rows are kept back.
func (s *stream) awaits() bool {
	for i := range s.places {
		if len(s.places[i].awaited) > 0 {
			return true
		}
	}
	return false
}
