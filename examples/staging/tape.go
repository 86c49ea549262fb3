package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/stage"
)

// tape is a worker.Notifier that prints a line for each status: which job, how long after its first status, its state,
// how far it is, and what it says.
type tape struct {
	base string // what comes before the paths of staged pictures
	w    io.Writer

	mu   sync.Mutex
	told map[string]told // of jobs that are not over, by id
}

// told is what was printed of a job.
type told struct {
	began   time.Time // its first status
	version int64     // of the last one
}

var _ worker.Notifier = (*tape)(nil)

func newTape(w io.Writer, base string) *tape {
	return &tape{base: base, w: w, told: make(map[string]told)}
}

// Notify implements worker.Notifier.
func (t *tape) Notify(_ context.Context, statuses ...worker.Status) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range statuses {
		last, ok := t.told[s.JobID]
		switch {
		case !ok:
			last.began = s.At
		case s.Version < last.version: // that the job waits, told once a worker had begun
			continue
		}
		t.told[s.JobID] = told{last.began, s.Version}
		if s.State.Final() {
			delete(t.told, s.JobID)
		}
		t.printLocked(s, s.At.Sub(last.began))
	}
	return nil
}

func (t *tape) printLocked(s worker.Status, after time.Duration) {
	percent := ""
	if s.State == worker.StateRunning || s.State == worker.StateSucceeded {
		percent = fmt.Sprintf("%3.0f%%", 100*s.Progress)
	}
	line := fmt.Sprintf("  %s  %6.2fs  %-9s  %4s  %s", tag(s.JobID), after.Seconds(), s.State, percent, t.remark(s))
	say(t.w, "%s\n", strings.TrimRight(line, " "))
}

// remark is what is to be said besides the state.
func (t *tape) remark(s worker.Status) string {
	switch s.State {
	case worker.StateSucceeded:
		var result stage.Result
		if json.Unmarshal(s.Result, &result) == nil && result.StagedURL != "" {
			return t.base + result.StagedURL
		}
	case worker.StateRetrying:
		return fmt.Sprintf("attempt %d of %d: %s", s.Attempt, s.MaxAttempts, s.Error)
	case worker.StateFailed, worker.StateCanceled:
		return s.Error
	}
	return s.Message
}

// tag is the end of an id, which tells jobs apart better than its beginning, the time.
func tag(id string) string { return id[max(0, len(id)-6):] }
