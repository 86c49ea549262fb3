package benchmarks

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.StopShared()
	os.Exit(code)
}

// openSQL opens a new database, as docs/sqlstatus.md recommends, with the tables in it.
func openSQL(b testing.TB, dialect string) (*sql.DB, sqlstatus.Config) {
	b.Helper()
	driver, dsn := "sqlite", "file:"+filepath.Join(b.TempDir(), "status.db")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)"
	cfg := sqlstatus.Config{Dialect: sqlstatus.SQLite}
	if dialect == "postgres" {
		driver, dsn = "pgx", pgtest.Shared(b).URL()
		cfg = sqlstatus.Config{Dialect: sqlstatus.Postgres, Schema: fmt.Sprintf("s%d", time.Now().UnixNano())}
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxIdleConns(4)
	b.Cleanup(func() { _ = db.Close() })
	if err := sqlstatus.Migrate(context.Background(), db, cfg); err != nil {
		b.Fatal(err)
	}
	return db, cfg
}

func newSQLStore(b testing.TB, dialect string) *sqlstatus.Store {
	b.Helper()
	store, err := sqlstatus.New(openSQL(b, dialect))
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// countingStore counts the calls of Save and their statuses.
type countingStore struct {
	*sqlstatus.Store
	calls, statuses atomic.Int64
}

func (c *countingStore) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	c.calls.Add(1)
	c.statuses.Add(int64(len(statuses)))
	return c.Store.Save(ctx, statuses...)
}

// BenchmarkSQLDrain drains b.N no-op jobs that were enqueued with a status store: running and final state of each are
// saved.
func BenchmarkSQLDrain(b *testing.B) {
	for _, dialect := range []string{"postgres", "sqlite"} {
		b.Run(dialect, func(b *testing.B) {
			x := newBench(b)
			store := &countingStore{Store: newSQLStore(b, dialect)}
			x.store = store
			client, err := worker.NewClient(worker.Backend{Queue: x.queue, StatusStore: store, Logger: quiet})
			must(b, err)
			x.client = client
			began := time.Now()
			x.fill(b.N)
			filled := time.Since(began)
			store.calls.Store(0)
			store.statuses.Store(0)
			b.ResetTimer()
			took := x.drain(100, b.N)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/took.Seconds(), "jobs/s")
			b.ReportMetric(float64(b.N)/filled.Seconds(), "enqueued/s")
			b.ReportMetric(float64(store.statuses.Load())/float64(store.calls.Load()), "statuses/save")
			b.ReportMetric(float64(store.statuses.Load())/float64(b.N), "statuses/job")
		})
	}
}

// BenchmarkSQLSave saves batches of 100 on one connection: the first status of new jobs, then running, then succeeded.
func BenchmarkSQLSave(b *testing.B) {
	for _, dialect := range []string{"postgres", "sqlite"} {
		b.Run(dialect, func(b *testing.B) {
			store := newSQLStore(b, dialect)
			const batch = 100
			var all [][]worker.Status
			for range max(b.N/batch, 1) {
				statuses := make([]worker.Status, batch)
				for k := range statuses {
					job, err := worker.NewJob(payload(k))
					must(b, err)
					statuses[k], err = worker.InitialStatus(job)
					must(b, err)
				}
				all = append(all, statuses)
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
					must(b, err)
				}
				b.ReportMetric(float64(len(all)*batch)/time.Since(began).Seconds(), string(step.state)+"/s")
			}
		})
	}
}
