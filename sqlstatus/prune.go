package sqlstatus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// pruneBatch is how many rows one statement deletes: few enough to hold up nobody.
const pruneBatch = 1000

// Prune deletes the rows of jobs that ended longer than olderThan ago by the database's clock, in the given final
// states, or in any when none is given. It returns how many it deleted, also with an error. The store forgets what it
// deletes: an id that is enqueued again runs again. Rows of unfinished jobs cannot be pruned: cancel them first.
func (s *Store) Prune(ctx context.Context, olderThan time.Duration, states ...worker.State) (int, error) {
	if err := checkPrune(olderThan, states); err != nil {
		return 0, fmt.Errorf("prune: %w", err)
	}
	if len(states) == 0 {
		states = []worker.State{worker.StateSucceeded, worker.StateFailed, worker.StateCanceled}
	}
	total := 0
	var from *position
	for {
		n, last, err := s.pruneFrom(ctx, olderThan, states, from)
		total += n
		if err != nil {
			return total, fmt.Errorf("prune: %w", err)
		}
		if n < pruneBatch {
			return total, nil
		}
		from = &last
	}
}

func checkPrune(olderThan time.Duration, states []worker.State) (err error) {
	if olderThan < 0 {
		err = fmt.Errorf("olderThan is %v: it must not be negative", olderThan)
	}
	for _, state := range states {
		if !state.Final() {
			err = errors.Join(err, fmt.Errorf("state %q is not final: only jobs that have ended are pruned", state))
		}
	}
	return err
}

// pruneFrom deletes one batch, of jobs that came after a position, and returns the last one's.
func (s *Store) pruneFrom(
	ctx context.Context, olderThan time.Duration, states []worker.State, from *position,
) (n int, last position, err error) {
	w := s.where()
	w.arg(s.dialect.span(olderThan))
	// A row came before it changed: the first condition is there for the index.
	w.add("created_at <= " + s.dialect.ago(1))
	w.add("changed_at <= " + s.dialect.ago(1))
	if err := w.states(states); err != nil {
		return 0, last, err
	}
	if err := w.beyond(">", from); err != nil {
		return 0, last, err
	}
	err = s.dialect.writing(ctx, s, func(on Tx) error {
		n, last = 0, position{}
		return s.query(ctx, on, s.dialect.prune(w.condition()), w.args, func(r *sql.Rows) error {
			var created moment
			var id text
			if err := r.Scan(&created, &id); err != nil {
				return err
			}
			if n++; created.After(last.created.Time) || created.Equal(last.created.Time) && string(id) > last.id {
				last = position{created: created, id: string(id)}
			}
			return nil
		})
	})
	return n, last, err
}
