package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/real-staging-ai/go-worker/sqlstatus"
)

const (
	sqliteFile     = "staging.db"
	postgresSchema = "staging_example"
	reachIn        = 5 * time.Second // how long the database may take to answer at first
)

// database keeps orders in a table of the program's own, and jobs' statuses beside it: SQLite in a file, or Postgres.
type database struct {
	*sql.DB
	statuses *sqlstatus.Store
	opening  string // what is being done, for errors
	orders   string // the name of the table
	alone    string // a statement after which no other process makes the table at the same time; empty: it isn't needed
	forget   string // a statement that removes everything; empty: nothing is to be removed
}

// openDatabase connects to the Postgres that rawURL names, or to SQLite in dir, and makes the tables. In Postgres, a
// temporary one has a schema of its own that close removes.
func openDatabase(ctx context.Context, rawURL, dir string, temporary bool) (*database, error) {
	open := func() (*database, sqlstatus.Config, error) { return openSQLite(dir) }
	if rawURL != "" {
		open = func() (*database, sqlstatus.Config, error) { return openPostgres(rawURL, temporary) }
	}
	d, cfg, err := open()
	if err != nil {
		return nil, err
	}
	if err := d.prepare(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.opening, err), d.Close())
	}
	return d, nil
}

// openSQLite lets several processes of one machine share the file: readers don't wait for the writer (WAL), writers wait
// for each other (busy_timeout) from the beginning of a transaction (_txlock).
func openSQLite(dir string) (*database, sqlstatus.Config, error) {
	path := (&url.URL{Path: filepath.ToSlash(filepath.Join(dir, sqliteFile))}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_txlock=immediate")
	if err != nil {
		return nil, sqlstatus.Config{}, fmt.Errorf("open SQLite: %w", err)
	}
	return &database{DB: db, opening: "open " + filepath.Join(dir, sqliteFile), orders: "orders"}, sqlstatus.Config{Dialect: sqlstatus.SQLite}, nil
}

func openPostgres(rawURL string, temporary bool) (*database, sqlstatus.Config, error) {
	if !strings.HasPrefix(rawURL, "postgres://") && !strings.HasPrefix(rawURL, "postgresql://") {
		return nil, sqlstatus.Config{}, errors.New("DATABASE_URL must begin with postgres://")
	}
	config, err := pgx.ParseConfig(rawURL)
	if err != nil {
		return nil, sqlstatus.Config{}, fmt.Errorf("DATABASE_URL: %w", err)
	}
	d := &database{DB: stdlib.OpenDB(*config), opening: "open the database in DATABASE_URL"}
	schema := postgresSchema
	if temporary {
		schema += "_" + strings.ToLower(rand.Text()[:8])
		d.forget = "DROP SCHEMA IF EXISTS " + schema + " CASCADE"
	}
	d.orders = schema + ".orders"
	d.alone = "SELECT pg_advisory_xact_lock(hashtext('" + d.orders + "'))"
	return d, sqlstatus.Config{Dialect: sqlstatus.Postgres, Schema: schema}, nil
}

// prepare makes what is missing, whichever process comes first.
func (d *database) prepare(ctx context.Context, cfg sqlstatus.Config) error {
	ctx, cancel := context.WithTimeout(ctx, reachIn)
	defer cancel()
	if err := d.reach(ctx); err != nil {
		return err
	}
	if err := sqlstatus.Migrate(ctx, d.DB, cfg); err != nil {
		return err
	}
	if err := d.makeOrders(ctx); err != nil {
		return fmt.Errorf("make the table of orders: %w", err)
	}
	statuses, err := sqlstatus.New(d.DB, cfg)
	d.statuses = statuses
	return err
}

// reach connects for the first time. While another process turns a new SQLite file to WAL, that fails at once, whatever
// the busy_timeout.
func (d *database) reach(ctx context.Context) error {
	for {
		err := d.PingContext(ctx)
		busy := (*sqlite.Error)(nil)
		if !errors.As(err, &busy) || busy.Code()&0xff != sqlitelib.SQLITE_BUSY {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// within runs do in a transaction.
func (d *database) within(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// close removes what is temporary.
func (d *database) close() error {
	var err error
	if d.forget != "" {
		ctx, cancel := context.WithTimeout(context.Background(), reachIn)
		defer cancel()
		_, err = d.ExecContext(ctx, d.forget)
	}
	return errors.Join(err, d.Close())
}
