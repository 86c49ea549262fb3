package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// op is what an event says.
type op string

const (
	opStart  op = "start"  // a handler begins
	opFinish op = "finish" // a handler returns; Text is its error, empty for none
	opFinal  op = "final"  // a final state, Text, was announced by a pool, or stored by the ledger store
	opEnd    op = "end"    // the process is about to die, or was killed
	opPause  op = "pause"  // the process stands still, or is cut off, for longer than its lease
)

// event is one line of a history.
type event struct {
	At      int64  `json:"at"` // Unix time in ns: all processes share one machine's clock
	Proc    string `json:"proc,omitempty"`
	Op      op     `json:"op"`
	Job     string `json:"job,omitempty"`
	Token   int64  `json:"token,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Crashes int    `json:"crashes,omitempty"`
	Sum     uint32 `json:"sum,omitempty"` // of the payload's bytes
	Text    string `json:"text,omitempty"`
}

// scribe writes one process's history. Each event is one write, which a killed process has made whole or not at all.
type scribe struct {
	proc string
	file *os.File
}

func newScribe(dir, proc string) (*scribe, error) {
	name := filepath.Join(dir, proc+historySuffix)
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &scribe{proc: proc, file: file}, err
}

func (s *scribe) write(e event) {
	e.At, e.Proc = time.Now().UnixNano(), s.proc
	line, err := json.Marshal(e)
	if err == nil {
		_, err = s.file.Write(append(line, '\n'))
	}
	if err != nil {
		panic("history: " + err.Error()) // what is not in the history would be taken for lost
	}
}

const historySuffix = ".history"

// history gathers what all processes of a test have written so far, and what the test itself notes.
type history struct {
	t   testing.TB
	dir string

	mu     sync.Mutex
	read   map[string]int64 // bytes taken in, by file
	events []event
}

func newHistory(t testing.TB) *history {
	return &history{t: t, dir: t.TempDir(), read: make(map[string]int64)}
}

// note adds an event of the test's own, about a process.
func (h *history) note(proc string, o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event{At: time.Now().UnixNano(), Proc: proc, Op: o})
}

// all returns the events so far in the order of their time.
func (h *history) all() []event {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	names, err := filepath.Glob(filepath.Join(h.dir, "*"+historySuffix))
	require.NoError(h.t, err)
	for _, name := range names {
		h.takeIn(name)
	}
	slices.SortStableFunc(h.events, func(a, b event) int { return int(a.At - b.At) })
	return slices.Clone(h.events)
}

// takeIn reads the whole lines that are new in a file.
func (h *history) takeIn(name string) {
	h.t.Helper()
	file, err := os.Open(name)
	require.NoError(h.t, err)
	defer file.Close()
	_, err = file.Seek(h.read[name], io.SeekStart)
	require.NoError(h.t, err)
	data, err := io.ReadAll(file)
	require.NoError(h.t, err)
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	h.read[name] += int64(len(data))
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		var e event
		require.NoError(h.t, json.Unmarshal(lines.Bytes(), &e))
		h.events = append(h.events, e)
	}
}

// count returns how many events match.
func (h *history) count(match func(event) bool) (n int) {
	h.t.Helper()
	for _, e := range h.all() {
		if match(e) {
			n++
		}
	}
	return n
}

// started counts the handlers that a process has begun.
func (h *history) started(proc string) int {
	h.t.Helper()
	return h.count(func(e event) bool { return e.Op == opStart && e.Proc == proc })
}

// ran tells which jobs a handler was begun for.
func (h *history) ran() map[string]bool {
	h.t.Helper()
	ran := make(map[string]bool)
	for _, e := range h.all() {
		if e.Op == opStart {
			ran[e.Job] = true
		}
	}
	return ran
}
