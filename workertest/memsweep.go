package workertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// sweepState is what MemoryStatusStore keeps of sweeps.
type sweepState struct {
	owner string
	until time.Time // when the owner's lease ends
	ended time.Time // when the last sweep ended
}

// Unfinished implements worker.Unfinished. The clock is that of package time.
func (m *MemoryStatusStore) Unfinished(
	ctx context.Context, idle time.Duration, cursor string, limit int,
) ([]worker.Status, string, error) {
	switch {
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case limit < 1:
		return nil, "", fmt.Errorf("unfinished: limit is %d: the least is 1", limit)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for id, changed := range m.changed {
		key := changed.UTC().Format("2006-01-02T15:04:05.000000000") + " " + id
		if key > cursor && !m.rowLocked(id).State.Final() && time.Since(changed) >= idle {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, cmp.Compare)
	next := ""
	if len(keys) > limit {
		keys = keys[:limit]
		next = keys[limit-1]
	}
	rows := make([]worker.Status, len(keys))
	for i, key := range keys {
		_, id, _ := strings.Cut(key, " ")
		rows[i] = copyStatus(m.rowLocked(id))
	}
	return rows, next, nil
}

// LockSweep implements worker.SweepLock.
func (m *MemoryStatusStore) LockSweep(ctx context.Context, owner string, lease, rest time.Duration) (bool, error) {
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case owner == "":
		return false, errors.New("lock sweep: owner is empty")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now, s := time.Now(), &m.sweep
	held := now.Before(s.until)
	if held && s.owner != owner || !held && !s.ended.IsZero() && now.Sub(s.ended) < rest {
		return false, nil
	}
	s.owner, s.until = owner, now.Add(lease)
	return true, nil
}

// UnlockSweep implements worker.SweepLock.
func (m *MemoryStatusStore) UnlockSweep(ctx context.Context, owner string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if owner != "" && m.sweep.owner == owner {
		m.sweep = sweepState{ended: time.Now()}
	}
	return nil
}
