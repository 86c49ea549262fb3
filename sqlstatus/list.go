package sqlstatus

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Filter chooses jobs. Zero fields choose all.
type Filter struct {
	// States are those that the jobs may be in.
	States []worker.State
	// Type, Queue and Topic are those of the jobs.
	Type  string
	Queue string
	Topic string
	// Since and Until bound when the jobs' rows came, by the database's clock: at or after Since, before Until.
	Since time.Time
	Until time.Time
}

// Page is a part of a list.
type Page struct {
	// Limit is how many statuses the page has at most, from 1 to 1,000. Zero means 100.
	Limit int
	// Cursor is what List returned with the page before. Empty means the first page.
	Cursor string
}

const (
	defaultPage = 100
	maxPage     = 1000
)

// List returns a page of the statuses that the filter chooses, jobs that came last first, and the cursor of the next
// page, which is empty when there is none. Status.Job is not set. A job that is there all the while is on exactly one
// page, whatever happens between the calls, as long as its status doesn't leave or enter the filter.
func (s *Store) List(ctx context.Context, f Filter, p Page) ([]worker.Status, string, error) {
	w := s.where()
	from, err := readCursor(p.Cursor)
	if err == nil && (p.Limit < 0 || p.Limit > maxPage) {
		err = fmt.Errorf("Limit is %d: it must lie between 1 and %d, or be 0", p.Limit, maxPage)
	}
	if err == nil {
		err = w.filter(f)
	}
	if err == nil {
		err = w.beyond("<", from)
	}
	if err != nil {
		return nil, "", fmt.Errorf("list: %w", err)
	}
	if p.Limit == 0 {
		p.Limit = defaultPage
	}
	statuses, next, err := s.page(ctx, w, "created_at DESC, id DESC", p.Limit)
	if err != nil {
		return nil, "", fmt.Errorf("list: %w", err)
	}
	return statuses, next, nil
}

// page reads up to limit rows and the cursor of those that follow. The limit stands in the statement itself, since
// planners choose other plans for one that they don't know.
func (s *Store) page(ctx context.Context, w *where, order string, limit int) ([]worker.Status, string, error) {
	statement := "SELECT " + columns + ", created_at FROM {table}" + w.text() + " ORDER BY " + order +
		" LIMIT " + strconv.Itoa(limit+1)
	var statuses []worker.Status
	var last position
	more := false
	err := s.query(ctx, s.db, statement, w.args, func(r *sql.Rows) error {
		if len(statuses) == limit {
			more = true
			return nil
		}
		var st worker.Status
		var created moment
		if err := scanStatus(r, &st, &created); err != nil {
			return err
		}
		statuses = append(statuses, st)
		last = position{created: created, id: st.JobID}
		return nil
	})
	if err != nil || !more {
		return statuses, "", err
	}
	return statuses, last.cursor(), nil
}

// Count counts the jobs that the filter chooses by state. States without one are left out.
func (s *Store) Count(ctx context.Context, f Filter) (map[worker.State]int, error) {
	w := s.where()
	if err := w.filter(f); err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	counts := make(map[worker.State]int)
	statement := "SELECT state, COUNT(*) FROM {table}" + w.text() + " GROUP BY state"
	err := s.query(ctx, s.db, statement, w.args, func(r *sql.Rows) error {
		var state text
		var n int
		err := r.Scan(&state, &n)
		counts[worker.State(state)] += n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	return counts, nil
}

// where is a condition under way.
type where struct {
	dialect    dialect
	conditions []string
	args       []any
}

func (s *Store) where() *where { return &where{dialect: s.dialect} }

// arg adds an argument and returns its placeholder.
func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return w.dialect.arg(len(w.args))
}

func (w *where) add(condition string) { w.conditions = append(w.conditions, condition) }

// condition returns what is to hold.
func (w *where) condition() string { return strings.Join(w.conditions, " AND ") }

// text returns the whole clause, empty when there is no condition.
func (w *where) text() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + w.condition()
}

func (w *where) filter(f Filter) error {
	if err := w.states(f.States); err != nil {
		return err
	}
	for _, c := range [...]struct{ column, value string }{{"type", f.Type}, {"queue", f.Queue}, {"topic", f.Topic}} {
		if c.value != "" {
			w.add(c.column + " = " + w.arg(c.value))
		}
	}
	if !f.Since.IsZero() {
		w.add("created_at >= " + w.arg(w.dialect.instant(f.Since)))
	}
	if !f.Until.IsZero() {
		w.add("created_at < " + w.arg(w.dialect.instant(f.Until)))
	}
	return nil
}

// states are the known ones: what they say in a statement is safe there.
var states = []worker.State{
	worker.StateScheduled, worker.StateQueued, worker.StateRunning, worker.StateRetrying,
	worker.StateSucceeded, worker.StateFailed, worker.StateCanceled,
}

// states adds a condition about states, and the one that makes it known to a partial index.
func (w *where) states(chosen []worker.State) error {
	if len(chosen) == 0 {
		return nil
	}
	unfinished, succeeded := true, false
	quoted := make([]string, len(chosen))
	for i, state := range chosen {
		if !slices.Contains(states, state) {
			return fmt.Errorf("there is no state %q", state)
		}
		quoted[i] = "'" + string(state) + "'"
		unfinished = unfinished && !state.Final()
		succeeded = succeeded || state == worker.StateSucceeded
	}
	final := !slices.ContainsFunc(chosen, func(s worker.State) bool { return !s.Final() })
	switch {
	case unfinished:
		w.add("ended IS NULL")
	case final && !succeeded:
		w.add("ended <> 'succeeded'")
	}
	w.add("state IN (" + strings.Join(quoted, ", ") + ")")
	return nil
}

// beyond adds that rows lie before (<) or after (>) a position, if there is one.
func (w *where) beyond(side string, p *position) error {
	if p == nil {
		return nil
	}
	created := w.dialect.instant(p.created.Time)
	if p.created.raw != "" {
		var ok bool
		if created, ok = w.dialect.compared(p.created.raw); !ok {
			return errCursor
		}
	}
	w.add("(created_at, id) " + side + " (" + w.arg(created) + ", " + w.arg(p.id) + ")")
	return nil
}
