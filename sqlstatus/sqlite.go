package sqlstatus

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"
)

// sqlite writes a batch in statements of up to 32 rows within one transaction: longer ones take longer to parse than
// they save. Times are milliseconds since 1970.
type sqlite struct{}

const (
	sqliteRows = 32
	sqliteNow  = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
)

func (sqlite) folder() string                  { return "migrations/sqlite" }
func (sqlite) arg(n int) string                { return fmt.Sprintf("?%d", n) }
func (sqlite) now() string                     { return sqliteNow }
func (sqlite) ago(n int) string                { return fmt.Sprintf("%s - ?%d", sqliteNow, n) }
func (sqlite) ahead(time string, n int) string { return fmt.Sprintf("%s + ?%d", time, n) }

// span rounds up, so that nothing happens too early.
func (sqlite) span(d time.Duration) any {
	ms := d.Milliseconds()
	if d > time.Duration(ms)*time.Millisecond {
		ms++
	}
	return ms
}

func (sqlite) instant(t time.Time) any { return t.UnixMilli() }

// clock: a statement that writes reads the time when it has the write lock.
func (sqlite) clock() string { return sqliteNow }

// compared: the column's affinity makes numbers of texts that are some.
func (sqlite) compared(text string) (any, bool) { return text, true }

// refusingLocks: there are no locks of rows, and a transaction that reads before it writes may be refused the write.
func (sqlite) refusingLocks() bool { return false }

func (sqlite) limits() (rows, bytes int) { return sqliteRows, 4 << 20 }

// sqliteUpserts are the statements for 1, 2, … rows.
var sqliteUpserts = func() (statements [sqliteRows + 1]string) {
	const one = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	for n := 1; n <= sqliteRows; n++ {
		values := one + strings.Repeat(", "+one, n-1)
		statements[n] = "WITH n(" + columns + ", envelope) AS (VALUES " + values + ")\n" +
			fmt.Sprintf(inserted, sqliteNow) + " WHERE true\n" + supersedes + upsertReturning
	}
	return statements
}()

func (d sqlite) upsert(rows []row) (string, []any) {
	args := make([]any, 0, 16*len(rows))
	for _, r := range rows {
		var result, runAt, envelope any
		if len(r.Result) > 0 {
			result = string(r.Result)
		}
		if !r.RunAt.IsZero() {
			runAt = d.instant(r.RunAt)
		}
		if r.envelope != nil {
			envelope = r.envelope
		}
		args = append(args, r.JobID, r.Type, r.Queue, r.Topic, string(r.State), r.Version, r.Attempt, r.MaxAttempts,
			r.Crashes, r.Progress, r.Message, r.Error, result, runAt, d.instant(r.At), envelope)
	}
	return sqliteUpserts[len(rows)], args
}

func (sqlite) among(ids []string) (string, []any) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return "id IN (?" + strings.Repeat(", ?", len(ids)-1) + ")", args
}

func (sqlite) fill(ids []string, envelopes [][]byte) (string, []any) {
	args := make([]any, 0, 2*len(ids))
	for i, id := range ids {
		args = append(args, id, envelopes[i])
	}
	return "WITH n(id, envelope) AS (VALUES (?, ?)" + strings.Repeat(", (?, ?)", len(ids)-1) + `)
UPDATE {table} AS held SET envelope = n.envelope FROM n WHERE held.id = n.id AND held.` + bare, args
}

func (sqlite) prune(condition string) string {
	return fmt.Sprintf(`DELETE FROM {table} WHERE id IN (
	SELECT id FROM {table} WHERE %s ORDER BY created_at, id LIMIT %d
) RETURNING created_at, id`, condition, pruneBatch)
}

func (sqlite) hasTable(_ Config, name string) (string, []any) {
	return "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)", []any{name}
}

// migrating takes SQLite's one write lock before it looks at anything.
func (sqlite) migrating(ctx context.Context, db *sql.DB, _ Config, do func(Tx) error) error {
	return whileBusy(ctx, func() error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		end := "COMMIT"
		if err = do(conn); err != nil {
			end = "ROLLBACK"
		}
		// A connection must not go back to its pool with a transaction open, whatever became of ctx.
		_, endErr := conn.ExecContext(context.WithoutCancel(ctx), end)
		if endErr != nil && end == "COMMIT" {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			return endErr
		}
		return err
	})
}

// writing lets the writers of this store write one after another, each in a transaction.
func (sqlite) writing(ctx context.Context, s *Store, do func(Tx) error) error {
	select {
	case <-s.writer:
		defer func() { s.writer <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return whileBusy(ctx, func() error {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // after Commit it does nothing
		if err := do(tx); err != nil {
			return err
		}
		return tx.Commit()
	})
}
