package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/sqlstatus"
	"github.com/real-staging-ai/go-worker/stage"
)

// album takes orders and knows what became of them.
type album struct {
	*archive
	studio  *studio
	samples []sample
	log     *slog.Logger
}

// openAlbum unpacks the bundled pictures.
func openAlbum(archive *archive, studio *studio, log *slog.Logger) (*album, error) {
	samples, err := unpackSamples(archive.root)
	return &album{archive: archive, studio: studio, samples: samples, log: log}, err
}

// order is what somebody wants: a picture, either one that the album has or an upload, and what is to become of it.
type order struct {
	file        string // below the archive's directory
	upload      []byte
	extension   string // of the upload
	room, style localmodel.Option
	prompt      string
	seed        *int64 // nil: any
}

// accept keeps the order's picture, then order and job in one transaction, and enqueues the job. From the commit on the
// order is accepted, whatever happens: a job that doesn't get into the queue now is found by a sweep.
func (a *album) accept(ctx context.Context, o order) (*page, error) {
	imageID := uuid.New()
	if o.file == "" {
		o.file = fmt.Sprintf("originals/%s.%s", imageID, o.extension)
	}
	job, err := a.studio.newJob(stage.Payload{ImageID: imageID, OriginalURL: o.file, RoomType: o.room.Name,
		Style: o.style.Name, Prompt: o.prompt, Seed: o.seed})
	if err != nil {
		return nil, err
	}
	p := &page{id: job.ID, at: time.Now(), room: o.room, style: o.style, prompt: o.prompt, file: o.file, size: len(o.upload)}
	if o.upload != nil {
		err = a.root.WriteFile(p.file, o.upload, 0o644)
	}
	if err == nil {
		err = a.record(ctx, p, job)
	}
	if err != nil {
		a.discard(ctx, p)
		return nil, err
	}
	if err := a.studio.client.Push(ctx, job); err != nil {
		a.log.Warn("a job is not in the queue yet: a worker's sweep will find it", "job", job.ID, "error", err)
	}
	return p, nil
}

// record writes the order and the job's first status, both or neither.
func (a *album) record(ctx context.Context, p *page, job *worker.Job) error {
	return a.within(ctx, func(tx *sql.Tx) error {
		if err := a.addPage(ctx, tx, p); err != nil {
			return err
		}
		return a.statuses.EnqueueTx(ctx, tx, job)
	})
}

// discard removes the upload of an order that was not recorded. If that isn't certain, the file stays.
func (a *album) discard(ctx context.Context, p *page) {
	if p.size == 0 {
		return
	}
	if _, err := a.findPage(ctx, p.id); errors.Is(err, errNoJob) {
		_ = a.root.Remove(p.file) // a file that nobody asks for does no harm
	}
}

// entry is an order and what became of it so far.
type entry struct {
	*page
	status *worker.Status // nil: none is known
}

// find returns the order of a job, and errNoJob if there is none.
func (a *album) find(ctx context.Context, id string) (entry, error) {
	p, err := a.findPage(ctx, id)
	if err != nil {
		return entry{}, err
	}
	return a.withStatus(ctx, p, nil)
}

// newest returns up to n orders, the newest first.
func (a *album) newest(ctx context.Context, n int) ([]entry, error) {
	pages, err := a.newestPages(ctx, n)
	if err != nil {
		return nil, err
	}
	statuses, _, err := a.statuses.List(ctx, sqlstatus.Filter{Type: stage.Payload{}.JobType()}, sqlstatus.Page{Limit: n})
	if err != nil {
		return nil, err
	}
	known := make(map[string]*worker.Status, len(statuses))
	for i := range statuses {
		known[statuses[i].JobID] = &statuses[i]
	}
	entries := make([]entry, len(pages))
	for i, p := range pages {
		if entries[i], err = a.withStatus(ctx, p, known[p.id]); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// withStatus reads the status that isn't known yet.
func (a *album) withStatus(ctx context.Context, p *page, known *worker.Status) (entry, error) {
	if known != nil {
		return entry{page: p, status: known}, nil
	}
	status, err := a.statuses.Get(ctx, p.id)
	if err != nil && !errors.Is(err, worker.ErrJobNotFound) {
		return entry{}, err
	}
	return entry{page: p, status: status}, nil
}

// snapshot returns the last status of each of a topic's jobs, for those who open a stream.
func (a *album) snapshot(ctx context.Context, topic string) ([]worker.Status, error) {
	statuses, _, err := a.statuses.List(ctx, sqlstatus.Filter{Topic: topic}, sqlstatus.Page{})
	return statuses, err
}
