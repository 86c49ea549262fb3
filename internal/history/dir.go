package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

const suffix = ".history"

// Create makes the File of a process in a directory that a Dir reads, or goes on with the one that is there.
func Create(dir, proc string) (*File, error) {
	file, err := os.OpenFile(filepath.Join(dir, proc+suffix), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &File{file: file}, nil
}

// Dir gathers what processes write to the files of a directory, while they do and afterwards.
type Dir struct {
	path string

	mu     sync.Mutex
	offset map[string]int64 // bytes taken in, by file
}

// NewDir makes the reader of a directory.
func NewDir(path string) *Dir { return &Dir{path: path, offset: make(map[string]int64)} }

// Path returns the directory, for Create.
func (d *Dir) Path() string { return d.path }

// Next returns the events that were written since the last call, file after file.
func (d *Dir) Next() ([]Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	names, err := filepath.Glob(filepath.Join(d.path, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	var events []Event
	for _, name := range names {
		more, err := d.nextLocked(name)
		if err != nil {
			return events, fmt.Errorf("history: read %s: %w", filepath.Base(name), err)
		}
		events = append(events, more...)
	}
	return events, nil
}

// nextLocked reads the whole lines that are new in a file.
func (d *Dir) nextLocked(name string) ([]Event, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(d.offset[name], io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	events, err := Read(bytes.NewReader(data))
	if err == nil {
		d.offset[name] += int64(len(data))
	}
	return events, err
}

// Read reads events, one a line.
func Read(from io.Reader) ([]Event, error) {
	var events []Event
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return events, err
		}
		events = append(events, e)
	}
	return events, lines.Err()
}
