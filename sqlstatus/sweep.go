package sqlstatus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Unfinished implements worker.Unfinished. Rows come in the order in which the jobs came, so that each is on exactly
// one page of a sweep, whatever changes meanwhile; Status.Job is not set. A limit below 1 means 100, one above 1,000
// means 1,000.
func (s *Store) Unfinished(
	ctx context.Context, idle time.Duration, cursor string, limit int,
) ([]worker.Status, string, error) {
	from, err := readCursor(cursor)
	if err != nil {
		return nil, "", fmt.Errorf("unfinished: %w", err)
	}
	if limit < 1 {
		limit = defaultPage
	}
	w := s.where()
	w.arg(s.dialect.span(max(idle, 0)))
	w.add("ended IS NULL")
	// A row came before it changed: this condition is there for the index, and ends its scan at what came lately.
	w.add("created_at <= " + s.dialect.ago(1))
	w.add("changed_at <= " + s.dialect.ago(1))
	if err := w.beyond(">", from); err != nil {
		return nil, "", fmt.Errorf("unfinished: %w", err)
	}
	rows, next, err := s.page(ctx, w, "created_at, id", min(limit, maxPage))
	if err != nil {
		return nil, "", fmt.Errorf("unfinished: %w", err)
	}
	return rows, next, nil
}

// errNoOwner refuses the name that a free lock has.
var errNoOwner = errors.New("lock sweep: owner is empty")

// LockSweep implements worker.SweepLock. All who share a table ask for the same lease: one that ends later than that was
// taken, and a sweep that ends later than now was ended, when the database's clock was ahead. Neither counts.
func (s *Store) LockSweep(ctx context.Context, owner string, lease, rest time.Duration) (taken bool, err error) {
	if owner == "" {
		return false, errNoOwner
	}
	d := s.dialect
	clock := d.clock()
	statement := `INSERT INTO {sweep} AS held (id, owner, held_until) VALUES (1, ` + d.arg(1) + `, ` + d.ahead(d.now(), 2) + `)
ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, held_until = excluded.held_until
WHERE CASE WHEN held.held_until > ` + clock + ` AND held.held_until <= ` + d.ahead(clock, 2) + `
	THEN held.owner = excluded.owner
	ELSE held.ended_at IS NULL OR held.ended_at <= ` + d.ago(3) + ` OR held.ended_at > ` + clock + ` END`
	err = d.writing(ctx, s, func(on Tx) error {
		result, err := on.ExecContext(ctx, s.config.expand(statement), owner, d.span(lease), d.span(rest))
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		taken = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("lock sweep: %w", err)
	}
	return taken, nil
}

// UnlockSweep implements worker.SweepLock.
func (s *Store) UnlockSweep(ctx context.Context, owner string) error {
	if owner == "" {
		return errNoOwner
	}
	d := s.dialect
	statement := "UPDATE {sweep} SET owner = '', held_until = " + d.now() + ", ended_at = " + d.now() +
		" WHERE owner = " + d.arg(1)
	err := d.writing(ctx, s, func(on Tx) error {
		_, err := on.ExecContext(ctx, s.config.expand(statement), owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("unlock sweep: %w", err)
	}
	return nil
}
