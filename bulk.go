package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// bulkWidth is how many jobs of a page RequeueDead and Purge have under way at a time.
const bulkWidth = 16

// RequeueDead reopens the dead jobs of a queue that match, the latest first, as Requeue does, and returns how many it
// reopened. A nil match takes all. Jobs that die while it goes on are left alone, so it comes to an end. It goes through
// the dead in pages, with up to 16 jobs under way at a time; match is called for one job after another. Whatever cuts it
// short, calling it again goes on with those that are left.
//
// Jobs that wait or run again, don't decode or have succeeded in the store are passed over. So are those that cannot be
// reopened for a reason of their own, and the error tells of up to ten of these once all others are reopened: a
// *DuplicateError (another job has the unique key; of several dead ones that share it one is reopened), a payload above the
// limit, or one that the store refuses. Any other error ends the call.
func (c *Client) RequeueDead(ctx context.Context, queue string, match func(*JobInfo) bool) (int, error) {
	n, err := c.each(ctx, queue, PlaceDead, match, func(id string) error { return c.Requeue(ctx, id, OnQueue(queue)) })
	if err != nil {
		return n, fmt.Errorf("requeue the dead of %s: %w", queue, err)
	}
	return n, nil
}

// Purge deletes the jobs in a place that match, as Delete does: PlaceWaiting, PlaceScheduled or PlaceDead; see
// ListOptions.Place for what has fallen due. It returns how many it deleted; a nil match takes all. Jobs that are claimed
// meanwhile run, but for one that a worker claims in the midst of being deleted: it ends as canceled, and if that takes its
// worker over a second it stays among the dead and isn't counted.
//
// It goes through the place in pages, with up to 16 jobs under way at a time: one job takes up to ten round trips, so many
// thousand jobs take seconds. As a queue that is worked on moves while it is read, it goes through what waits again until
// that deletes nothing. So match may be called more than once for a job, always for one after another, jobs that come
// meanwhile may go as well, and where they come faster than they go it ends with ctx only: pause the producers. Whatever
// cuts it short, calling it again goes on. Jobs that cannot be deleted for a reason of their own are passed over, and the
// error tells of up to ten of these.
func (c *Client) Purge(ctx context.Context, queue string, place Place, match func(*JobInfo) bool) (int, error) {
	if place != PlaceWaiting && place != PlaceScheduled && place != PlaceDead {
		return 0, fmt.Errorf("purge %s: only jobs that wait, are scheduled or dead can be deleted", queue)
	}
	n, err := c.each(ctx, queue, place, match, func(id string) error { return c.Delete(ctx, id, OnQueue(queue)) })
	if err != nil {
		return n, fmt.Errorf("purge %s: %w", queue, err)
	}
	return n, nil
}

// each does something to each job of a listing that matches, and counts those that let it.
func (c *Client) each(
	ctx context.Context, queue string, place Place, match func(*JobInfo) bool, do func(id string) error,
) (n int, err error) {
	if c.inspector == nil {
		return 0, fmt.Errorf("the queue cannot list: %w", errors.ErrUnsupported)
	}
	b := &bulk{inspector: c.inspector, queue: queue, place: place, match: match, do: do}
	for {
		before := b.done
		if err := b.pass(ctx); err != nil {
			return b.done, errors.Join(append(b.problems(), err)...)
		}
		if place != PlaceWaiting || b.done == before {
			return b.done, errors.Join(b.problems()...)
		}
	}
}

// bulk does something to all jobs of a place that match.
type bulk struct {
	inspector Inspector
	queue     string
	place     Place
	match     func(*JobInfo) bool // nil takes all
	do        func(id string) error

	mu     sync.Mutex
	done   int
	unable map[string]error // why single jobs don't let it, by id: some of them
	end    error            // why nothing else is begun
}

// pass goes once through the place.
func (b *bulk) pass(ctx context.Context) error {
	opts := ListOptions{Place: b.place}
	for {
		before := b.done
		page, err := b.inspector.List(ctx, b.queue, opts)
		if err != nil {
			return err
		}
		if err = b.page(page.Jobs); err != nil {
			return err
		}
		if b.place == PlaceWaiting && b.done > before {
			continue // what left may have moved others onto this page
		}
		if page.Next == "" {
			return nil
		}
		opts.Cursor = page.Next
	}
}

// page does it to the jobs of a page, and returns once all is over that it has begun.
func (b *bulk) page(jobs []JobInfo) error {
	slots := make(chan struct{}, bulkWidth)
	var begun sync.WaitGroup
	defer begun.Wait() // also when match panics
	for i := range jobs {
		if b.match != nil && !b.match(&jobs[i]) {
			continue
		}
		slots <- struct{}{}
		if b.ended() != nil {
			break
		}
		begun.Go(func() {
			defer func() { <-slots }() // also when the host's code ends the goroutine
			b.take(jobs[i].ID)
		})
	}
	begun.Wait()
	return b.ended()
}

func (b *bulk) ended() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end
}

// take does it to one job, and notes what came of it.
func (b *bulk) take(id string) {
	err := b.call(id)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.done++
	case errors.Is(err, ErrJobActive), errors.Is(err, ErrJobNotFound), errors.As(err, new(*FinishedError)):
	case isDuplicate(err), IsPermanent(err), errors.As(err, new(*jobError)):
		if b.unable == nil {
			b.unable = make(map[string]error)
		}
		if len(b.unable) < maxProblems {
			b.unable[id] = err
		}
	case b.end == nil:
		b.end = err
	}
}

func (b *bulk) call(id string) (err error) {
	defer catch(&err)
	return b.do(id)
}

// problems are what is known of the jobs that don't let it.
func (b *bulk) problems() (all []error) {
	for _, err := range b.unable {
		all = append(all, err)
	}
	return all
}

// jobError is an error that concerns one job and no other.
type jobError struct{ error }

func (e *jobError) Unwrap() error { return e.error }
