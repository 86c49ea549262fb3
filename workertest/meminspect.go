package workertest

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Queues implements worker.Inspector.
func (q *MemoryQueue) Queues(ctx context.Context) ([]string, error) {
	if err := q.begin(ctx, "Queues"); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(q.lanes)), func(name string) bool {
		l := q.lanes[name]
		return l.opened == 0 && len(l.entries) == 0 && l.arrivals == 0
	}), nil
}

// Activity implements worker.Inspector.
func (q *MemoryQueue) Activity(ctx context.Context, queue string) (worker.Activity, error) {
	if err := q.beginOn(ctx, "Activity", queue); err != nil {
		return worker.Activity{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	var a worker.Activity
	for _, s := range l.sessions {
		lease := q.lease()
		if !s.expires.IsZero() {
			lease = max(0, s.expires.Sub(q.now()))
		}
		a.Workers = append(a.Workers, worker.SessionInfo{
			Name: s.name, Process: s.process, Lease: lease, Running: int64(len(s.held)),
		})
	}
	slices.SortFunc(a.Workers, func(x, y worker.SessionInfo) int { return cmp.Compare(x.Name, y.Name) })
	for _, minute := range slices.Backward(slices.Sorted(maps.Keys(l.minutes))) {
		if minute > q.now().Unix()/60-60 {
			a.Minutes = append(a.Minutes, *l.minutes[minute])
		}
	}
	return a, nil
}

// count notes a settlement.
func (l *lane) count(action worker.Action) {
	minute := l.now().Unix() / 60
	m := l.minutes[minute]
	if m == nil {
		m = &worker.MinuteCounts{Start: time.Unix(minute*60, 0).UTC()}
	}
	switch action {
	case worker.ActionComplete:
		m.Succeeded++
	case worker.ActionRetry:
		m.Retried++
	case worker.ActionBury:
		m.Failed++
	case worker.ActionCancel:
		m.Canceled++
	default:
		return
	}
	if l.minutes == nil {
		l.minutes = make(map[int64]*worker.MinuteCounts)
	}
	l.minutes[minute] = m
}

// List implements worker.Inspector. A cursor is a place in line, or the last entry's key.
func (q *MemoryQueue) List(ctx context.Context, queue string, opts worker.ListOptions) (page worker.JobPage, err error) {
	if err := q.beginOn(ctx, "List", queue); err != nil {
		return page, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	all, from, err := l.listing(opts)
	if err != nil {
		return page, fmt.Errorf("list the jobs of %s: %w", queue, err)
	}
	all = all[min(from, len(all)):]
	for _, e := range all[:min(opts.PageLimit(), len(all))] {
		page.Jobs = append(page.Jobs, e.info(l.name))
		page.Next = e.key(opts.Place)
	}
	if opts.Place == worker.PlaceWaiting {
		page.Next = strconv.Itoa(from + len(page.Jobs))
	}
	if len(page.Jobs) == len(all) {
		page.Next = ""
	}
	return page, nil
}

// listing returns all entries of a place in their order, and where in it a page begins.
func (l *lane) listing(opts worker.ListOptions) (all []*entry, from int, err error) {
	switch opts.Place {
	case worker.PlaceWaiting:
		if opts.Cursor != "" {
			if from, err = strconv.Atoi(opts.Cursor); err != nil || from < 0 {
				return nil, 0, errCursor
			}
		}
		for _, line := range []*list.List{&l.suspects, &l.pending} {
			for el := line.Front(); el != nil; el = el.Next() {
				all = append(all, el.Value.(*entry))
			}
		}
	case worker.PlaceScheduled, worker.PlaceHeld, worker.PlaceDead:
		if opts.Cursor != "" && !isKey(opts) {
			return nil, 0, errCursor
		}
		all = l.sorted(opts)
		from, _ = slices.BinarySearchFunc(all, opts.Cursor, func(e *entry, cursor string) int {
			if e.key(opts.Place) <= cursor {
				return -1
			}
			return 1
		})
	default:
		err = fmt.Errorf("there is no place %d", opts.Place)
	}
	return all, from, err
}

var errCursor = errors.New("the cursor is not one that List returned")

// isKey reports whether a cursor is a key of its place, and of its worker if one is asked for.
func isKey(opts worker.ListOptions) bool {
	first, second, ok := strings.Cut(opts.Cursor, " ")
	number := first
	if opts.Place == worker.PlaceHeld {
		number = second
		ok = ok && (opts.Worker == "" || opts.Worker == first)
	}
	_, err := strconv.ParseUint(number, 10, 64)
	return ok && err == nil
}

// sorted returns the entries in one of the places that have an order of their own.
func (l *lane) sorted(opts worker.ListOptions) (all []*entry) {
	for _, e := range l.entries {
		if e.whereabouts() == opts.Place && (opts.Worker == "" || e.place != worker.PlaceHeld || e.holder.name == opts.Worker) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.key(opts.Place), b.key(opts.Place)) })
	return all
}

// key is a text by which entries are in their order.
func (e *entry) key(place worker.Place) string {
	switch place {
	case worker.PlaceScheduled:
		return fmt.Sprintf("%019d %s", e.due.UnixMicro(), e.id) // nanoseconds end in 2262
	case worker.PlaceHeld:
		return fmt.Sprintf("%s %019d", e.holder.name, e.token)
	case worker.PlaceDead:
		return fmt.Sprintf("%019d %s", 1<<62-e.died.UnixNano(), e.id)
	}
	return ""
}

// whereabouts is the place as an Inspector tells it.
func (e *entry) whereabouts() worker.Place {
	if e.place == worker.PlaceWaiting && e.list == nil {
		return worker.PlaceScheduled
	}
	return e.place
}

// Find implements worker.Inspector.
func (q *MemoryQueue) Find(ctx context.Context, queue, id string) (worker.JobInfo, error) {
	if err := q.beginOn(ctx, "Find", queue); err != nil {
		return worker.JobInfo{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.laneLocked(queue).entries[id]
	if e == nil {
		return worker.JobInfo{}, fmt.Errorf("find job %q: %w", id, worker.ErrJobNotFound)
	}
	return e.info(queue), nil
}

// info says what there is to say of an entry.
func (e *entry) info(queue string) worker.JobInfo {
	info := worker.JobInfo{
		ID: e.id, Queue: queue, Place: e.whereabouts(), Job: e.job(), Err: e.broken,
		Attempts: e.attempts, Crashes: e.crashes, Canceled: e.canceled,
	}
	switch info.Place {
	case worker.PlaceScheduled:
		info.Due = e.due
	case worker.PlaceHeld:
		info.Worker, info.Token = e.holder.name, e.token
	case worker.PlaceDead:
		info.State, info.Cause, info.Died = e.state, e.cause, e.died
	}
	return info
}

// Edit implements worker.Editor.
func (q *MemoryQueue) Edit(ctx context.Context, before, after *worker.Job, move worker.Move) (edited worker.Edited, err error) {
	if err := q.begin(ctx, "Edit"); err != nil {
		return edited, err
	}
	if before == nil || after == nil || before.ID != after.ID || before.Queue != after.Queue {
		return edited, errors.New("edit: the two are not one job")
	}
	is, err := worker.EncodeJob(before)
	if err != nil {
		return edited, fmt.Errorf("edit: %w", err)
	}
	body, err := worker.EncodeJob(after)
	if err != nil {
		return edited, fmt.Errorf("edit: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(after.Queue)
	e := l.entries[after.ID]
	switch {
	case e == nil:
		err = worker.ErrJobNotFound
	case e.place == worker.PlaceHeld:
		err = worker.ErrJobActive
	case e.place == worker.PlaceDead:
		err = &worker.FinishedError{ID: e.id, State: e.state}
	case e.canceled:
		err = worker.ErrCanceled
	case !bytes.Equal(e.body, is):
		err = worker.ErrJobChanged
	}
	if err != nil {
		return edited, fmt.Errorf("edit job %q: %w", after.ID, err)
	}
	e.become(body)
	var at time.Time // at once
	if move == worker.MoveToTime {
		at = q.dueTime(after)
	}
	if move != worker.MoveNone && (e.list == nil || at.After(q.now())) {
		l.unlink(e)
		l.wait(e, at)
		if e.runnable = q.now(); at.After(e.runnable) {
			e.runnable = at
		}
	}
	edited.Token = q.drawLocked(0)
	if e.list == nil && e.due.After(q.now()) {
		edited.Due = e.due
	}
	return edited, nil
}

// Forget implements worker.Editor.
func (q *MemoryQueue) Forget(ctx context.Context, queue string, ids ...string) (int, error) {
	if err := q.beginOn(ctx, "Forget", queue); err != nil {
		return 0, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(queue)
	n := 0
	for _, id := range ids {
		if e := l.entries[id]; e != nil && e.place == worker.PlaceDead {
			delete(l.entries, id)
			n++
		}
	}
	return n, nil
}
