package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"modernc.org/sqlite"

	"github.com/real-staging-ai/go-worker"
)

// imageStatuses is a worker.StatusStore on a table that the host has anyway: images, with one column added for it,
//
//	ALTER TABLE images ADD COLUMN job_version BIGINT -- NULL until a job writes to the row
//
// The image's id is the id of the job of type imageJob that stages it. Jobs of other types have no row here and run all
// the same. When the row of an image is deleted, its job is not run, and stopped if it runs already.
type imageStatuses struct{ db *sql.DB }

var _ worker.StatusStore = (*imageStatuses)(nil)

// words are what the table calls the states of a job. One whose attempt failed is "processing" until the last one did.
var words = map[worker.State]string{
	worker.StateScheduled: "queued", worker.StateQueued: "queued",
	worker.StateRunning: "processing", worker.StateRetrying: "processing",
	worker.StateSucceeded: "ready", worker.StateFailed: "error", worker.StateCanceled: "canceled",
}

// states is the way back. Which unfinished state it was makes no difference.
var states = map[string]worker.State{
	"queued": worker.StateQueued, "processing": worker.StateRunning,
	"ready": worker.StateSucceeded, "error": worker.StateFailed, "canceled": worker.StateCanceled,
}

// moveForward writes a status if it supersedes the row: the CASE is worker.Status.Supersedes, line by line. $5 is the
// version, $6 its token and $7 whether it opens a round; what lies above the lowest 14 bits of a version is its token.
const moveForward = `
UPDATE images SET status = $2, error = $3, staged_url = $4, job_version = $5
WHERE id = $1 AND (job_version IS NULL OR CASE
	WHEN status = 'ready' THEN FALSE
	WHEN status IN ('error', 'canceled') AND (job_version >> 14) = 0 THEN $7 OR $5 > job_version
	WHEN status IN ('error', 'canceled') THEN $7 AND $6 > (job_version >> 14)
	WHEN $7 AND $6 > 0 THEN FALSE
	ELSE $5 > job_version
END)`

// Save implements worker.StatusStore. The rows are written in the order of their ids, so that two calls that lock the
// same ones wait for each other and not in a circle.
func (s *imageStatuses) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	index := make(map[string]int, len(statuses)) // there is one status per job in a call
	for i := range statuses {
		index[statuses[i].JobID] = i
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("save statuses: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	saved := make([]worker.Saved, len(statuses))
	for _, id := range slices.Sorted(maps.Keys(index)) {
		i := index[id]
		if saved[i], err = saveImage(ctx, tx, &statuses[i]); err != nil {
			return nil, fmt.Errorf("save status of job %q: %w", id, blame(err))
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("save statuses: %w", err)
	}
	return saved, nil
}

func saveImage(ctx context.Context, tx *sql.Tx, s *worker.Status) (worker.Saved, error) {
	if s.Type != imageJob && s.Type != "" { // what doesn't even decode has no type, and may be an image's
		return worker.Saved{OK: true}, nil
	}
	var message string
	var result stagedImage
	switch {
	case s.State == worker.StateFailed:
		message = s.Error
	case s.State == worker.StateSucceeded && len(s.Result) > 0:
		if err := json.Unmarshal(s.Result, &result); err != nil {
			return worker.Saved{}, worker.Permanent(err)
		}
	}
	opens := s.Version>>12&3 == 0
	done, err := tx.ExecContext(ctx, moveForward, s.JobID, words[s.State], message, result.URL, s.Version, s.Token(), opens)
	if err != nil {
		return worker.Saved{}, err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return worker.Saved{OK: n > 0}, err
	}
	var word string
	var version sql.NullInt64
	err = tx.QueryRowContext(ctx, "SELECT status, job_version FROM images WHERE id = $1", s.JobID).Scan(&word, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return worker.Saved{Current: worker.StateCanceled}, nil // deleted: nobody waits for it any more
	}
	same := version.Valid && version.Int64 == s.Version
	return worker.Saved{OK: same, Repeated: same, Current: states[word]}, err
}

// blame marks an error as permanent when what was to be written is at fault: then the other statuses of the call are
// saved without it, where any other error makes the pool wait for the database. Of Postgres these are the errors whose
// SQLSTATE begins with 22 or 23; nothing else in this file differs.
func blame(err error) error {
	const constraint = 19
	if refused := (*sqlite.Error)(nil); errors.As(err, &refused) && refused.Code()&0xff == constraint {
		return worker.Permanent(err)
	}
	return err
}
