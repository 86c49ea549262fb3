package sqlstatus

import (
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// row is a status on its way into the table.
type row struct {
	*worker.Status
	index    int    // in the call
	envelope []byte // nil: as it is in the table
}

// columns are those of a row that come from a worker.Status, in the order in which upsert writes and scanStatus reads
// them.
const columns = `id, type, queue, topic, state, version, attempt, max_attempts, crashes, progress, message, error, ` +
	`result, run_at, at`

// inserted are the columns of an upsert, given n with columns and the envelope; %[1]s is the time.
const inserted = `INSERT INTO {table} AS held (` + columns + `, envelope, ended, created_at, changed_at)
SELECT ` + columns + `, CASE WHEN state <> 'succeeded' THEN envelope END,
	CASE WHEN state IN ('succeeded', 'failed', 'canceled') THEN state END, %[1]s, %[1]s
FROM n`

// supersedes is Status.Supersedes: held is the row, excluded the new status. 12288 masks the phase of a version, whose
// zero opens a round, and 14 bits stand below the token. An equal version was stored before.
const supersedes = `ON CONFLICT (id) DO UPDATE SET
	type = excluded.type, queue = excluded.queue, topic = excluded.topic, state = excluded.state,
	version = excluded.version, attempt = excluded.attempt, max_attempts = excluded.max_attempts,
	crashes = excluded.crashes, progress = excluded.progress, message = excluded.message, error = excluded.error,
	result = excluded.result, run_at = excluded.run_at, at = excluded.at, ended = excluded.ended,
	changed_at = excluded.changed_at,
	envelope = CASE WHEN excluded.state <> 'succeeded' THEN COALESCE(excluded.envelope, held.envelope) END
WHERE held.version <> excluded.version AND CASE
	WHEN held.state = 'succeeded' THEN false
	WHEN held.state IN ('failed', 'canceled') AND (held.version >> 14) = 0
		THEN (excluded.version & 12288) = 0 OR excluded.version > held.version
	WHEN held.state IN ('failed', 'canceled')
		THEN (excluded.version & 12288) = 0 AND (excluded.version >> 14) > (held.version >> 14)
	WHEN (excluded.version & 12288) = 0 AND (excluded.version >> 14) > 0 THEN false
	ELSE excluded.version > held.version
END`

// bare tells whether a row lacks the envelope that it ought to have.
const bare = `envelope IS NULL AND state <> 'succeeded'`

// upsertReturning ends an upsert.
const upsertReturning = ` RETURNING id, ` + bare

// encode returns the status's job for the table, nil when there is none or none that can be encoded: what a worker
// could not decode has no better form than none.
func encode(s *worker.Status) []byte {
	if s.Job == nil || s.State == worker.StateSucceeded {
		return nil
	}
	body, err := worker.EncodeJob(s.Job)
	if err != nil {
		return nil
	}
	return body
}

// checkTimes refuses times that the databases would not give back as they are.
func checkTimes(s *worker.Status) error {
	for _, f := range [...]struct {
		field string
		at    time.Time
	}{{"At", s.At}, {"RunAt", s.RunAt}} {
		if year := f.at.UTC().Year(); year < 1 || year > 9999 {
			return fmt.Errorf("%s is %v: it must lie between the years 1 and 9999", f.field, f.at)
		}
	}
	return nil
}
