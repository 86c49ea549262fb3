//go:build unix

package integration

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// sweepInterval is short, so that what Redis has lost comes back within seconds.
const sweepInterval = time.Second

// newDatabaseRig makes a rig whose statuses are in a Postgres of its own.
func newDatabaseRig(t testing.TB, cfg workerConfig) (*rig, *pgtest.Postgres) {
	t.Helper()
	postgres := pgtest.Server(t)
	cfg.Database, cfg.Sweep = postgres.URL(), sweepInterval
	r, _ := newRig(t, cfg)
	return r, postgres
}

// openDatabase makes the tables and returns the rig's own store.
func (r *rig) openDatabase(url string) *sqlstatus.Store {
	r.t.Helper()
	var err error
	r.db, err = sql.Open("pgx", url)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = r.db.Close() })
	cfg := sqlstatus.Config{Dialect: sqlstatus.Postgres}
	require.NoError(r.t, sqlstatus.Migrate(context.Background(), r.db, cfg))
	_, err = r.db.Exec(ledger)
	require.NoError(r.t, err)
	store, err := sqlstatus.New(r.db, cfg)
	require.NoError(r.t, err)
	return store
}

// number reads one number, or -1 while the database cannot be asked.
func (r *rig) number(query string, args ...any) int {
	n := -1
	_ = r.db.QueryRow(query, args...).Scan(&n)
	return n
}

// awaitEnded waits until no row is unfinished, and no job waits or runs in Redis.
func (r *rig) awaitEnded() {
	r.t.Helper()
	r.await("all jobs to end", func() bool {
		return r.number(`SELECT count(*) FROM worker_jobs WHERE state NOT IN ('succeeded', 'failed', 'canceled')`) == 0
	})
	r.awaitDrained()
}

// ledger makes the database note each final state that it ever stores: of a requeued job the row tells only the last.
const ledger = `
CREATE TABLE ledger (id text, state text, token bigint, crashes bigint, error text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ledger VALUES (NEW.id, NEW.state, NEW.version >> 14, NEW.crashes, NEW.error);
	RETURN NULL;
END $$;
CREATE TRIGGER note_new AFTER INSERT ON worker_jobs FOR EACH ROW
	WHEN (NEW.state IN ('succeeded', 'failed', 'canceled')) EXECUTE FUNCTION note();
CREATE TRIGGER note_changed AFTER UPDATE ON worker_jobs FOR EACH ROW
	WHEN (NEW.state IN ('succeeded', 'failed', 'canceled') AND NEW.version <> OLD.version) EXECUTE FUNCTION note()`

// finals returns the final states that the database ever had as events.
func (r *rig) finals() (events []event) {
	r.t.Helper()
	rows, err := r.db.Query(`SELECT id, state, token, crashes, error FROM ledger`)
	require.NoError(r.t, err)
	defer rows.Close()
	for rows.Next() {
		e := event{Op: opFinal, Proc: "store"}
		require.NoError(r.t, rows.Scan(&e.Job, &e.State, &e.Token, &e.Crashes, &e.Text))
		events = append(events, e)
	}
	require.NoError(r.t, rows.Err())
	return events
}

// rows returns the status table.
func (r *rig) rows() map[string]history.Row {
	r.t.Helper()
	rows, err := r.db.Query(`SELECT id, state, version >> 14 FROM worker_jobs`)
	require.NoError(r.t, err)
	defer rows.Close()
	found := make(map[string]history.Row)
	for rows.Next() {
		var id string
		var row history.Row
		require.NoError(r.t, rows.Scan(&id, &row.State, &row.Token))
		found[id] = row
	}
	require.NoError(r.t, rows.Err())
	return found
}

// countState counts the rows in a state.
func (r *rig) countState(state worker.State) int {
	return r.number(`SELECT count(*) FROM worker_jobs WHERE state = $1`, string(state))
}

// Redis loses everything, in the middle of 1,000 jobs that wait, 100 that are to be retried and 100 that run, and the
// worker that begins to sweep them up dies over it. The database knows them all, and every one ends.
func TestFlushedRedisLosesNoJob(t *testing.T) {
	t.Parallel()
	const waiting, few = 1000, 100
	r, _ := newDatabaseRig(t, workerConfig{Concurrency: few})
	w := r.fleet.start()
	retry := func(int) task { return task{Do: deedFlaky, Millis: 20_000} }
	r.enqueue(r.jobs(few, "retrying", retry)...)
	r.await("jobs to fail", func() bool { return r.countState(worker.StateRetrying) == few })
	r.enqueue(r.jobs(few, "running", hold)...)
	r.await("jobs to run", func() bool { return r.countState(worker.StateRunning) == few })
	r.enqueue(r.jobs(waiting, "waiting", nap(1, 20))...)
	require.Equal(t, few, r.countState(worker.StateRetrying), "too late: the retries are due already")

	r.loseData()
	require.NoError(t, r.client.Do(context.Background(), r.client.B().Flushall().Build()).Error())
	w.open()
	r.fleet.start().open()
	r.await("swept jobs to end", func() bool { return r.countState(worker.StateSucceeded) > few })
	w.kill()
	r.awaitEnded()
	r.verify()
	require.Equal(t, waiting+2*few, r.countState(worker.StateSucceeded))
	r.report("Redis emptied, a worker killed while it swept")
}

// Postgres is away under load, for long. Claims stop, outcomes wait, nothing runs twice, and every job ends.
func TestPostgresOutage(t *testing.T) {
	t.Parallel()
	const n = 6000
	outage := size(16*time.Second, 30*time.Second)
	r, postgres := newDatabaseRig(t, workerConfig{Concurrency: 20})
	for range 2 {
		r.fleet.start()
	}
	r.enqueue(r.jobs(n, "job", nap(5, 40))...)
	r.awaitFinished(n / 4)
	postgres.Kill()
	time.Sleep(outage / 2) // what was claimed is run or given back meanwhile
	before := r.starts()
	time.Sleep(outage / 2)
	require.Equal(t, before, r.starts(), "jobs were started though the store was away")
	postgres.Restart(t)
	r.awaitEnded()
	r.verify()
	require.Equal(t, n, r.starts())
	r.report(fmt.Sprintf("Postgres away for %v", outage))
}

// A row that the database refuses for its data stops nothing but itself.
func TestOneRefusedRowStopsNoOther(t *testing.T) {
	const n = 500
	r, _ := newDatabaseRig(t, workerConfig{Concurrency: 20})
	for constraint, condition := range map[string]string{
		"no_run":     `id <> 'job-00010' OR state <> 'running'`,
		"no_success": `id <> 'job-00020' OR state <> 'succeeded'`,
		"no_end":     `id <> 'job-00030' OR state NOT IN ('succeeded', 'failed')`,
	} {
		_, err := r.db.Exec(fmt.Sprintf(`ALTER TABLE worker_jobs ADD CONSTRAINT %s CHECK (%s)`, constraint, condition))
		require.NoError(t, err)
	}
	r.fleet.start()
	r.enqueue(r.jobs(n, "job", nap(1, 5))...)
	r.await("all others to succeed", func() bool { return r.countState(worker.StateSucceeded) == n-2 })
	state := func(id string) (s string) {
		require.NoError(t, r.db.QueryRow(`SELECT state FROM worker_jobs WHERE id = $1`, id).Scan(&s))
		return s
	}
	r.await("the refused success to be recorded as a failure", func() bool { return state("job-00020") == "failed" })
	require.Equal(t, "succeeded", state("job-00010"), "a refused 'running' is skipped")
	require.Equal(t, "running", state("job-00030"), "there is no way to record its end")
	r.await("both to be settled, which comes after their rows", func() bool {
		dead := r.members(prefix("default") + "dead")
		slices.Sort(dead)
		return slices.Equal(dead, []string{"job-00020", "job-00030"})
	})
	require.Equal(t, n, r.starts())

	_, err := r.db.Exec(`ALTER TABLE worker_jobs DROP CONSTRAINT no_end`)
	require.NoError(t, err)
	r.await("the end to be recorded by a sweep", func() bool { return state("job-00030") == "failed" })
	require.Equal(t, n, r.starts(), "no job ran again")
}
