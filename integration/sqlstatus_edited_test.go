package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/sqlstatus"
	"github.com/real-staging-ai/go-worker/workertest"
)

// edits are what hands (and clocks) leave in rows that no program of ours writes.
func (r *sqlRig) edits() []string {
	if r.dialect == sqlstatus.Postgres {
		return []string{
			"run_at = 'infinity'", "run_at = '-infinity'", "at = 'infinity'", "at = '20000-01-01'", "at = '4000-01-01 BC'",
			"progress = 'NaN'", "progress = '-Infinity'", "state = 'done'", "created_at = '-infinity'",
			"created_at = '3000-01-01 BC'", "result = 'null'",
		}
	}
	return []string{
		"run_at = datetime('now')", "at = 'soon'", "at = x'00ff'", "at = 1e300", "at = -9223372036854775807", "run_at = 1.5",
		"progress = 'half'", "progress = 9e999", "attempt = 'second'", "max_attempts = 2.5", "crashes = x'01'",
		"version = 'v1'", "version = 0.5", "state = 'done'", "state = x'ff'", "message = 12", "error = x'00'", "type = 7",
		"result = 1", "created_at = 0.5", "created_at = -9223372036854775807",
	}
}

// A row that somebody edited is read as far as it can be, and no other row suffers for it: pages go past it, wherever it
// lies, and a batch that has a status for it is saved.
func TestSQLStatusReadsEditedRows(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		var want []string
		var statuses []worker.Status
		for i := range r.edits() {
			for _, kind := range []string{"a", "b", "c"} {
				want = append(want, fmt.Sprintf("job-%02d%s", i, kind))
				statuses = append(statuses, waitingFor(t, newSQLJob(t, want[len(want)-1])))
			}
		}
		r.saved(t, statuses...)
		r.sooner(t, 120_000, "true")
		for i, edit := range r.edits() {
			r.exec(t, fmt.Sprintf("UPDATE {t} SET %s WHERE id IN ('job-%02da', 'job-%02db')", edit, i, i))
		}
		for limit := range 3 {
			got := r.list(t, sqlstatus.Filter{}, limit+1)
			slices.Sort(got)
			require.Equal(t, want, got)
			require.Equal(t, want, r.idle(t, limit+1))
		}
		for _, id := range want {
			row, err := r.Get(ctx, id)
			require.NoError(t, err, id)
			_, err = json.Marshal(row)
			require.NoError(t, err, id)
		}
		_, err := r.Count(ctx, sqlstatus.Filter{})
		require.NoError(t, err)
		for i := range statuses {
			statuses[i].Version = -1 // older than any row: all are read back
		}
		_, err = r.Save(ctx, statuses...)
		require.NoError(t, err)
	})
}

// idle returns the ids of all unfinished rows, in pages.
func (r *sqlRig) idle(t testing.TB, limit int) (ids []string) {
	t.Helper()
	cursor := ""
	for range 1000 {
		rows, next, err := r.Unfinished(context.Background(), time.Minute, cursor, limit)
		require.NoError(t, err)
		for _, row := range rows {
			ids = append(ids, row.JobID)
		}
		if cursor = next; next == "" {
			slices.Sort(ids)
			return ids
		}
	}
	t.Fatal("the pages never end")
	return nil
}

// What lies in the future or is no time at all in created_at is not due for the sweep, but List goes past it.
func TestSQLStatusListsRowsOfNoTime(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		edits := []string{"created_at = 'infinity'", "created_at = '20000-01-01'"}
		if r.dialect == sqlstatus.SQLite {
			edits = []string{"created_at = 'never'", "created_at = datetime('now')", "created_at = x'ff'", "created_at = 9223372036854775807"}
		}
		var want []string
		for i, edit := range edits {
			id := fmt.Sprint("job-", i)
			want = append(want, id)
			r.saved(t, waitingFor(t, newSQLJob(t, id)))
			r.exec(t, "UPDATE {t} SET "+edit+" WHERE id = '"+id+"'")
		}
		r.saved(t, waitingFor(t, newSQLJob(t, "sound")))
		got := r.list(t, sqlstatus.Filter{}, 1)
		slices.Sort(got)
		require.Equal(t, append(want, "sound"), got)
		if r.dialect == sqlstatus.Postgres {
			forged := "PVptOXYgaWQ" // "=Zm9v id", which means foo
			_, _, err := r.List(context.Background(), sqlstatus.Filter{}, sqlstatus.Page{Cursor: forged})
			require.ErrorContains(t, err, "the cursor is not one of this store's")
		}
	})
}

// A pool that ends a job whose row was edited meanwhile goes on with its other jobs.
func TestSQLStatusPoolOutlivesAnEditedRow(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		gate := make(chan struct{})
		p := r.pool(t, gate)
		edit := "run_at = 'infinity'"
		if r.dialect == sqlstatus.SQLite {
			edit = "run_at = datetime('now')"
		}
		r.exec(t, "UPDATE {t} SET state = 'succeeded', ended = 'succeeded', "+edit+" WHERE id = 'stuck'")
		close(gate)
		require.NoError(t, p.Client().EnqueueMany(context.Background(), newSQLJob(t, "other")))
		r.succeeds(t, "other")
	})
}

// pool starts a pool and returns once it runs a job "stuck", which ends when the gate is closed.
func (r *sqlRig) pool(t *testing.T, gate chan struct{}) *worker.Pool {
	t.Helper()
	var running atomic.Bool
	reg := worker.NewRegistry()
	worker.Handle(reg, func(ctx context.Context, job *worker.Job, _ sqlNote) error {
		if job.ID == "stuck" {
			running.Store(true)
			select {
			case <-gate:
			case <-ctx.Done():
			}
		}
		return nil
	})
	p, err := worker.NewPool(worker.Config{
		Backend: worker.Backend{
			Queue: workertest.NewQueue(), StatusStore: r.Store, Logger: slog.New(slog.DiscardHandler),
		},
		Registry: reg, Concurrency: 4,
	})
	require.NoError(t, err)
	require.NoError(t, p.Start(context.Background()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, p.Stop(ctx))
	})
	require.NoError(t, p.Client().EnqueueMany(context.Background(), newSQLJob(t, "stuck")))
	require.Eventually(t, running.Load, patience, 5*time.Millisecond)
	return p
}

// succeeds waits until the job has.
func (r *sqlRig) succeeds(t *testing.T, id string) {
	t.Helper()
	require.Eventually(t, func() bool {
		row, err := r.Get(context.Background(), id)
		return err == nil && row.State == worker.StateSucceeded
	}, patience, 10*time.Millisecond, id)
}

// A duplicate in a transaction that stays open holds up nobody: neither the job that runs nor those that end with it.
func TestSQLStatusDuplicatesAreNotLocked(t *testing.T) {
	r := onPostgres(t)
	ctx := context.Background()
	r.saved(t, later(waitingFor(t, newSQLJob(t, "over")), worker.StateFailed, 3, phaseFinal, 0))
	gate := make(chan struct{})
	p := r.pool(t, gate)
	r.in(t, true, func(tx *sql.Tx) {
		err := r.EnqueueTx(ctx, tx, newSQLJob(t, "stuck"), newSQLJob(t, "over"), newSQLJob(t, "new"))
		var failed *worker.EnqueueError
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed.Failed, 1)
		require.ErrorAs(t, failed.Failed["over"], new(*worker.FinishedError))
		close(gate)
		require.NoError(t, p.Client().EnqueueMany(ctx, newSQLJob(t, "other")))
		r.succeeds(t, "stuck")
		r.succeeds(t, "other")
		r.saved(t, later(waitingFor(t, newSQLJob(t, "over")), worker.StateQueued, 4, 0, 0)) // a requeue
	})
	row, err := r.Get(ctx, "new")
	require.NoError(t, err)
	require.Equal(t, worker.StateQueued, row.State)
}

// A database clock that was ahead for a while, and is right again, keeps nobody from sweeping.
func TestSQLStatusSweepsAfterAClockWasAhead(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		lock := func(owner string, want bool) {
			t.Helper()
			mine, err := r.LockSweep(ctx, owner, time.Minute, time.Minute)
			require.NoError(t, err)
			require.Equal(t, want, mine)
		}
		years := func(column string) {
			by := " + 315360000000"
			if r.dialect == sqlstatus.Postgres {
				by = " + interval '10 years'"
			}
			r.exec(t, "UPDATE {t}_sweep SET "+column+" = "+column+by)
		}
		lock("ahead", true)
		lock("right", false)
		years("held_until")
		lock("right", true)
		lock("ahead", false)
		require.NoError(t, r.UnlockSweep(ctx, "right"))
		lock("ahead", false)
		years("ended_at")
		lock("ahead", true)
	})
}

// A sweeper that waited for another one's row doesn't take its lease for one of a clock ahead.
func TestSQLStatusWaitsForAnotherSweeper(t *testing.T) {
	r := onPostgres(t)
	_, err := r.LockSweep(context.Background(), "first", time.Millisecond, 0)
	require.NoError(t, err)
	var mine bool
	var lockErr error
	var wg sync.WaitGroup
	r.in(t, true, func(tx *sql.Tx) {
		_, err := tx.Exec("UPDATE " + r.table() + "_sweep SET owner = ''")
		require.NoError(t, err)
		wg.Go(func() { mine, lockErr = r.LockSweep(context.Background(), "late", time.Minute, 0) })
		require.Eventually(t, func() bool {
			return r.one(t, `SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%`+
				r.cfg.Schema+`%'`) == "1"
		}, patience, 5*time.Millisecond)
		_, err = tx.Exec("UPDATE " + r.table() +
			"_sweep SET owner = 'early', held_until = clock_timestamp() + interval '1 minute'")
		require.NoError(t, err)
	})
	wg.Wait()
	require.NoError(t, lockErr)
	require.False(t, mine)
}

// A role that may not create tables migrates when there is nothing to do, and is told when there is.
func TestSQLStatusMigratesWithoutRights(t *testing.T) {
	r := onPostgres(t)
	role := strings.Replace(r.cfg.Schema, "s", "role", 1)
	for _, statement := range []string{
		"CREATE ROLE " + role, "GRANT USAGE ON SCHEMA " + r.cfg.Schema + " TO " + role,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + r.cfg.Schema + " TO " + role,
	} {
		r.exec(t, statement)
	}
	t.Cleanup(func() {
		r.exec(t, "DROP OWNED BY "+role)
		r.exec(t, "DROP ROLE "+role)
	})
	db, err := sql.Open("pgx", pgtest.Shared(t).URL())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("SET ROLE " + role)
	require.NoError(t, err)
	require.NoError(t, sqlstatus.Migrate(context.Background(), db, r.cfg))
	_, err = db.Exec("SET search_path = " + r.cfg.Schema)
	require.NoError(t, err)
	require.NoError(t, sqlstatus.Migrate(context.Background(), db, sqlstatus.Config{Dialect: sqlstatus.Postgres}))
	r.exec(t, "DELETE FROM {t}_migrations")
	require.ErrorContains(t, sqlstatus.Migrate(context.Background(), db, r.cfg), "permission denied")
}
