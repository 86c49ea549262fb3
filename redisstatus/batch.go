package redisstatus

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/statusjson"
)

// argsPerStatus is how many arguments save.lua takes for each status.
const argsPerStatus = 4

// The place of the phase in a version, as worker.Status.Version describes it.
const (
	phaseShift   = 12
	phaseMask    = 3
	phaseWaiting = 0
)

// batch is what one call saves.
type batch struct {
	size     int // statuses
	settings []string
	keys     []string
	args     []string // argsPerStatus for each status
}

// gather takes as many of the statuses as one call may have, at least one.
func (s *Store) gather(statuses []worker.Status) (*batch, error) {
	n := min(len(statuses), maxElements)
	b := &batch{keys: make([]string, 0, n)}
	drains := "0"
	t := texts{ends: make([]int, 0, argsPerStatus*n)}
	for i := range statuses[:n] {
		st := &statuses[i]
		if b.size > 0 && len(t.all) >= maxCallSize {
			break
		}
		if err := t.add(st); err != nil {
			return nil, worker.Permanent(err)
		}
		if !opens(st) {
			drains = "1"
		}
		b.keys = append(b.keys, s.key(st.JobID))
		b.size++
	}
	b.args = t.cut()
	b.settings = []string{
		strconv.FormatInt(s.config.FinishedTTL.Milliseconds(), 10),
		strconv.FormatInt(s.config.UnfinishedTTL.Milliseconds(), 10), drains,
	}
	return b, nil
}

// texts gathers arguments in one piece of memory.
type texts struct {
	all  []byte
	ends []int // of each argument
}

func (t *texts) add(s *worker.Status) error {
	if err := check(s); err != nil {
		return fmt.Errorf("status of %q: %w", s.JobID, err)
	}
	t.all = appendHead(t.all, s)
	t.end()
	t.all = append(t.all, flag(opens(s)))
	t.end()
	all, err := statusjson.Append(t.all, s)
	if err != nil {
		return err
	}
	t.all = all
	t.end()
	if s.BringsJob() {
		t.all = append(t.all, envelope(s)...)
	}
	t.end()
	return nil
}

func (t *texts) end() { t.ends = append(t.ends, len(t.all)) }

func (t *texts) cut() []string {
	all, begin := string(t.all), 0
	args := make([]string, len(t.ends))
	for i, end := range t.ends {
		args[i] = all[begin:end]
		begin = end
	}
	return args
}

// check refuses what a row's head cannot say.
func check(s *worker.Status) error {
	switch {
	case s.JobID == "":
		return errors.New("the job id is empty")
	case s.Version < 0:
		return fmt.Errorf("the version is %d: it must not be negative", s.Version)
	case strings.ContainsFunc(string(s.State), func(c rune) bool { return c < 'a' || c > 'z' }) || s.State == "":
		return fmt.Errorf("%q is no state", s.State)
	}
	return nil
}

// appendHead writes what save.lua decides by, in a form whose texts compare as the numbers do.
func appendHead(b []byte, s *worker.Status) []byte {
	b = appendPadded(b, s.Version, 19)
	b = appendPadded(append(b, ' '), s.Token(), 15)
	b = append(append(b, ' '), s.State...)
	b = append(append(b, ' '), s.Queue...)
	return append(append(b, ' '), s.Type...)
}

func appendPadded(b []byte, n int64, digits int) []byte {
	var buf [20]byte
	text := strconv.AppendInt(buf[:0], n, 10)
	for range digits - len(text) {
		b = append(b, '0')
	}
	return append(b, text...)
}

// opens reports whether the status opens a round: its version is of the waiting phase.
func opens(s *worker.Status) bool { return s.Version>>phaseShift&phaseMask == phaseWaiting }

func flag(up bool) byte {
	if up {
		return '1'
	}
	return '0'
}

// envelope is the encoded job of a status that is to be kept with it. A job that cannot be encoded, as one that was not
// decoded either, is done without.
func envelope(s *worker.Status) []byte {
	if s.Job == nil || s.State == worker.StateSucceeded {
		return nil
	}
	body, err := worker.EncodeJob(s.Job)
	if err != nil {
		return nil
	}
	return body
}
