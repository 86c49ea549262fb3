package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

// page is one accepted order: a row of the program's own table.
type page struct {
	id          string // of the job
	at          time.Time
	room, style localmodel.Option
	prompt      string
	file        string // the original, below the archive's directory
	size        int    // of the upload
}

// What the album may hold.
const (
	maxPictures = 1000
	maxKept     = 1 << 30 // bytes of uploads
)

var errAlbumFull = errors.New("no more pictures can be kept: begin anew with another directory (-data)")

const pageColumns = "id, created_at, room_type, style, prompt, file, size"

// makeOrders makes the table. Times are milliseconds since 1970.
func (d *database) makeOrders(ctx context.Context) error {
	return d.within(ctx, func(tx *sql.Tx) error {
		if d.alone != "" {
			if _, err := tx.ExecContext(ctx, d.alone); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+d.orders+` (
			id TEXT PRIMARY KEY,
			created_at BIGINT NOT NULL,
			room_type TEXT NOT NULL,
			style TEXT NOT NULL,
			prompt TEXT NOT NULL,
			file TEXT NOT NULL,
			size BIGINT NOT NULL
		)`)
		return err
	})
}

// addPage writes an order, unless there are too many.
func (d *database) addPage(ctx context.Context, tx *sql.Tx, p *page) error {
	var pictures, kept int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM "+d.orders).Scan(&pictures, &kept)
	switch {
	case err != nil:
		return err
	case pictures >= maxPictures || kept+p.size > maxKept:
		return errAlbumFull
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO "+d.orders+" ("+pageColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7)",
		p.id, p.at.UnixMilli(), p.room.Name, p.style.Name, p.prompt, p.file, p.size)
	return err
}

// findPage returns the order of a job, and errNoJob when there is none.
func (d *database) findPage(ctx context.Context, id string) (*page, error) {
	pages, err := d.readPages(ctx, "WHERE id = $1", id)
	switch {
	case err != nil:
		return nil, err
	case len(pages) == 0:
		return nil, errNoJob
	}
	return pages[0], nil
}

// newestPages returns up to n orders, the newest first: their ids rise with time.
func (d *database) newestPages(ctx context.Context, n int) ([]*page, error) {
	return d.readPages(ctx, "ORDER BY id DESC LIMIT $1", n)
}

func (d *database) readPages(ctx context.Context, which string, arg any) ([]*page, error) {
	rows, err := d.QueryContext(ctx, "SELECT "+pageColumns+" FROM "+d.orders+" "+which, arg)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // what matters rows.Err tells
	var pages []*page
	for rows.Next() {
		p, at := &page{}, int64(0)
		if err := rows.Scan(&p.id, &at, &p.room.Name, &p.style.Name, &p.prompt, &p.file, &p.size); err != nil {
			return nil, err
		}
		p.at = time.UnixMilli(at)
		p.room.Label = labelOf(localmodel.RoomTypes(), p.room.Name)
		p.style.Label = labelOf(localmodel.Styles(), p.style.Name)
		pages = append(pages, p)
	}
	return pages, rows.Err()
}

// labelOf is what people call an option: its name, if a newer program no longer has it.
func labelOf(options []localmodel.Option, name string) string {
	at := slices.IndexFunc(options, func(o localmodel.Option) bool { return o.Name == name })
	if at < 0 {
		return name
	}
	return cmp.Or(options[at].Label, name)
}
