// Package sqlstatus is a worker.StatusStore on database/sql, for Postgres (through pgx's stdlib driver) and SQLite
// (modernc.org/sqlite). It imports neither: the host opens the database and chooses the Dialect.
//
// Every job has one row, its last status, in a table that Migrate makes. Save writes a batch of statuses in one
// statement whose WHERE states the rule of Status.Supersedes; List, Count and Prune are for dashboards and retention;
// EnqueueTx makes enqueueing part of the host's own transaction. docs/sqlstatus.md shows schema, indexes and plans.
package sqlstatus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/real-staging-ai/go-worker"
)

// Config says where a Store keeps its rows. Dialect is required; the zero value of every other field works. All
// processes that share a table have the same Config.
type Config struct {
	// Dialect is Postgres or SQLite.
	Dialect Dialect
	// Schema is the schema of the tables; Migrate makes it if it is missing. Empty means the first of the connection's
	// search_path. SQLite has none.
	Schema string
	// Table names the table of the jobs, and begins the names of its indexes and of two small tables beside it. Empty
	// means "worker_jobs". Schema and Table are at most 48 characters of a-z, 0-9 and _, and don't begin with a digit.
	Table string
	// MaxPayload is the largest payload that EnqueueTx takes, in bytes. Zero means worker.DefaultMaxPayload.
	MaxPayload int
}

const (
	defaultTable = "worker_jobs"
	maxName      = 48 // Postgres cuts names at 63 bytes, those of the indexes included
)

func (c Config) withDefaults() Config {
	if c.Table == "" {
		c.Table = defaultTable
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = worker.DefaultMaxPayload
	}
	return c
}

// check reports all that is wrong with a config that has its defaults.
func (c Config) check() error {
	var errs []error
	if dialects[c.Dialect] == nil {
		errs = append(errs, fmt.Errorf("Dialect is %d: it must be Postgres or SQLite", int(c.Dialect)))
	}
	if err := checkName("Table", c.Table); err != nil {
		errs = append(errs, err)
	}
	if c.Schema != "" {
		if err := checkName("Schema", c.Schema); err != nil {
			errs = append(errs, err)
		}
		if c.Dialect == SQLite {
			errs = append(errs, fmt.Errorf("Schema is %q: SQLite has none", c.Schema))
		}
	}
	if c.MaxPayload < 0 {
		errs = append(errs, fmt.Errorf("MaxPayload is %d: it must not be negative", c.MaxPayload))
	}
	return errors.Join(errs...)
}

// checkName holds an identifier to what reads the same with quotes and without, in both dialects.
func checkName(field, name string) error {
	bad := func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') }
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, bad) || name[0] <= '9' {
		return fmt.Errorf("%s is %q: allowed are up to %d of a-z 0-9 _, the first no digit", field, name, maxName)
	}
	return nil
}

// expand puts the configured names into a statement: {table}, {sweep} and {migrations} are the tables, {index} begins
// the name of an index.
func (c Config) expand(statement string) string {
	in := ""
	if c.Schema != "" {
		in = c.Schema + "."
	}
	return strings.NewReplacer(
		"{table}", quote(in+c.Table), "{sweep}", quote(in+c.Table+"_sweep"),
		"{migrations}", quote(in+c.Table+"_migrations"), `{index}`, c.Table,
	).Replace(statement)
}

// quote quotes the parts of a name that checkName accepted.
func quote(name string) string { return `"` + strings.ReplaceAll(name, ".", `"."`) + `"` }

// Tx is what EnqueueTx writes through: *sql.Tx, or *sql.Conn with a transaction open.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Store is a worker.StatusStore in one table. It is safe for concurrent use and needs no closing.
type Store struct {
	db      *sql.DB
	config  Config
	dialect dialect
	writer  chan struct{} // holds one token; SQLite's writers take it, as they can only write one after another
}

var (
	_ worker.StatusStore = (*Store)(nil)
	_ worker.Getter      = (*Store)(nil)
	_ worker.Unfinished  = (*Store)(nil)
	_ worker.SweepLock   = (*Store)(nil)
	_ worker.Pinger      = (*Store)(nil)
)

// New returns a Store that uses db, which stays the caller's: it is never closed here. An error lists all that is
// wrong. Nothing is sent yet; the tables are made by Migrate.
func New(db *sql.DB, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	err := cfg.check()
	if db == nil {
		err = errors.Join(errors.New("db is nil"), err)
	}
	if err != nil {
		return nil, fmt.Errorf("new SQL status store: %w", err)
	}
	s := &Store{db: db, config: cfg, dialect: dialects[cfg.Dialect], writer: make(chan struct{}, 1)}
	s.writer <- struct{}{}
	return s, nil
}

// Ping asks whether the database answers, for as long as ctx. It waits for a connection like any other call.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.db.PingContext(ctx); err != nil {
		return fmt.Errorf("ping the database: %w", err)
	}
	return nil
}

// query runs a statement written for any dialect and calls scan for each row of the answer.
func (s *Store) query(ctx context.Context, on Tx, statement string, args []any, scan func(*sql.Rows) error) error {
	rows, err := on.QueryContext(ctx, s.config.expand(statement), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has told what there is
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
