package integration

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// sqlRig is a database of a test's own, and a store in it.
type sqlRig struct {
	*sqlstatus.Store
	dialect sqlstatus.Dialect
	db      *sql.DB
	cfg     sqlstatus.Config
	dsn     string
}

// onBothDatabases runs a test on SQLite and on Postgres.
func onBothDatabases(t *testing.T, run func(t *testing.T, r *sqlRig)) {
	t.Run("sqlite", func(t *testing.T) { run(t, onSQLite(t)) })
	t.Run("postgres", func(t *testing.T) { run(t, onPostgres(t)) })
}

// sqlitePragmas are those that docs/sqlstatus.md recommends.
const sqlitePragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)"

func onSQLite(t testing.TB) *sqlRig {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "status.db") + sqlitePragmas
	return newSQLRig(t, sqlstatus.Config{Dialect: sqlstatus.SQLite}, dsn)
}

var schemas atomic.Int64

// onPostgres uses the server that the tests share, in a schema of the test's own.
func onPostgres(t testing.TB) *sqlRig {
	t.Helper()
	return onPostgresWith(t, "")
}

// onPostgresWith adds settings to the URL that the driver is given.
func onPostgresWith(t testing.TB, settings string) *sqlRig {
	t.Helper()
	schema := fmt.Sprintf("s%d_%d", os.Getpid(), schemas.Add(1))
	return newSQLRig(t, sqlstatus.Config{Dialect: sqlstatus.Postgres, Schema: schema}, pgtest.Shared(t).URL()+settings)
}

func newSQLRig(t testing.TB, cfg sqlstatus.Config, dsn string) *sqlRig {
	t.Helper()
	r := &sqlRig{dialect: cfg.Dialect, cfg: cfg, dsn: dsn}
	r.db = r.open(t)
	require.NoError(t, sqlstatus.Migrate(context.Background(), r.db, cfg))
	store, err := sqlstatus.New(r.db, cfg)
	require.NoError(t, err)
	r.Store = store
	return r
}

// open opens the rig's database once more.
func (r *sqlRig) open(t testing.TB) *sql.DB {
	t.Helper()
	driver := map[sqlstatus.Dialect]string{sqlstatus.Postgres: "pgx", sqlstatus.SQLite: "sqlite"}[r.dialect]
	db, err := sql.Open(driver, r.dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// table is the table of the jobs in a statement of a test's own.
func (r *sqlRig) table() string {
	if r.cfg.Schema == "" {
		return "worker_jobs"
	}
	return r.cfg.Schema + ".worker_jobs"
}

// exec runs a statement of a test's own, in which {t} is the table, and returns how many rows it changed.
func (r *sqlRig) exec(t testing.TB, statement string, args ...any) int64 {
	t.Helper()
	result, err := r.db.Exec(strings.ReplaceAll(statement, "{t}", r.table()), args...)
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	return n
}

// one reads a single value of any kind that a string can hold.
func (r *sqlRig) one(t testing.TB, query string) (value string) {
	t.Helper()
	require.NoError(t, r.db.QueryRow(strings.ReplaceAll(query, "{t}", r.table())).Scan(&value))
	return value
}

// sooner makes all rows look as if they had come and changed so many milliseconds sooner.
func (r *sqlRig) sooner(t testing.TB, ms int, where string) {
	t.Helper()
	by := fmt.Sprint(ms)
	if r.dialect == sqlstatus.Postgres {
		by = fmt.Sprintf("%d * interval '1 ms'", ms)
	}
	r.exec(t, "UPDATE {t} SET created_at = created_at - "+by+", changed_at = changed_at - "+by+" WHERE "+where)
}

// saved saves statuses that must all be OK.
func (r *sqlRig) saved(t testing.TB, statuses ...worker.Status) {
	t.Helper()
	answers, err := r.Save(context.Background(), statuses...)
	require.NoError(t, err)
	for i, answer := range answers {
		require.True(t, answer.OK, "status %d of %q: the store holds %q", i, statuses[i].JobID, answer.Current)
	}
}

// sqlNote is the payload of these tests' jobs.
type sqlNote struct {
	Text string `json:"text"`
}

func (sqlNote) JobType() string { return "sql:note" }

// newSQLJob makes a job with an id.
func newSQLJob(t testing.TB, id string, opts ...worker.JobOption) *worker.Job {
	t.Helper()
	job, err := worker.NewJob(sqlNote{Text: "of " + id}, append([]worker.JobOption{worker.WithID(id)}, opts...)...)
	require.NoError(t, err)
	return job
}

// waitingFor is the status of a job that was enqueued.
func waitingFor(t testing.TB, job *worker.Job) worker.Status {
	t.Helper()
	st, err := worker.InitialStatus(job)
	require.NoError(t, err)
	return st
}

// The phases of a version.
const (
	phaseRunning = 1
	phasePutBack = 2
	phaseFinal   = 3
)

// later is the status of the same job under a token, in a phase.
func later(st worker.Status, state worker.State, token int64, phase, sequence int) worker.Status {
	st.State, st.Version, st.Attempt = state, token<<14|int64(phase)<<12|int64(sequence), 1
	return st
}
