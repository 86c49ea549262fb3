package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// openSQL opens a new database with the tables in it.
func openSQL(b testing.TB, dialect string) (*sql.DB, sqlstatus.Config) {
	b.Helper()
	driver, dsn := "sqlite", sqliteDSN(filepath.Join(b.TempDir(), "status.db"))
	cfg := sqlstatus.Config{Dialect: sqlstatus.SQLite}
	if dialect == "postgres" {
		driver, dsn = "pgx", pgtest.Shared(b).URL()
		cfg = sqlstatus.Config{Dialect: sqlstatus.Postgres, Schema: fmt.Sprintf("s%d", time.Now().UnixNano())}
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(b, err)
	db.SetMaxIdleConns(4)
	b.Cleanup(func() { _ = db.Close() })
	require.NoError(b, sqlstatus.Migrate(context.Background(), db, cfg))
	return db, cfg
}

// BenchmarkSQLSave saves batches of 100 on one connection: the first status of new jobs, then running, then succeeded.
func BenchmarkSQLSave(b *testing.B) {
	for _, dialect := range []string{"postgres", "sqlite"} {
		b.Run(dialect, func(b *testing.B) {
			store, err := sqlstatus.New(openSQL(b, dialect))
			require.NoError(b, err)
			const batch = 100
			all := make([][]worker.Status, max(b.N/batch, 1))
			for i := range all {
				all[i] = firstStatuses(b, batch)
			}
			b.ResetTimer()
			for _, step := range []struct {
				state   worker.State
				version int64
			}{{worker.StateQueued, 0}, {worker.StateRunning, 1<<14 | 1<<12}, {worker.StateSucceeded, 1<<14 | 3<<12}} {
				began := time.Now()
				for _, statuses := range all {
					for k := range statuses {
						statuses[k].State, statuses[k].Version = step.state, step.version
					}
					_, err := store.Save(context.Background(), statuses...)
					require.NoError(b, err)
				}
				b.ReportMetric(float64(len(all)*batch)/time.Since(began).Seconds(), string(step.state)+"/s")
			}
		})
	}
}

// firstStatuses returns those of n new jobs.
func firstStatuses(b *testing.B, n int) []worker.Status {
	b.Helper()
	statuses := make([]worker.Status, n)
	for k := range statuses {
		job, err := worker.NewJob(payload(k, 0))
		require.NoError(b, err)
		statuses[k], err = worker.InitialStatus(job)
		require.NoError(b, err)
	}
	return statuses
}
