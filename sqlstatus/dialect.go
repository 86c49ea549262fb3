package sqlstatus

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"time"
)

// Dialect is the kind of SQL that a database speaks.
type Dialect int

const (
	// Postgres is PostgreSQL 13 and newer, through a driver that takes slices as arrays, as pgx's stdlib does.
	Postgres Dialect = iota + 1
	// SQLite is SQLite 3.42 and newer.
	SQLite
)

//go:embed migrations
var migrations embed.FS

// dialect is what Postgres and SQLite do differently.
type dialect interface {
	// folder is that of the migrations.
	folder() string
	// arg is the placeholder of argument n, from 1.
	arg(n int) string
	// now is the database's time.
	now() string
	// ago is the time that lies argument n before now; the argument is made by span.
	ago(n int) string
	// ahead is the time that lies argument n after now; the argument is made by span.
	ahead(n int) string
	span(d time.Duration) any
	// instant makes an argument that is compared with a column of times.
	instant(t time.Time) any
	// limits are how much one statement of upsert and fill carries.
	limits() (rows, bytes int)
	// upsert is the statement that writes rows, and its arguments. It answers with id and bare, as upsertReturning says,
	// of what it has written.
	upsert(rows []row) (statement string, args []any)
	// among is a condition that holds for the rows with these ids, and its arguments.
	among(ids []string) (condition string, args []any)
	// fill is the statement that gives rows their envelopes where they lack them, and its arguments.
	fill(ids []string, envelopes [][]byte) (statement string, args []any)
	// prune is the statement that deletes up to pruneBatch rows that meet the condition, those that came first first,
	// and answers with created_at and id.
	prune(condition string) string
	// migrating runs do in a transaction that keeps others from migrating the same tables.
	migrating(ctx context.Context, db *sql.DB, cfg Config, do func(Tx) error) error
	// writing runs do where statements that belong together are to be run.
	writing(ctx context.Context, s *Store, do func(Tx) error) error
}

var dialects = map[Dialect]dialect{Postgres: postgres{}, SQLite: sqlite{}}

// moment scans a time as either dialect keeps it: none is zero, all are in UTC.
type moment struct{ time.Time }

// Scan implements sql.Scanner.
func (m *moment) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		m.Time = time.Time{}
	case time.Time:
		m.Time = v.UTC()
	case int64:
		m.Time = time.UnixMilli(v).UTC()
	default:
		return fmt.Errorf("a time is stored as %T", v)
	}
	return nil
}
