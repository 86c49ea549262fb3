package sqlstatus

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"time"
)

// postgres writes a batch through arrays, one for each column, that unnest turns into rows: the statement's text is the
// same for every batch, so that drivers prepare it once.
type postgres struct{}

func (postgres) folder() string   { return "migrations/postgres" }
func (postgres) arg(n int) string { return fmt.Sprintf("$%d", n) }
func (postgres) now() string      { return "statement_timestamp()" }
func (postgres) ago(n int) string {
	return fmt.Sprintf("statement_timestamp() - $%d::float8 * interval '1 us'", n)
}
func (postgres) ahead(time string, n int) string {
	return fmt.Sprintf("%s + $%d::float8 * interval '1 us'", time, n)
}
func (postgres) span(d time.Duration) any { return float64(d) / float64(time.Microsecond) }
func (postgres) instant(t time.Time) any  { return t }

// clock is later than statement_timestamp when the statement waited for a row.
func (postgres) clock() string { return "clock_timestamp()" }

func (postgres) compared(text string) (any, bool) {
	return text, text == "infinity" || text == "-infinity"
}

// refusingLocks: ON CONFLICT DO UPDATE locks the row before it looks at its WHERE.
func (postgres) refusingLocks() bool { return true }

func (postgres) limits() (rows, bytes int) { return 1000, 4 << 20 }

// The statement of upsert. Rows are written in the order of their ids, so that batches that overlap wait for each other
// and never in a circle.
var postgresUpsert = `WITH n AS (
	SELECT id, type, queue, topic, state, version, attempt, max_attempts, crashes, progress, message, error,
		NULLIF(result, '') AS result, NULLIF(run_at, '0001-01-01 00:00:00+00') AS run_at, at, envelope
	FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
		$9::bigint[], $10::float8[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[],
		$16::bytea[]) AS n(` + columns + `, envelope)
)
` + fmt.Sprintf(inserted, "statement_timestamp()") + ` ORDER BY id COLLATE "C"
` + supersedes + upsertReturning

func (postgres) upsert(rows []row) (string, []any) {
	n := len(rows)
	texts := make([][]string, 8)
	for i := range texts {
		texts[i] = make([]string, n)
	}
	numbers := make([][]int64, 4)
	for i := range numbers {
		numbers[i] = make([]int64, n)
	}
	progress, envelopes := make([]float64, n), make([][]byte, n)
	runAt, at := make([]time.Time, n), make([]time.Time, n)
	for i, r := range rows {
		for k, text := range [...]string{
			r.JobID, r.Type, r.Queue, r.Topic, string(r.State), r.Message, r.Error, string(r.Result),
		} {
			texts[k][i] = text
		}
		for k, number := range [...]int64{r.Version, int64(r.Attempt), int64(r.MaxAttempts), int64(r.Crashes)} {
			numbers[k][i] = number
		}
		progress[i], envelopes[i], runAt[i], at[i] = r.Progress, r.envelope, r.RunAt, r.At
	}
	return postgresUpsert, []any{
		texts[0], texts[1], texts[2], texts[3], texts[4], numbers[0], numbers[1], numbers[2], numbers[3], progress,
		texts[5], texts[6], texts[7], runAt, at, envelopes,
	}
}

func (postgres) among(ids []string) (string, []any) { return "id = ANY($1::text[])", []any{ids} }

// fill locks the rows in the order of their ids first, as upsert does.
func (postgres) fill(ids []string, envelopes [][]byte) (string, []any) {
	return `WITH locked AS (
	SELECT id FROM {table} WHERE id = ANY($1::text[]) AND ` + bare + ` ORDER BY id FOR UPDATE
)
UPDATE {table} AS held SET envelope = n.envelope
FROM unnest($1::text[], $2::bytea[]) AS n(id, envelope) JOIN locked ON locked.id = n.id
WHERE held.id = locked.id`, []any{ids, envelopes}
}

// prune passes over rows that are being written, so that it never waits for a writer with rows locked.
func (postgres) prune(condition string) string {
	return fmt.Sprintf(`DELETE FROM {table} WHERE id = ANY(ARRAY(
	SELECT id FROM {table} WHERE %s ORDER BY created_at, id LIMIT %d FOR UPDATE SKIP LOCKED
)) RETURNING created_at, id`, condition, pruneBatch)
}

// hasTable looks in the schema in which an unqualified CREATE TABLE would put it.
func (postgres) hasTable(cfg Config, name string) (string, []any) {
	return `SELECT EXISTS (SELECT FROM pg_tables
	WHERE schemaname = COALESCE(NULLIF($1::text, ''), current_schema()) AND tablename = $2::text)`, []any{cfg.Schema, name}
}

// migrating lets one process migrate at a time: the lock goes with the transaction.
func (postgres) migrating(ctx context.Context, db *sql.DB, cfg Config, do func(Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	name := fnv.New64a()
	_, _ = name.Write([]byte("go-worker sqlstatus " + cfg.Table))
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(name.Sum64())); err != nil {
		return err
	}
	if err := makeSchema(ctx, tx, cfg.Schema); err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// makeSchema asks first, as CREATE SCHEMA IF NOT EXISTS wants a right that a host with a schema need not have.
func makeSchema(ctx context.Context, tx *sql.Tx, name string) error {
	if name == "" {
		return nil
	}
	var known bool
	err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", name).Scan(&known)
	if err != nil || known {
		return err
	}
	_, err = tx.ExecContext(ctx, "CREATE SCHEMA "+quote(name))
	return err
}

// writing runs each statement by itself. Only where the database's default isolation is higher than READ COMMITTED do
// writers of the same rows fail for each other, and are to try again.
func (postgres) writing(ctx context.Context, s *Store, do func(Tx) error) error {
	return whileBusy(ctx, func() error { return do(s.db) })
}
