package history

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Sink takes events in. It may be used by several goroutines.
type Sink interface{ Append(Event) error }

// Memory is a Sink for participants that live as long as the test. The zero value is ready to use.
type Memory struct {
	mu     sync.Mutex
	events []Event
}

// Append implements Sink.
func (m *Memory) Append(e Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
	return nil
}

// Events returns a copy of the events so far.
func (m *Memory) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}

// File is a Sink for a process of its own. Each event is one write of one line, which a killed process has made whole or
// not at all.
type File struct{ file *os.File }

// Append implements Sink.
func (f *File) Append(e Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	_, err = f.file.Write(append(line, '\n'))
	return err
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Scribe writes one participant's events. It may be used by several goroutines.
type Scribe struct {
	proc string
	sink Sink
	now  func() time.Time

	mu    sync.Mutex
	ended bool
}

// NewScribe makes the scribe of a participant, whose events have the times that now tells.
func NewScribe(proc string, sink Sink, now func() time.Time) *Scribe {
	return &Scribe{proc: proc, sink: sink, now: now}
}

// Write writes an event. It fills in At and, where they are empty, Proc. It panics when the sink fails: what isn't in the
// history would be taken for lost.
func (s *Scribe) Write(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked(e)
}

// End writes that the participant died. Whatever it writes later is dropped, as the dead do nothing: in a simulation
// goroutines of a killed pool may come that far.
func (s *Scribe) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeLocked(Event{Op: OpEnd})
	s.ended = true
}

func (s *Scribe) writeLocked(e Event) {
	if s.ended {
		return
	}
	e.At = s.now().UnixNano()
	if e.Proc == "" {
		e.Proc = s.proc
	}
	if err := s.sink.Append(e); err != nil {
		panic("history: " + err.Error())
	}
}
