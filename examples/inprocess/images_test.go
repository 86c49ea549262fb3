package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestImageStatuses(t *testing.T) {
	workertest.TestStatusStore(t, func(t *testing.T) worker.StatusStore { return ordered{newStore(t)} })
}

func newStore(t *testing.T) *imageStatuses { return &imageStatuses{db: newDB(t)} }

// ordered makes images of the suite's jobs: their rows are there before their first status, as the API sees to.
type ordered struct{ *imageStatuses }

func (o ordered) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	statuses = slices.Clone(statuses)
	for i := range statuses {
		s := &statuses[i]
		if s.Type == "workertest:note" {
			s.Type = imageJob
		}
		if len(s.Result) > 0 {
			s.Result, _ = json.Marshal(stagedImage{URL: string(s.Result)})
		}
		if err := ensureRow(ctx, o.db, s.JobID); err != nil {
			return nil, err
		}
	}
	return o.imageStatuses.Save(ctx, statuses...)
}

// ensureRow writes the row of an image that no job has written to yet, unless it is there.
func ensureRow(ctx context.Context, db *sql.DB, id string) error {
	_, err := db.ExecContext(ctx, `INSERT INTO images (id, source_url, notify, status) VALUES ($1, '', '', 'queued')
		ON CONFLICT DO NOTHING`, id)
	return err
}

// status is one that a worker writes under a token.
func status(id string, state worker.State, token int64, phase int64) worker.Status {
	return worker.Status{JobID: id, Type: imageJob, State: state, Version: token<<14 | phase<<12}
}

// saveOne saves one status and returns the answer.
func saveOne(t *testing.T, store *imageStatuses, s worker.Status) worker.Saved {
	t.Helper()
	saved, err := store.Save(t.Context(), s)
	require.NoError(t, err)
	require.Len(t, saved, 1)
	return saved[0]
}

func TestStaleWorkerChangesNothing(t *testing.T) {
	store := newStore(t)
	require.NoError(t, ensureRow(t.Context(), store.db, "a"))
	require.True(t, saveOne(t, store, status("a", worker.StateRunning, 7, 1)).OK)
	before := writes(t, store.db)
	for _, stale := range []worker.Status{
		status("a", worker.StateRunning, 6, 1), status("a", worker.StateRetrying, 6, 2),
		status("a", worker.StateSucceeded, 6, 3), status("a", worker.StateFailed, 6, 3),
	} {
		assert.Equal(t, worker.Saved{Current: worker.StateRunning}, saveOne(t, store, stale))
	}
	assert.True(t, saveOne(t, store, status("a", worker.StateRunning, 7, 1)).OK, "the same again")
	assert.Equal(t, before, writes(t, store.db), "rows written")
}

// writes counts how often a row of images was written.
func writes(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM journal`).Scan(&n))
	return n
}

func TestAnswersAboutWhatHasNoRow(t *testing.T) {
	store := newStore(t)
	mail := status("mail", worker.StateRunning, 1, 1)
	mail.Type = "mail:send"
	require.NoError(t, ensureRow(t.Context(), store.db, "kept"))
	saved, err := store.Save(t.Context(),
		status("deleted", worker.StateRunning, 1, 1), mail, status("kept", worker.StateRunning, 1, 1))
	require.NoError(t, err)
	assert.Equal(t, []worker.Saved{{Current: worker.StateCanceled}, {OK: true}, {OK: true}}, saved)
	assert.Equal(t, 1, writes(t, store.db)-1, "one row was placed, and written once")
}

// What a row cannot take is no trouble of the database's, and harms no other row.
func TestRefusedData(t *testing.T) {
	store := newStore(t)
	exec(t, store.db, `CREATE TRIGGER picky BEFORE UPDATE ON images WHEN NEW.staged_url LIKE 'ftp:%'
		BEGIN SELECT RAISE(ABORT, 'no such URL'); END`)
	for name, result := range map[string]string{"refused by the database": `{"staged_url": "ftp://x"}`, "no result of ours": `[1]`} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, ensureRow(t.Context(), store.db, name))
			s := status(name, worker.StateSucceeded, 1, 3)
			s.Result = json.RawMessage(result)
			_, err := store.Save(t.Context(), s)
			assert.True(t, worker.IsPermanent(err), "%v", err)
			s.Result = nil // as a pool then saves it
			assert.True(t, saveOne(t, store, s).OK)
		})
	}
	require.NoError(t, store.db.Close())
	_, err := store.Save(t.Context(), status("a", worker.StateRunning, 1, 1))
	require.Error(t, err)
	assert.False(t, worker.IsPermanent(err), "%v", err)
}

func TestEveryStateHasAWord(t *testing.T) {
	for _, state := range []worker.State{
		worker.StateScheduled, worker.StateQueued, worker.StateRunning, worker.StateRetrying,
		worker.StateSucceeded, worker.StateFailed, worker.StateCanceled,
	} {
		require.Contains(t, words, state)
		back := states[words[state]]
		assert.Equal(t, state.Final(), back.Final(), state)
		if state.Final() {
			assert.Equal(t, state, back)
		}
	}
}
