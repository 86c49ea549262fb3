package sqlstatus

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Rows are edited by hand, too. What such a row holds in place of a number, a text or a time is read as the nearest thing
// there is, zero if none: an error would keep all other rows from being read with it.

// scanStatus reads columns into a status, and what follows them into more.
func scanStatus(rows *sql.Rows, st *worker.Status, more ...any) error {
	var state, result string
	var runAt, at moment
	err := rows.Scan(append([]any{
		(*text)(&st.JobID), (*text)(&st.Type), (*text)(&st.Queue), (*text)(&st.Topic), (*text)(&state),
		whole[int64]{&st.Version}, whole[int]{&st.Attempt}, whole[int]{&st.MaxAttempts}, whole[int]{&st.Crashes},
		(*fraction)(&st.Progress), (*text)(&st.Message), (*text)(&st.Error), (*text)(&result), &runAt, &at,
	}, more...)...)
	if err != nil {
		return err
	}
	st.State, st.RunAt, st.At = worker.State(state), runAt.ordinary(), at.ordinary()
	if result != "" {
		st.Result = []byte(result)
	}
	return nil
}

// text scans text.
type text string

// Scan implements sql.Scanner.
func (t *text) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*t = ""
	case string:
		*t = text(v)
	case []byte:
		*t = text(v)
	default:
		*t = text(fmt.Sprint(v))
	}
	return nil
}

// whole scans a whole number.
type whole[N int | int64] struct{ to *N }

// Scan implements sql.Scanner.
func (w whole[N]) Scan(v any) error {
	*w.to = 0
	switch v := v.(type) {
	case int64:
		*w.to = N(v)
	case float64:
		if math.Abs(v) < 1<<53 {
			*w.to = N(v)
		}
	}
	return nil
}

// fraction scans a number that JSON can carry.
type fraction float64

// Scan implements sql.Scanner.
func (f *fraction) Scan(v any) error {
	*f = 0
	switch v := v.(type) {
	case int64:
		*f = fraction(v)
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			*f = fraction(v)
		}
	}
	return nil
}

// moment scans a time as either dialect keeps it: none is zero, all are in UTC. What is no time is zero, too, and stays
// in raw, for comparisons with the column: an infinity of Postgres, and whatever SQLite was given.
type moment struct {
	time.Time
	raw string
}

// Scan implements sql.Scanner.
func (m *moment) Scan(v any) error {
	*m = moment{}
	switch v := v.(type) {
	case nil:
	case time.Time:
		m.Time = v.UTC()
	case int64:
		t := time.UnixMilli(v).UTC()
		if year := t.Year(); year < firstYear || year > lastYear {
			m.raw = strconv.FormatInt(v, 10)
			return nil
		}
		m.Time = t
	case float64:
		m.raw = strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		m.raw = v
	case []byte:
		m.raw = string(v)
	default:
		m.raw = fmt.Sprint(v)
	}
	return nil
}

// ordinary returns the time if JSON can carry it, zero if not.
func (m *moment) ordinary() time.Time {
	if year := m.Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return m.Time
}
