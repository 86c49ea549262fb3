package sqlstatus

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/real-staging-ai/go-worker"
)

// Get implements worker.Getter. Status.Job is nil when the job has succeeded, or when it was encoded by a newer
// version of this library.
func (s *Store) Get(ctx context.Context, id string) (*worker.Status, error) {
	var found *worker.Status
	statement := "SELECT " + columns + ", envelope FROM {table} WHERE id = " + s.dialect.arg(1)
	err := s.query(ctx, s.db, statement, []any{id}, func(r *sql.Rows) error {
		st, body := &worker.Status{}, []byte(nil)
		if err := scanStatus(r, st, &body); err != nil {
			return err
		}
		if job, err := worker.DecodeJob(body); err == nil {
			st.Job = job
		}
		found = st
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("get status of %q: %w", id, err)
	case found == nil:
		return nil, fmt.Errorf("get status of %q: %w", id, worker.ErrJobNotFound)
	}
	return found, nil
}
