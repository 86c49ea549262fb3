package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// audit makes the database itself note every change of a row.
func (r *sqlRig) audit(t testing.TB) {
	t.Helper()
	schema := strings.TrimSuffix(r.table(), "worker_jobs")
	if r.dialect == sqlstatus.SQLite {
		r.exec(t, `CREATE TABLE audit (n INTEGER PRIMARY KEY, id TEXT, had TEXT, had_version INTEGER, state TEXT, version INTEGER)`)
		const note = ` BEGIN INSERT INTO audit (id, had, had_version, state, version) VALUES (new.id, %s, new.state, new.version); END`
		r.exec(t, "CREATE TRIGGER audit_insert AFTER INSERT ON {t}"+fmt.Sprintf(note, "'', 0"))
		r.exec(t, "CREATE TRIGGER audit_update AFTER UPDATE OF version ON {t}"+fmt.Sprintf(note, "old.state, old.version"))
		return
	}
	audit := schema + "audit"
	r.exec(t, "CREATE TABLE "+audit+" (n bigserial, id text, had text, had_version bigint, state text, version bigint)")
	r.exec(t, "CREATE FUNCTION "+schema+`note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF TG_OP = 'INSERT' THEN
			INSERT INTO `+audit+` (id, had, had_version, state, version) VALUES (new.id, '', 0, new.state, new.version);
		ELSE
			INSERT INTO `+audit+` (id, had, had_version, state, version) VALUES (new.id, old.state, old.version, new.state, new.version);
		END IF;
		RETURN NULL; END $$`)
	r.exec(t, "CREATE TRIGGER note AFTER INSERT OR UPDATE OF version ON {t} FOR EACH ROW EXECUTE FUNCTION "+schema+"note()")
}

// change is what the database noted.
type change struct{ had, is worker.Status }

// audited returns what was noted, by job, in order.
func (r *sqlRig) audited(t testing.TB) map[string][]change {
	t.Helper()
	audit := strings.Replace(r.table(), "worker_jobs", "audit", 1)
	rows, err := r.db.Query("SELECT id, had, had_version, state, version FROM " + audit + " ORDER BY n")
	require.NoError(t, err)
	defer rows.Close()
	changes := make(map[string][]change)
	for rows.Next() {
		var id string
		var c change
		require.NoError(t, rows.Scan(&id, &c.had.State, &c.had.Version, &c.is.State, &c.is.Version))
		changes[id] = append(changes[id], c)
	}
	require.NoError(t, rows.Err())
	return changes
}

// anyStatus is a status that some worker or producer might write.
func anyStatus(dice *rand.Rand, st worker.Status) worker.Status {
	kinds := []struct {
		state worker.State
		phase int
	}{
		{worker.StateRunning, phaseRunning}, {worker.StateRunning, phaseRunning}, {worker.StateRetrying, phasePutBack},
		{worker.StateFailed, phaseFinal}, {worker.StateCanceled, phaseFinal}, {worker.StateQueued, 0},
		{worker.StateSucceeded, phaseFinal},
	}
	kind := kinds[dice.IntN(len(kinds))]
	if kind.state == worker.StateSucceeded && dice.IntN(20) > 0 {
		kind = kinds[0] // few, as they end the job for ever
	}
	return later(st, kind.state, dice.Int64N(40), kind.phase, dice.IntN(3))
}

// Many writers, each on connections of its own, save batches of the same jobs in any order. The database notes what
// they do to its rows: every change is one that the rule allows, and every answer is true.
func TestSQLStatusManyWriters(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		const writers, calls, jobs = 8, 60, 12
		r.audit(t)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		first := make([]worker.Status, jobs)
		for i := range first {
			first[i] = waitingFor(t, newSQLJob(t, fmt.Sprintf("job-%02d", i)))
		}
		var mu sync.Mutex
		taken := make(map[string]bool)
		var wg sync.WaitGroup
		for w := range writers {
			store, err := sqlstatus.New(r.open(t), r.cfg)
			require.NoError(t, err)
			dice := rand.New(rand.NewPCG(seed, uint64(w)))
			wg.Go(func() {
				for range calls {
					var batch []worker.Status
					for _, i := range dice.Perm(jobs)[:1+dice.IntN(jobs)] {
						batch = append(batch, anyStatus(dice, first[i]))
					}
					answers, err := store.Save(context.Background(), batch...)
					if !assert.NoError(t, err) {
						return
					}
					mu.Lock()
					for i, answer := range answers {
						if answer.OK {
							taken[fmt.Sprint(batch[i].JobID, " ", batch[i].Version)] = true
						} else {
							assert.NotNil(t, answer.Row)
						}
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		changes := r.audited(t)
		noted := make(map[string]bool)
		for id, list := range changes {
			for i, c := range list {
				noted[fmt.Sprint(id, " ", c.is.Version)] = true
				if i == 0 {
					require.Empty(t, c.had.State)
					continue
				}
				require.Equal(t, list[i-1].is, c.had, "of %s", id)
				require.True(t, c.is.Supersedes(&c.had), "%s: %s (%d) replaced %s (%d)",
					id, c.is.State, c.is.Version, c.had.State, c.had.Version)
			}
			row, err := r.Get(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, list[len(list)-1].is.Version, row.Version)
		}
		require.Equal(t, noted, taken, "what was answered OK is what was written")
	})
}

func TestSQLStatusStaleWorkerChangesNoRow(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		var statuses []worker.Status
		for i := range 100 {
			statuses = append(statuses, later(waitingFor(t, newSQLJob(t, fmt.Sprint("job-", i))), worker.StateRunning, 9, phaseRunning, 5))
		}
		r.saved(t, statuses...)
		r.audit(t)
		for _, stale := range []func(worker.Status) worker.Status{
			func(st worker.Status) worker.Status { return later(st, worker.StateRunning, 8, phaseRunning, 0) },
			func(st worker.Status) worker.Status { return later(st, worker.StateSucceeded, 8, phaseFinal, 0) },
			func(st worker.Status) worker.Status { return later(st, worker.StateRunning, 9, phaseRunning, 4) },
			func(st worker.Status) worker.Status { return later(st, worker.StateQueued, 0, 0, 0) },
		} {
			var batch []worker.Status
			for _, st := range statuses {
				batch = append(batch, stale(st))
			}
			answers, err := r.Save(context.Background(), batch...)
			require.NoError(t, err)
			for i, answer := range answers {
				require.False(t, answer.OK)
				require.Equal(t, worker.StateRunning, answer.Current)
				require.Equal(t, statuses[i].Version, answer.Row.Version)
				require.Equal(t, statuses[i].JobID, answer.Row.JobID)
			}
		}
		r.saved(t, statuses...) // saved again: OK, and nothing is written either
		require.Empty(t, r.audited(t))
	})
}

// The job travels with its first status only. Its envelope is kept until it has succeeded, also when no producer wrote
// a row, and a new round brings its own.
func TestSQLStatusKeepsTheJobUntilItSucceeds(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		body := func(id string) string {
			row, err := r.Get(ctx, id)
			require.NoError(t, err)
			if row.Job == nil {
				return ""
			}
			encoded, err := worker.EncodeJob(row.Job)
			require.NoError(t, err)
			return string(encoded)
		}
		job := newSQLJob(t, "produced", worker.WithHeader("trace", "abc"), worker.OnQueue("photos"))
		queued := waitingFor(t, job)
		want, err := worker.EncodeJob(job)
		require.NoError(t, err)
		unproduced := later(waitingFor(t, newSQLJob(t, "unproduced")), worker.StateRunning, 3, phaseRunning, 0)
		wantUnproduced, err := worker.EncodeJob(unproduced.Job)
		require.NoError(t, err)

		r.saved(t, queued)
		r.saved(t, later(queued, worker.StateRunning, 2, phaseRunning, 0), unproduced)
		require.Equal(t, string(want), body("produced"))
		require.Equal(t, string(wantUnproduced), body("unproduced"))

		r.exec(t, "UPDATE {t} SET envelope = NULL WHERE id = 'unproduced'") // its writer died before it could bring it
		r.saved(t, unproduced)
		require.Equal(t, string(wantUnproduced), body("unproduced"))

		r.saved(t, later(queued, worker.StateFailed, 2, phaseFinal, 0))
		require.Equal(t, string(want), body("produced"))
		reopened := later(queued, worker.StateQueued, 5, 0, 0)
		reopened.Job = newSQLJob(t, "produced", worker.WithHeader("trace", "def"), worker.OnQueue("photos"))
		r.saved(t, reopened)
		require.Contains(t, body("produced"), "def")

		r.saved(t, later(queued, worker.StateSucceeded, 6, phaseFinal, 0), later(unproduced, worker.StateSucceeded, 4, phaseFinal, 0))
		require.Empty(t, body("produced"))
		require.Equal(t, "0", r.one(t, "SELECT COUNT(envelope) FROM {t}"))
		require.Equal(t, "0", r.one(t, "SELECT COUNT(result) + COUNT(run_at) FROM {t}"), "none is NULL")
	})
}

func TestSQLStatusLargeJobsGoInParts(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		var statuses []worker.Status
		for i := range 12 {
			job := newSQLJob(t, fmt.Sprintf("job-%02d", i))
			job.Payload = json.RawMessage(`"` + strings.Repeat("x", 1<<20-2) + `"`)
			statuses = append(statuses, waitingFor(t, job))
		}
		r.saved(t, statuses[:6]...)
		for i := range statuses[6:] {
			statuses[6+i] = later(statuses[6+i], worker.StateRunning, 1, phaseRunning, 0) // 6 MB to fill in
		}
		r.saved(t, statuses...)
		require.Equal(t, "12", r.one(t, "SELECT COUNT(*) FROM {t} WHERE length(envelope) > 1000000"))
	})
}

// One status that cannot be stored is refused for good, and with it only the call that it is in.
func TestSQLStatusRefusesDataForGood(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		good := waitingFor(t, newSQLJob(t, "good"))
		bad := func(spoil func(*worker.Status)) worker.Status {
			st := waitingFor(t, newSQLJob(t, "bad"))
			spoil(&st)
			return st
		}
		refused := map[string][]worker.Status{
			"twice":     {good, good},
			"time":      {good, bad(func(st *worker.Status) { st.At = time.Unix(1<<40, 0) })},
			"other job": {good, bad(func(st *worker.Status) { st.JobID, st.Queue = "there", "elsewhere" })},
		}
		if r.dialect == sqlstatus.Postgres {
			refused["NUL"] = []worker.Status{good, bad(func(st *worker.Status) { st.Message = "a\x00b" })}
			refused["not UTF-8"] = []worker.Status{good, bad(func(st *worker.Status) { st.Error = "\xff" })}
			refused["too long for an index"] = []worker.Status{good, bad(func(st *worker.Status) { st.Topic = noise(9000) })}
		} else {
			refused["no number"] = []worker.Status{good, bad(func(st *worker.Status) { st.Progress = math.NaN() })}
		}
		r.saved(t, waitingFor(t, newSQLJob(t, "there")))
		for what, statuses := range refused {
			_, err := r.Save(ctx, statuses...)
			require.Error(t, err, what)
			require.True(t, worker.IsPermanent(err), "%s: %v", what, err)
			_, err = r.Get(ctx, "bad")
			require.ErrorIs(t, err, worker.ErrJobNotFound, what)
		}
		r.saved(t, good)
	})
}

// noise is text that doesn't compress.
func noise(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = byte('!' + rand.IntN(90))
	}
	return string(text)
}

// The store's own trouble is never taken for the data's.
func TestSQLStatusTroubleIsNotForGood(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		st := waitingFor(t, newSQLJob(t, "job"))
		transient := func(what string, err error) {
			t.Helper()
			require.Error(t, err, what)
			require.False(t, worker.IsPermanent(err), "%s: %v", what, err)
		}
		lost := r.cfg
		lost.Table = "no_such_table"
		store, err := sqlstatus.New(r.db, lost)
		require.NoError(t, err)
		_, err = store.Save(context.Background(), st)
		transient("no table", err)

		r.saved(t, st)
		holder, err := r.db.Begin()
		require.NoError(t, err)
		_, err = holder.Exec(strings.ReplaceAll("UPDATE {t} SET message = 'held'", "{t}", r.table()))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		other, err := sqlstatus.New(r.open(t), r.cfg)
		require.NoError(t, err)
		_, err = other.Save(ctx, later(st, worker.StateRunning, 1, phaseRunning, 0))
		transient("a locked row", err)
		require.NoError(t, holder.Rollback())
		r.saved(t, later(st, worker.StateRunning, 1, phaseRunning, 0))

		closed := r.open(t)
		require.NoError(t, closed.Close())
		store, err = sqlstatus.New(closed, r.cfg)
		require.NoError(t, err)
		_, err = store.Save(context.Background(), st)
		transient("a closed database", err)
	})
}

func TestSQLStatusOutlivesItsServer(t *testing.T) {
	server := pgtest.Server(t)
	r := newSQLRig(t, sqlstatus.Config{Dialect: sqlstatus.Postgres}, server.URL())
	st := waitingFor(t, newSQLJob(t, "job"))
	r.saved(t, st)
	server.Kill()
	_, err := r.Save(context.Background(), later(st, worker.StateRunning, 1, phaseRunning, 0))
	require.Error(t, err)
	require.False(t, worker.IsPermanent(err), "%v", err)
	server.Restart(t)
	until(t, "the store to work again", func() bool {
		_, err := r.Save(context.Background(), later(st, worker.StateRunning, 1, phaseRunning, 0))
		return err == nil
	})
	server.Pause(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = r.Save(ctx, later(st, worker.StateSucceeded, 1, phaseFinal, 0))
	require.Error(t, err)
	require.False(t, worker.IsPermanent(err), "%v", err)
	server.Resume()
	until(t, "the store to work again", func() bool {
		_, err := r.Save(context.Background(), later(st, worker.StateSucceeded, 1, phaseFinal, 0))
		return err == nil
	})
	row, err := r.Get(context.Background(), "job")
	require.NoError(t, err)
	require.Equal(t, worker.StateSucceeded, row.State)
}

// Ten programs start at once on a database that has no tables yet, twice.
func TestSQLStatusMigratesOnce(t *testing.T) {
	migrateAtOnce := func(t *testing.T, r *sqlRig) {
		for range 2 {
			var wg sync.WaitGroup
			for range 10 {
				db := r.open(t)
				wg.Go(func() { assert.NoError(t, sqlstatus.Migrate(context.Background(), db, r.cfg)) })
			}
			wg.Wait()
		}
		require.Equal(t, "1", r.one(t, "SELECT COUNT(*) FROM "+strings.Replace(r.table(), "worker_jobs", r.cfg.Table+"_migrations", 1)))
		store, err := sqlstatus.New(r.db, r.cfg)
		require.NoError(t, err)
		_, err = store.Save(context.Background(), waitingFor(t, newSQLJob(t, "job")))
		require.NoError(t, err)
		_, err = r.Get(context.Background(), "job")
		require.ErrorIs(t, err, worker.ErrJobNotFound, "tables of other names stand side by side")
	}
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		r.cfg.Table = "select" // a word of SQL, which quotes make a name
		migrateAtOnce(t, r)
		if r.dialect == sqlstatus.Postgres {
			r.cfg.Schema += "_new" // nobody made it
			migrateAtOnce(t, r)
		}
	})
}

func TestSQLStatusLeavesNewerTablesAlone(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		r.exec(t, "INSERT INTO "+r.table()+"_migrations (version) VALUES (999)")
		require.NoError(t, sqlstatus.Migrate(context.Background(), r.db, r.cfg))
		require.Equal(t, "999", r.one(t, "SELECT MAX(version) FROM {t}_migrations"))
	})
}
