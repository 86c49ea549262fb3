package sqlstatus

import (
	"context"
	"fmt"
	"slices"

	"github.com/real-staging-ai/go-worker"
)

// EnqueueTx writes the jobs as waiting in the host's own transaction, so that they are enqueued exactly when it commits:
//
//	tx, err := db.BeginTx(ctx, nil)
//	…                                        // the host's own rows
//	err = store.EnqueueTx(ctx, tx, job)
//	err = tx.Commit()
//	err = client.Push(ctx, job)
//
// Call Client.Push after the commit. If the process dies before it, Client.Sweep, which every pool runs, delivers the
// jobs once their rows have not changed for a minute. What worker.NewJob would set is filled in.
//
// All jobs are checked before anything is written. Jobs that then cannot be enqueued are listed in a
// *worker.EnqueueError, the others are written: one whose id has ended before with a *worker.FinishedError, one whose
// id belongs to another type or queue with a *worker.IDTakenError. An id that waits or runs already is left as it is,
// without an error. Any other error comes from the database: roll back.
//
// Unique keys are the queue's: a duplicate is written all the same, and ends as canceled when it is pushed or swept.
//
// Ids that wait, run or have ended already are left unlocked. But the rows that the call writes, as any row of the table
// that the host's transaction locks, stay locked until it ends, and on Postgres a status that comes for one of them
// meanwhile (a duplicate that was pushed, say) waits, and with it all statuses of its pool's batch: no pool records
// anything, and soon none claims, until the transaction is over. Keep it short.
//
// A host that calls it several times in one transaction takes care to do so in one order everywhere, as with any rows;
// within a call the ids are sorted.
func (s *Store) EnqueueTx(ctx context.Context, tx Tx, jobs ...*worker.Job) error {
	statuses, err := s.initial(jobs)
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	if len(statuses) == 0 {
		return nil
	}
	rows, err := sortRows(statuses)
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	b := &batch{store: s, on: tx, saved: make([]worker.Saved, len(statuses))}
	if s.dialect.refusingLocks() {
		rows, err = b.readAhead(ctx, rows)
	}
	if err == nil {
		err = b.save(ctx, rows)
	}
	if err != nil {
		return explain("enqueue", err)
	}
	return refusals(statuses, b.saved)
}

// readAhead answers for the rows that are to stay as they are, without locking them, and returns the others. It asks
// nothing of the rows that come in between: those are met, and locked, when they are written.
func (b *batch) readAhead(ctx context.Context, rows []row) (rest []row, err error) {
	for part := range slices.Chunk(rows, 500) {
		held, err := b.read(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, r := range part {
			if h, ok := held[r.JobID]; ok && !r.Supersedes(&h.Status) {
				b.compare(r, h)
			} else {
				rest = append(rest, r)
			}
		}
	}
	return rest, nil
}

// initial checks all jobs and makes their first statuses.
func (s *Store) initial(jobs []*worker.Job) ([]worker.Status, error) {
	statuses := make([]worker.Status, len(jobs))
	for i, job := range jobs {
		st, err := worker.InitialStatus(job)
		if err != nil {
			return nil, fmt.Errorf("job %d: %w", i, err)
		}
		if n := len(job.Payload); n > s.config.MaxPayload {
			return nil, fmt.Errorf("job %q: payload has %d bytes: the limit is %d", job.ID, n, s.config.MaxPayload)
		}
		statuses[i] = st
	}
	return statuses, nil
}

// refusals says which jobs were not enqueued.
func refusals(statuses []worker.Status, saved []worker.Saved) error {
	failed := make(map[string]error)
	for i, answer := range saved {
		st, row := &statuses[i], answer.Row
		switch {
		case answer.OK:
		case row != nil && (row.Queue != st.Queue || row.Type != st.Type):
			failed[st.JobID] = &worker.IDTakenError{ID: st.JobID, Type: row.Type, Queue: row.Queue}
		case answer.Current.Final():
			failed[st.JobID] = &worker.FinishedError{ID: st.JobID, State: answer.Current}
		}
	}
	if len(failed) > 0 {
		return &worker.EnqueueError{Failed: failed}
	}
	return nil
}
