package workertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// MemoryStatusStore is a worker.StatusStore in memory with all optional powers, for tests and demonstrations. It also
// keeps what it accepted before. The zero value is ready to use; Fault may be set before the first call.
type MemoryStatusStore struct {
	// Fault, when set, is called at the start of Save. An error is returned instead of saving anything.
	Fault func(ctx context.Context, statuses []worker.Status) error

	mu      sync.Mutex
	rows    map[string][]worker.Status // accepted statuses by job, the last one is the row
	changed map[string]time.Time       // when the last one was accepted
	sweep   sweepState
}

var (
	_ worker.StatusStore = (*MemoryStatusStore)(nil)
	_ worker.Getter      = (*MemoryStatusStore)(nil)
	_ worker.Unfinished  = (*MemoryStatusStore)(nil)
	_ worker.SweepLock   = (*MemoryStatusStore)(nil)
)

// NewStatusStore returns an empty store.
func NewStatusStore() *MemoryStatusStore { return &MemoryStatusStore{} }

// Save implements worker.StatusStore.
func (m *MemoryStatusStore) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	if m.Fault != nil {
		if err := m.Fault(ctx, statuses); err != nil {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range statuses {
		if err := m.conflictLocked(&statuses[i]); err != nil {
			return nil, err
		}
	}
	saved := make([]worker.Saved, len(statuses))
	for i := range statuses {
		saved[i] = m.saveLocked(&statuses[i])
	}
	return saved, nil
}

// conflictLocked finds two jobs under one id: an equal version with another queue or type.
func (m *MemoryStatusStore) conflictLocked(s *worker.Status) error {
	row := m.rowLocked(s.JobID)
	if row == nil || row.Version != s.Version || row.Queue == s.Queue && row.Type == s.Type {
		return nil
	}
	return worker.Permanent(fmt.Errorf("save status of %q: it is of type %q on queue %q, the stored one of type %q on %q",
		s.JobID, s.Type, s.Queue, row.Type, row.Queue))
}

func (m *MemoryStatusStore) saveLocked(s *worker.Status) worker.Saved {
	row := m.rowLocked(s.JobID)
	switch {
	case row != nil && row.Version == s.Version:
		return worker.Saved{OK: true, Repeated: true}
	case row != nil && !s.Supersedes(row):
		current := copyStatus(row)
		return worker.Saved{Current: row.State, Row: &current}
	}
	m.acceptLocked(s)
	return worker.Saved{OK: true}
}

func (m *MemoryStatusStore) acceptLocked(s *worker.Status) {
	if m.rows == nil {
		m.rows, m.changed = make(map[string][]worker.Status), make(map[string]time.Time)
	}
	m.rows[s.JobID] = append(m.rows[s.JobID], copyStatus(s))
	m.changed[s.JobID] = time.Now()
}

func (m *MemoryStatusStore) rowLocked(id string) *worker.Status {
	if rows := m.rows[id]; len(rows) > 0 {
		return &rows[len(rows)-1]
	}
	return nil
}

// Get implements worker.Getter. The status carries a copy of its job, if it was saved with one that can be encoded.
func (m *MemoryStatusStore) Get(ctx context.Context, id string) (*worker.Status, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	row := m.rowLocked(id)
	if row == nil {
		return nil, fmt.Errorf("get status of %q: %w", id, worker.ErrJobNotFound)
	}
	got := copyStatus(row)
	return &got, nil
}

// History returns the job's accepted statuses, oldest first.
func (m *MemoryStatusStore) History(id string) []worker.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	history := make([]worker.Status, 0, len(m.rows[id]))
	for i := range m.rows[id] {
		history = append(history, copyStatus(&m.rows[id][i]))
	}
	return history
}

// States returns the states of the job's accepted statuses, oldest first, those of progress included.
func (m *MemoryStatusStore) States(id string) []worker.State {
	var states []worker.State
	for _, s := range m.History(id) {
		states = append(states, s.State)
	}
	return states
}

// copyStatus returns a status that shares nothing with s.
func copyStatus(s *worker.Status) worker.Status {
	c := *s
	c.Result = slices.Clone(s.Result)
	c.Job = copyJob(s.Job)
	return c
}

// copyJob returns what of a job travels, nil if that cannot be encoded.
func copyJob(job *worker.Job) *worker.Job {
	if job == nil {
		return nil
	}
	body, err := worker.EncodeJob(job)
	if err != nil {
		return nil
	}
	c, err := worker.DecodeJob(body)
	if err != nil {
		return nil
	}
	return c
}
