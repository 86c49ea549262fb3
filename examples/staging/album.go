package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/stage"
)

// What a directory that is removed at exit may hold.
const (
	maxPictures = 1000
	maxKept     = 1 << 30 // bytes of uploads
)

var errAlbumFull = errors.New("no more pictures can be kept: restart the program to begin anew")

// album takes orders and knows what became of them. Its pictures are files below a directory:
//
//	samples/…    the bundled ones
//	originals/…  uploads
//	staged/…     what the model made of them
type album struct {
	studio  *studio
	root    *os.Root
	samples []sample

	mu    sync.Mutex
	pages []*page
	kept  int
}

// order is what somebody wants: a picture, either one that the album has or an upload, and what is to become of it.
type order struct {
	file        string // below the root
	upload      []byte
	extension   string // of the upload
	room, style localmodel.Option
	prompt      string
	seed        *int64 // nil: any
}

// page is one accepted order.
type page struct {
	id          string // of the job
	at          time.Time
	room, style localmodel.Option
	prompt      string
	file        string // the original
	size        int    // of the upload
}

// accept keeps the order's picture and enqueues its job.
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
	if err := a.add(p); err != nil {
		return nil, err
	}
	if o.upload != nil {
		err = a.root.WriteFile(p.file, o.upload, 0o644)
	}
	if err == nil {
		err = a.studio.enqueue(ctx, job)
	}
	if err != nil {
		a.remove(p)
		return nil, err
	}
	return p, nil
}

func (a *album) add(p *page) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pages) >= maxPictures || a.kept+p.size > maxKept {
		return errAlbumFull
	}
	a.pages = append(a.pages, p)
	a.kept += p.size
	return nil
}

func (a *album) remove(p *page) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pages = slices.DeleteFunc(a.pages, func(other *page) bool { return other == p })
	a.kept -= p.size
	if p.size > 0 {
		_ = a.root.Remove(p.file) // at the latest it goes with the directory
	}
}

// find returns the page of a job, nil if there is none.
func (a *album) find(id string) *page {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pages {
		if p.id == id {
			return p
		}
	}
	return nil
}

// newest returns up to n pages, the newest first.
func (a *album) newest(n int) []*page {
	a.mu.Lock()
	defer a.mu.Unlock()
	pages := slices.Clone(a.pages[max(0, len(a.pages)-n):])
	slices.Reverse(pages)
	return pages
}

// status returns the job's last status.
func (a *album) status(ctx context.Context, id string) (*worker.Status, error) {
	return a.studio.store.Get(ctx, id)
}
