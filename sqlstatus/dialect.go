package sqlstatus

import (
	"context"
	"database/sql"
	"embed"
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
	// ahead is the time that lies argument n after another; the argument is made by span.
	ahead(time string, n int) string
	span(d time.Duration) any
	// clock is the time at the moment at which a row is looked at, never before another's statement that was waited for.
	clock() string
	// instant makes an argument that is compared with a column of times.
	instant(t time.Time) any
	// compared makes an argument of the text that stands for a value of created_at which is no time, false if the
	// database cannot hold such a value.
	compared(text string) (arg any, ok bool)
	// limits are how much one statement of upsert and fill carries.
	limits() (rows, bytes int)
	// upsert is the statement that writes rows, and its arguments. It answers with id and bare, as upsertReturning says,
	// of what it has written.
	upsert(rows []row) (statement string, args []any)
	// among is a condition that holds for the rows with these ids, and its arguments.
	among(ids []string) (condition string, args []any)
	// fill is the statement that gives rows their envelopes where they lack them, and its arguments.
	fill(ids []string, envelopes [][]byte) (statement string, args []any)
	// refusingLocks reports whether upsert keeps the rows locked that it leaves as they are.
	refusingLocks() bool
	// prune is the statement that deletes up to pruneBatch rows that meet the condition, those that came first first,
	// and answers with created_at and id.
	prune(condition string) string
	// hasTable asks whether a table is where Migrate would make it.
	hasTable(cfg Config, name string) (statement string, args []any)
	// migrating runs do in a transaction that keeps others from migrating the same tables.
	migrating(ctx context.Context, db *sql.DB, cfg Config, do func(Tx) error) error
	// writing runs do where statements that belong together are to be run.
	writing(ctx context.Context, s *Store, do func(Tx) error) error
}

var dialects = map[Dialect]dialect{Postgres: postgres{}, SQLite: sqlite{}}
