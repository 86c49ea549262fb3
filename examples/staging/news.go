package main

import (
	"context"
	"slices"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// news is a worker.Notifier that remembers every job's statuses and wakes those who wait for more. Who comes late reads
// from the beginning, so nobody misses anything.
type news struct {
	mu   sync.Mutex
	jobs map[string]*story
}

// story is one job's statuses, in rising versions.
type story struct {
	statuses []worker.Status
	grew     chan struct{} // closed and replaced when there are more
}

var _ worker.Notifier = (*news)(nil)

func newNews() *news { return &news{jobs: make(map[string]*story)} }

// Notify implements worker.Notifier.
func (n *news) Notify(_ context.Context, statuses ...worker.Status) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range statuses {
		s.Job = nil // the payload is of no interest here
		st := n.storyLocked(s.JobID)
		if last := len(st.statuses) - 1; last >= 0 && s.Version <= st.statuses[last].Version {
			continue
		}
		st.statuses = append(st.statuses, s)
		close(st.grew)
		st.grew = make(chan struct{})
	}
	return nil
}

func (n *news) storyLocked(id string) *story {
	st := n.jobs[id]
	if st == nil {
		st = &story{grew: make(chan struct{})}
		n.jobs[id] = st
	}
	return st
}

// since returns a job's statuses that are newer than the version, and a channel that is closed when there are more.
func (n *news) since(id string, version int64) ([]worker.Status, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := n.storyLocked(id)
	newer := slices.IndexFunc(st.statuses, func(s worker.Status) bool { return s.Version > version })
	if newer < 0 {
		newer = len(st.statuses)
	}
	return slices.Clone(st.statuses[newer:]), st.grew
}

// end waits for a job's final status.
func (n *news) end(ctx context.Context, id string) (worker.Status, error) {
	var version int64 = -1
	for {
		statuses, grew := n.since(id, version)
		for _, s := range statuses {
			if version = s.Version; s.State.Final() {
				return s, nil
			}
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return worker.Status{}, context.Cause(ctx)
		}
	}
}
