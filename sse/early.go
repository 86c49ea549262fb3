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

// early reports whether a row is to be kept back from a viewer who has been shown last of the job, nil for nothing.
func (s *stream) early(row, last *worker.Status) bool {
	if !newer(row, last) || time.Since(row.At) >= youngRow {
		return false
	}
	now := time.Now()
	a, waiting := s.awaited[row.JobID]
	switch {
	case !waiting:
		if s.awaited == nil {
			s.awaited = make(map[string]awaited, 1)
		}
		s.awaited[row.JobID] = awaited{version: row.Version, since: now}
	case now.Sub(a.since) >= announceLag:
		delete(s.awaited, row.JobID)
		return false
	}
	s.soon = true
	return true
}

// arrived notes that the viewer is shown st.
func (s *stream) arrived(st *worker.Status) {
	if a, ok := s.awaited[st.JobID]; ok && st.Version >= a.version {
		delete(s.awaited, st.JobID)
	}
}

// settled returns the rows of a snapshot that may be shown now.
func (s *stream) settled(rows []worker.Status) []worker.Status {
	kept := rows[:0:0]
	for i := range rows {
		if !s.early(&rows[i], s.jobs.last(rows[i].JobID)) {
			kept = append(kept, rows[i])
		}
	}
	return kept
}
