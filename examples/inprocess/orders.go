package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// schema is the host's own. It is the same on Postgres.
const schema = `
CREATE TABLE IF NOT EXISTS images (
	id          TEXT PRIMARY KEY, -- the job's id, too
	source_url  TEXT NOT NULL,
	notify      TEXT NOT NULL,
	status      TEXT NOT NULL CHECK (status IN ('queued', 'processing', 'ready', 'error', 'canceled')),
	error       TEXT NOT NULL DEFAULT '',
	staged_url  TEXT NOT NULL DEFAULT '',
	job_version BIGINT
)`

const (
	maxUnfinished = 100         // images, of all customers
	pushInterval  = time.Minute // between looks for orders that the queue doesn't have
)

var (
	errBusy     = errors.New("too many images wait already")
	errNotFound = errors.New("no such image")
)

// orders are what customers want staged.
type orders struct {
	db     *sql.DB
	client *worker.Client
	log    *slog.Logger
}

// image is a row, as customers see it.
type image struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	Error     string `json:"error,omitempty"`
	StagedURL string `json:"staged_url,omitempty"`
}

// place takes an order and returns the image's id. The row comes first, in the host's transaction; the job is pushed
// after the commit. What is rolled back is never run, and what was committed is never lost: see pushUnfinished.
func (o *orders) place(ctx context.Context, p stageImage) (id string, err error) {
	job, err := worker.NewJob(p)
	if err != nil {
		return "", err
	}
	if err := o.insert(ctx, job.ID, p); err != nil {
		return "", err
	}
	if err := o.client.Push(ctx, job); err != nil {
		o.log.Warn("an image waits for the next look for unfinished ones", "image", job.ID, "error", err)
	}
	return job.ID, nil
}

// insert writes the row, and all else that belongs to an order, in one transaction.
func (o *orders) insert(ctx context.Context, id string, p stageImage) error {
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(ctx, `INSERT INTO images (id, source_url, notify, status) VALUES ($1, $2, $3, 'queued')`,
		id, p.SourceURL, p.Notify)
	if err != nil {
		return err
	}
	var unfinished int
	err = tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM images WHERE status IN ('queued', 'processing')`).Scan(&unfinished)
	switch {
	case err != nil:
		return err
	case unfinished > maxUnfinished:
		return errBusy
	}
	return tx.Commit()
}

// get returns an image, or errNotFound.
func (o *orders) get(ctx context.Context, id string) (image, error) {
	img := image{ID: id}
	err := o.db.QueryRowContext(ctx, `SELECT status, error, staged_url FROM images WHERE id = $1`, id).
		Scan(&img.Status, &img.Error, &img.StagedURL)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNotFound
	}
	return img, err
}

// remove deletes an image, or answers errNotFound. Nothing else is needed to keep its job from running: the store says
// that it is canceled.
func (o *orders) remove(ctx context.Context, id string) error {
	done, err := o.db.ExecContext(ctx, `DELETE FROM images WHERE id = $1`, id)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return errNotFound
}

// pushUnfinished pushes the jobs of all images that are not done, for what came between a commit and its push, and for
// a Redis that lost its data. A job that waits or runs stays as it is, and one that has just ended is not run: its row
// says so.
func (o *orders) pushUnfinished(ctx context.Context) error {
	rows, err := o.db.QueryContext(ctx, `SELECT id, source_url, notify FROM images WHERE status IN ('queued', 'processing')`)
	if err != nil {
		return fmt.Errorf("read unfinished images: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says more
	var jobs []*worker.Job
	for rows.Next() {
		var id string
		var p stageImage
		if err := rows.Scan(&id, &p.SourceURL, &p.Notify); err != nil {
			return fmt.Errorf("read an unfinished image: %w", err)
		}
		job, err := worker.NewJob(p, worker.WithID(id))
		if err != nil { // of one image, which is no reason to leave the others
			o.log.Error("an unfinished image cannot be pushed", "image", id, "error", err)
			continue
		}
		jobs = append(jobs, job)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read unfinished images: %w", err)
	}
	return o.client.Push(ctx, jobs...)
}

// keepPushing does so at once, and then at every interval until ctx ends.
func (o *orders) keepPushing(ctx context.Context) {
	tick := time.NewTicker(pushInterval)
	defer tick.Stop()
	for {
		if err := o.pushUnfinished(ctx); err != nil && ctx.Err() == nil {
			o.log.Warn("unfinished images could not be pushed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
