package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// in runs do in a transaction that is committed or rolled back.
func (r *sqlRig) in(t testing.TB, commit bool, do func(tx *sql.Tx)) {
	t.Helper()
	tx, err := r.db.Begin()
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	do(tx)
	if commit {
		require.NoError(t, tx.Commit())
	}
}

func TestSQLStatusEnqueuesWhenTheTransactionCommits(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		due := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli()).UTC()
		kept := newSQLJob(t, "kept", worker.At(due), worker.OnQueue("photos"), worker.WithTopic("user:7"),
			worker.WithHeader("trace", "abc"), worker.MaxAttempts(3))
		r.exec(t, "CREATE TABLE "+r.host()+" (id text PRIMARY KEY)")
		for id, commit := range map[string]bool{"kept": true, "dropped": false} {
			r.in(t, commit, func(tx *sql.Tx) {
				_, err := tx.Exec("INSERT INTO " + r.host() + " VALUES ('" + id + "')")
				require.NoError(t, err)
				job := newSQLJob(t, id)
				if commit {
					job = kept
				}
				require.NoError(t, r.EnqueueTx(ctx, tx, job))
				if r.dialect == sqlstatus.Postgres { // SQLite's one writer is this transaction
					_, err = r.Get(ctx, id)
					require.ErrorIs(t, err, worker.ErrJobNotFound, "before the commit")
				}
			})
		}
		require.Equal(t, "kept", r.one(t, "SELECT MAX(id) FROM "+r.host()))
		_, err := r.Get(ctx, "dropped")
		require.ErrorIs(t, err, worker.ErrJobNotFound)
		row, err := r.Get(ctx, "kept")
		require.NoError(t, err)
		require.Equal(t, worker.StateScheduled, row.State)
		require.Equal(t, due, row.RunAt)
		require.Equal(t, []any{"photos", "user:7", "sql:note", int64(0), 3},
			[]any{row.Queue, row.Topic, row.Type, row.Version, row.MaxAttempts})
		want, err := worker.EncodeJob(kept)
		require.NoError(t, err)
		got, err := worker.EncodeJob(row.Job)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	})
}

// host is a table of the host's own, beside the store's.
func (r *sqlRig) host() string { return strings.Replace(r.table(), "worker_jobs", "images", 1) }

// A connection with a transaction that the host began by a statement of its own will do.
func TestSQLStatusEnqueuesOnAConnection(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		conn, err := r.db.Conn(ctx)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		_, err = conn.ExecContext(ctx, "BEGIN")
		require.NoError(t, err)
		var jobs []*worker.Job
		for i := range 1500 {
			jobs = append(jobs, newSQLJob(t, fmt.Sprintf("job-%d", i)))
		}
		require.NoError(t, r.EnqueueTx(ctx, conn, jobs...))
		_, err = conn.ExecContext(ctx, "COMMIT")
		require.NoError(t, err)
		counts, err := r.Count(ctx, sqlstatus.Filter{})
		require.NoError(t, err)
		require.Equal(t, map[worker.State]int{worker.StateQueued: 1500}, counts)
	})
}

func TestSQLStatusEnqueuesByIDOnce(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		ids := []string{"queued", "running", "retrying", "succeeded", "failed", "canceled", "refused"}
		first := make(map[string]worker.Status)
		for _, id := range ids {
			first[id] = waitingFor(t, newSQLJob(t, id))
		}
		r.saved(t, first["queued"],
			later(first["running"], worker.StateRunning, 3, phaseRunning, 0),
			later(first["retrying"], worker.StateRetrying, 3, phasePutBack, 0),
			later(first["succeeded"], worker.StateSucceeded, 3, phaseFinal, 0),
			later(first["failed"], worker.StateFailed, 3, phaseFinal, 0),
			later(first["canceled"], worker.StateCanceled, 3, phaseFinal, 0),
			later(first["refused"], worker.StateFailed, 0, phaseFinal, 0)) // "not enqueued", which yields
		jobs := []*worker.Job{newSQLJob(t, "new")}
		for _, id := range ids {
			jobs = append(jobs, newSQLJob(t, id))
		}
		r.saved(t, waitingFor(t, newSQLJob(t, "elsewhere")), later(waitingFor(t, newSQLJob(t, "other type")), worker.StateRunning, 2, phaseRunning, 0))
		other := newSQLJob(t, "other type")
		other.Type = "another:type"
		jobs = append(jobs, newSQLJob(t, "elsewhere", worker.OnQueue("elsewhere")), other)

		r.in(t, true, func(tx *sql.Tx) {
			err := r.EnqueueTx(ctx, tx, jobs...)
			var failed *worker.EnqueueError
			require.ErrorAs(t, err, &failed)
			require.Len(t, failed.Failed, 5)
			for id, state := range map[string]worker.State{
				"succeeded": worker.StateSucceeded, "failed": worker.StateFailed, "canceled": worker.StateCanceled,
			} {
				var finished *worker.FinishedError
				require.ErrorAs(t, failed.Failed[id], &finished, id)
				require.Equal(t, worker.FinishedError{ID: id, State: state}, *finished)
			}
			require.EqualError(t, failed.Failed["elsewhere"], `the id belongs to a job of type "sql:note" on queue "default"`)
			taken := (*worker.IDTakenError)(nil)
			require.ErrorAs(t, failed.Failed["other type"], &taken)
			require.Equal(t, worker.IDTakenError{ID: "other type", Type: "sql:note", Queue: "default"}, *taken)
		})
		for id, state := range map[string]worker.State{
			"new": worker.StateQueued, "queued": worker.StateQueued, "running": worker.StateRunning,
			"retrying": worker.StateRetrying, "succeeded": worker.StateSucceeded, "refused": worker.StateQueued,
		} {
			row, err := r.Get(ctx, id)
			require.NoError(t, err, id)
			require.Equal(t, state, row.State, id)
			require.Equal(t, worker.DefaultQueue, row.Queue)
		}
	})
}

func TestSQLStatusChecksJobsBeforeItWrites(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		ctx := context.Background()
		r.cfg.MaxPayload = 64
		store, err := sqlstatus.New(r.db, r.cfg)
		require.NoError(t, err)
		spoiled := func(spoil func(*worker.Job)) *worker.Job {
			job := newSQLJob(t, "bad")
			spoil(job)
			return job
		}
		for want, job := range map[string]*worker.Job{
			"payload has 65 bytes: the limit is 64": spoiled(func(j *worker.Job) { j.Payload = json.RawMessage(`"` + strings.Repeat("x", 63) + `"`) }),
			"not valid JSON":                        spoiled(func(j *worker.Job) { j.Payload = json.RawMessage("{") }),
			"topic":                                 spoiled(func(j *worker.Job) { j.Topic = "a\x00b" }),
			"id has 256 bytes: the limit is 255":    spoiled(func(j *worker.Job) { j.ID = strings.Repeat("x", 256) }),
			"job 1: initial status: job is nil":     nil,
			`job "good" is in the call twice`:       newSQLJob(t, "good"),
		} {
			r.in(t, true, func(tx *sql.Tx) {
				require.ErrorContains(t, store.EnqueueTx(ctx, tx, newSQLJob(t, "good"), job), want)
			})
			_, err := r.Get(ctx, "good")
			require.ErrorIs(t, err, worker.ErrJobNotFound, want)
		}
		require.NoError(t, store.EnqueueTx(ctx, nil))
	})
}

// meddlingTx calls before[n] before query n: other processes act at the worst moments.
type meddlingTx struct {
	*sql.Tx
	before []func()
}

func (m *meddlingTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if len(m.before) > 0 {
		m.before[0]()
		m.before = m.before[1:]
	}
	return m.Tx.QueryContext(ctx, query, args...)
}

// meddled enqueues a job "job" while others act: between, after the store has looked at the rows for the first time
// (which it does on Postgres only), and back, before it reads the row that refused the job's.
func (r *sqlRig) meddled(t testing.TB, between, back func(tx *sql.Tx)) (err error) {
	t.Helper()
	r.in(t, true, func(tx *sql.Tx) {
		m := &meddlingTx{Tx: tx, before: []func(){func() { between(tx) }, func() { back(tx) }}}
		if r.dialect == sqlstatus.Postgres {
			m.before = append([]func(){func() {}}, m.before...)
		}
		err = r.EnqueueTx(context.Background(), m, newSQLJob(t, "job"))
		require.Empty(t, m.before)
	})
	return err
}

func TestSQLStatusWritesAgainWhatWasPrunedMeanwhile(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		require.NoError(t, r.meddled(t, func(*sql.Tx) {
			r.saved(t, later(waitingFor(t, newSQLJob(t, "job")), worker.StateSucceeded, 3, phaseFinal, 0))
		}, func(tx *sql.Tx) {
			_, err := tx.Exec("DELETE FROM " + r.table())
			require.NoError(t, err)
		}))
		row, err := r.Get(context.Background(), "job")
		require.NoError(t, err)
		require.Equal(t, worker.StateQueued, row.State)
	})
}

// A row that comes after the store has looked is answered for as one that was there.
func TestSQLStatusEnqueuesBesideAnotherProcess(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		first := waitingFor(t, newSQLJob(t, "job"))
		elsewhere := waitingFor(t, newSQLJob(t, "job", worker.OnQueue("elsewhere")))
		for _, c := range []struct {
			row  worker.Status
			want string
		}{
			{later(first, worker.StateRunning, 3, phaseRunning, 0), ""},
			{later(first, worker.StateSucceeded, 3, phaseFinal, 0), "succeeded"},
			{elsewhere, `queue "elsewhere"`},
		} {
			err := r.meddled(t, func(*sql.Tx) { r.saved(t, c.row) }, func(*sql.Tx) {})
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
			}
			row, err := r.Get(context.Background(), "job")
			require.NoError(t, err)
			require.Equal(t, []any{c.row.State, c.row.Queue}, []any{row.State, row.Queue})
			r.exec(t, "DELETE FROM {t}")
		}
	})
}

// A refused statement ends the host's transaction; it is the host's to roll back.
func TestSQLStatusEnqueueTellsOfTheDatabase(t *testing.T) {
	r := onPostgres(t)
	tx, err := r.db.Begin()
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	err = r.EnqueueTx(context.Background(), tx, newSQLJob(t, "job"))
	require.ErrorIs(t, err, sql.ErrTxDone)
	require.False(t, errors.As(err, new(*worker.EnqueueError)))
}
