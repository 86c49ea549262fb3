package sqlstatus

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/real-staging-ai/go-worker"
)

// Save implements worker.StatusStore. The answer for a status that was not stored carries the row, without its Job.
//
// The statement waits for writers of the same rows, and does nothing to rows that are to stay as they are. What it has
// not written is read back: an equal version was written before, perhaps by a call whose answer was lost; a row that
// is gone was pruned in between, and its status is written again.
func (s *Store) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	if len(statuses) == 0 {
		return nil, nil
	}
	rows, err := sortRows(statuses)
	if err != nil {
		return nil, worker.Permanent(fmt.Errorf("save: %w", err))
	}
	var b *batch
	err = s.dialect.writing(ctx, s, func(on Tx) error {
		b = &batch{store: s, on: on, saved: make([]worker.Saved, len(statuses))}
		return b.save(ctx, rows)
	})
	switch {
	case err != nil:
		return nil, explain("save", err)
	case b.clash != nil:
		return nil, worker.Permanent(fmt.Errorf("save: %w", b.clash))
	}
	return b.saved, nil
}

// sortRows makes rows in the order of their ids, in which every batch takes its locks.
func sortRows(statuses []worker.Status) ([]row, error) {
	rows := make([]row, len(statuses))
	for i := range statuses {
		s := &statuses[i]
		if err := checkTimes(s); err != nil {
			return nil, fmt.Errorf("status of %q: %w", s.JobID, err)
		}
		rows[i] = row{Status: s, index: i}
		if s.BringsJob() {
			rows[i].envelope = encode(s)
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.JobID, b.JobID) })
	for i := 1; i < len(rows); i++ {
		if rows[i].JobID == rows[i-1].JobID {
			return nil, fmt.Errorf("job %q is in the call twice", rows[i].JobID)
		}
	}
	return rows, nil
}

// batch is one Save under way.
type batch struct {
	store *Store
	on    Tx
	saved []worker.Saved // by row.index
	bare  []row          // their rows in the table lack the envelope
	clash error          // a status and its row are of two jobs under one id
}

// maxTries is how often a status is written whose row is gone when it is read back. Rows that are pruned are old, so
// that once ought to do.
const maxTries = 5

func (b *batch) save(ctx context.Context, rows []row) error {
	for range maxTries {
		refused, err := b.write(ctx, rows)
		if err != nil {
			return err
		}
		if rows, err = b.readBack(ctx, refused); err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
	}
	if len(rows) > 0 {
		return fmt.Errorf("the row of %q goes away whenever it is written", rows[0].JobID)
	}
	return b.fill(ctx)
}

// write writes rows and returns those that the table's rule refused.
func (b *batch) write(ctx context.Context, rows []row) (refused []row, err error) {
	for len(rows) > 0 {
		part := b.part(rows)
		rows = rows[len(part):]
		written, err := b.upsert(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, r := range part {
			lacks, ok := written[r.JobID]
			if !ok {
				refused = append(refused, r)
				continue
			}
			b.stored(r, lacks, false)
		}
	}
	return refused, nil
}

// part returns as many of the first rows as one statement carries, one at least.
func (b *batch) part(rows []row) []row {
	most, limit := b.store.dialect.limits()
	size := 0
	for i, r := range rows {
		size += len(r.envelope) + len(r.Result)
		if i > 0 && (size > limit || i == most) {
			return rows[:i]
		}
	}
	return rows
}

// upsert returns the ids of what was written, and whether their rows lack an envelope.
func (b *batch) upsert(ctx context.Context, rows []row) (map[string]bool, error) {
	statement, args := b.store.dialect.upsert(rows)
	written := make(map[string]bool, len(rows))
	err := b.store.query(ctx, b.on, statement, args, func(r *sql.Rows) error {
		var id text
		var lacks bool
		err := r.Scan(&id, &lacks)
		written[string(id)] = lacks
		return err
	})
	return written, err
}

func (b *batch) stored(r row, lacks, before bool) {
	b.saved[r.index] = worker.Saved{OK: true, Repeated: before}
	if lacks && r.Job != nil {
		b.bare = append(b.bare, r)
	}
}

// readBack answers for rows that were not written, and returns those that the table no longer has.
func (b *batch) readBack(ctx context.Context, rows []row) (gone []row, err error) {
	for part := range slices.Chunk(rows, 500) {
		held, err := b.read(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, r := range part {
			if h, ok := held[r.JobID]; ok {
				b.compare(r, h)
			} else {
				gone = append(gone, r)
			}
		}
	}
	return gone, nil
}

// held is what the table holds of a job.
type held struct {
	worker.Status
	bare bool
}

func (b *batch) read(ctx context.Context, rows []row) (map[string]*held, error) {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.JobID
	}
	condition, args := b.store.dialect.among(ids)
	found := make(map[string]*held, len(rows))
	statement := "SELECT " + columns + ", " + bare + " FROM {table} WHERE " + condition
	err := b.store.query(ctx, b.on, statement, args, func(r *sql.Rows) error {
		h := &held{}
		err := scanStatus(r, &h.Status, &h.bare)
		found[h.JobID] = h
		return err
	})
	return found, err
}

// compare answers for a status that meets a row which it doesn't replace.
func (b *batch) compare(r row, h *held) {
	switch {
	case h.Version == r.Version && h.Queue == r.Queue && h.Type == r.Type:
		b.stored(r, h.bare, true)
		return
	case h.Version == r.Version:
		b.clash = fmt.Errorf("job %q is of type %q on queue %q, the stored one of type %q on %q",
			r.JobID, r.Type, r.Queue, h.Type, h.Queue)
	}
	b.saved[r.index] = worker.Saved{Current: h.State, Row: &h.Status}
}

// fill brings the jobs of rows that lack them, since no producer wrote them: then the first status of a worker does.
// All other statuses spare themselves the way.
func (b *batch) fill(ctx context.Context) error {
	most, limit := b.store.dialect.limits()
	slices.SortFunc(b.bare, func(x, y row) int { return cmp.Compare(x.JobID, y.JobID) })
	var ids []string
	var envelopes [][]byte
	size := 0
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		statement, args := b.store.dialect.fill(ids, envelopes)
		ids, envelopes, size = nil, nil, 0
		_, err := b.on.ExecContext(ctx, b.store.config.expand(statement), args...)
		return err
	}
	for _, r := range b.bare {
		body := encode(r.Status)
		if body == nil {
			continue
		}
		if len(ids) == most || size > 0 && size+len(body) > limit {
			if err := flush(); err != nil {
				return err
			}
		}
		ids, envelopes, size = append(ids, r.JobID), append(envelopes, body), size+len(body)
	}
	return flush()
}
