package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// planRowsEnv sets how many rows TestSQLStatusPlans fills in. docs/sqlstatus.md shows what it prints of a million:
//
//	WORKER_PLAN_ROWS=1000000 go test -v -run TestSQLStatusPlans ./integration
const planRowsEnv = "WORKER_PLAN_ROWS"

// spy is a connector that keeps the last query, so that the test explains what the store really asks.
type spy struct {
	driver driver.Driver
	dsn    string
	query  string
	args   []any
}

func (s *spy) Driver() driver.Driver { return s.driver }

func (s *spy) Connect(context.Context) (driver.Conn, error) {
	conn, err := s.driver.Open(s.dsn)
	return &spiedConn{conn, s}, err
}

type spiedConn struct {
	driver.Conn
	spy *spy
}

func (c *spiedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.spy.query, c.spy.args = query, nil
	for _, arg := range args {
		c.spy.args = append(c.spy.args, arg.Value)
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *spiedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

func (c *spiedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.Conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// fillPlans makes n rows as a service has them after two months: nearly all have succeeded, a few failed, some wait, and
// some of those for long.
func (r *sqlRig) fillPlans(t testing.TB, n int) {
	t.Helper()
	series, moment, number := "generate_series(1, $1) AS s(i)", "now() - (5184000.0 * ($1 - i) / $1) * interval '1 s'", "i::bigint"
	if r.dialect == sqlstatus.SQLite {
		series = "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < $1) SELECT i FROM s) AS s"
		moment = "CAST((unixepoch('subsec') - 5184000.0 * ($1 - i) / $1) * 1000 AS INTEGER)"
		number = "i"
	}
	states := `CASE WHEN i > $1 * 0.995 THEN 'queued' WHEN i % 1000 = 7 THEN 'running' WHEN i % 1000 = 17 THEN 'retrying'
		WHEN i % 50 = 3 THEN 'failed' WHEN i % 200 = 5 THEN 'canceled' ELSE 'succeeded' END`
	r.exec(t, `INSERT INTO {t} (id, type, queue, topic, state, version, attempt, max_attempts, crashes, progress, message,
		error, at, ended, created_at, changed_at)
	SELECT 'job-' || i, CASE WHEN i % 4 = 0 THEN 'video:cut' ELSE 'stage:run' END, 'default', 'user:' || (i % 5000), state,
		`+number+`, 1, 5, 0, 0, '', '', moment,
		CASE WHEN state IN ('succeeded', 'failed', 'canceled') THEN state END, moment, moment
	FROM (SELECT i, `+states+` AS state, `+moment+` AS moment FROM `+series+`) AS rows`, n)
	if r.dialect == sqlstatus.Postgres {
		r.exec(t, "VACUUM ANALYZE {t}")
		return
	}
	r.exec(t, "ANALYZE")
}

// explain returns the plan of a query, and how long it took to run.
func (r *sqlRig) explain(t testing.TB, query string, args []any) (plan string) {
	t.Helper()
	tx, err := r.db.Begin()
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	if r.dialect == sqlstatus.SQLite {
		began := time.Now()
		rows, err := tx.Query(query, args...)
		require.NoError(t, err)
		for rows.Next() {
			continue
		}
		require.NoError(t, rows.Close())
		took := time.Since(began)
		rows, err = tx.Query("EXPLAIN QUERY PLAN "+query, args...)
		require.NoError(t, err)
		return planLines(t, rows, 3) + fmt.Sprintf("Execution Time: %.3f ms", float64(took.Microseconds())/1000)
	}
	rows, err := tx.Query("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) "+query, args...)
	require.NoError(t, err)
	return planLines(t, rows, 0)
}

// planLines returns one column of all rows.
func planLines(t testing.TB, rows *sql.Rows, column int) string {
	t.Helper()
	defer rows.Close()
	names, err := rows.Columns()
	require.NoError(t, err)
	var text strings.Builder
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(string)
		}
		require.NoError(t, rows.Scan(values...))
		fmt.Fprintln(&text, *values[column].(*string))
	}
	require.NoError(t, rows.Err())
	return text.String()
}

// Every query that docs/sqlstatus.md lists goes by the index that is there for it.
func TestSQLStatusPlans(t *testing.T) {
	n := 20_000
	if text := os.Getenv(planRowsEnv); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		r.fillPlans(t, n)
		spied := &spy{driver: r.db.Driver(), dsn: r.dsn}
		db := sql.OpenDB(spied)
		t.Cleanup(func() { _ = db.Close() })
		store, err := sqlstatus.New(db, r.cfg)
		require.NoError(t, err)
		cursor := func(f sqlstatus.Filter) string {
			_, next, err := store.List(ctx, f, sqlstatus.Page{})
			require.NoError(t, err)
			require.NotEmpty(t, next)
			return next
		}
		list := func(f sqlstatus.Filter, cursor string) func() error {
			return func() error {
				_, _, err := store.List(ctx, f, sqlstatus.Page{Cursor: cursor})
				return err
			}
		}
		count := func(f sqlstatus.Filter) func() error {
			return func() error { _, err := store.Count(ctx, f); return err }
		}
		unfinished := []worker.State{worker.StateScheduled, worker.StateQueued, worker.StateRunning, worker.StateRetrying}
		for _, q := range []struct {
			name, index string // the end of the index's name; empty: the whole table is read
			ask         func() error
		}{
			{"get", "pkey", func() error { _, err := store.Get(ctx, "job-77"); return err }},
			{"list", "newest", list(sqlstatus.Filter{}, "")},
			{"list, next page", "newest", list(sqlstatus.Filter{}, cursor(sqlstatus.Filter{}))},
			{"list by type", "newest", list(sqlstatus.Filter{Type: "video:cut"}, "")},
			{"list since", "newest", list(sqlstatus.Filter{Since: time.Now().Add(-24 * time.Hour)}, "")},
			{"list by topic", "topic", list(sqlstatus.Filter{Topic: "user:42"}, "")},
			{"list by state succeeded", "newest", list(sqlstatus.Filter{States: []worker.State{worker.StateSucceeded}}, "")},
			{"list by state running", "unfinished", list(sqlstatus.Filter{States: []worker.State{worker.StateRunning}}, "")},
			{"list by state failed", "failed", list(sqlstatus.Filter{States: []worker.State{worker.StateFailed}}, "")},
			{"list by state failed, next page", "failed", list(sqlstatus.Filter{States: []worker.State{worker.StateFailed}},
				cursor(sqlstatus.Filter{States: []worker.State{worker.StateFailed}}))},
			{"count unfinished", "unfinished", count(sqlstatus.Filter{States: unfinished})},
			{"count by topic", "topic", count(sqlstatus.Filter{Topic: "user:42"})},
			{"count all", "", count(sqlstatus.Filter{})},
			{"unfinished", "unfinished", func() error { _, _, err := store.Unfinished(ctx, time.Minute, "", 100); return err }},
			{"prune succeeded", "newest", func() error {
				_, err := store.Prune(ctx, 100*365*24*time.Hour, worker.StateSucceeded)
				spied.args[0] = any(float64(45 * 24 * time.Hour / time.Microsecond)) // now that nothing is deleted
				if r.dialect == sqlstatus.SQLite {
					spied.args[0] = any(int64(45 * 24 * time.Hour / time.Millisecond))
				}
				return err
			}},
		} {
			require.NoError(t, q.ask(), q.name)
			plan := r.explain(t, spied.query, spied.args)
			t.Logf("%s:\n%s\n%s", q.name, spied.query, plan)
			if q.index == "" {
				continue
			}
			name := "worker_jobs_" + q.index
			if q.name == "get" && r.dialect == sqlstatus.SQLite {
				name = "sqlite_autoindex_worker_jobs_1"
			}
			require.Contains(t, plan, name, q.name)
			require.NotContains(t, plan, "Seq Scan", q.name)
			require.NotContains(t, plan, "SCAN worker_jobs\n", q.name)
		}
	})
}
