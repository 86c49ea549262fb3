package workertest

import (
	"context"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// changesListings changes what a listing tells.
func changesListings(what string, change func(worker.ListOptions, *worker.JobPage)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
			page, err := q.MemoryQueue.List(ctx, queue, opts)
			change(opts, &page)
			return page, err
		}
	})
}

// emptyForAWorker has no jobs in a place when a worker is named.
func emptyForAWorker(what string, place worker.Place) broken[worker.Queue] {
	return faulty("has no "+what+" jobs of a worker", func(q *faultyQueue) {
		q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
			if opts.Place == place && opts.Worker != "" {
				return worker.JobPage{}, nil
			}
			return q.MemoryQueue.List(ctx, queue, opts)
		}
	})
}

// changesInfos changes each job of a listing, and what is found.
func changesInfos(what string, change func(*worker.JobInfo)) broken[worker.Queue] {
	b := changesListings(what, func(_ worker.ListOptions, page *worker.JobPage) {
		for i := range page.Jobs {
			change(&page.Jobs[i])
		}
	})
	return alters(b, func(q *faultyQueue) {
		q.find = func(ctx context.Context, queue, id string) (worker.JobInfo, error) {
			info, err := q.MemoryQueue.Find(ctx, queue, id)
			change(&info)
			return info, err
		}
	})
}

// alters breaks a broken queue once more.
func alters(b broken[worker.Queue], spoil func(*faultyQueue)) broken[worker.Queue] {
	open := b.open
	b.open = func(c *config) worker.Queue {
		q := open(c).(*faultyQueue)
		spoil(q)
		return q
	}
	return b
}

// changesActivity changes what goes on at a queue.
func changesActivity(what string, change func(*worker.Activity)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) { q.activity = change })
}

var (
	// listsBackwards turns each page around.
	listsBackwards = changesListings("lists pages backwards", func(_ worker.ListOptions, page *worker.JobPage) {
		slices.Reverse(page.Jobs)
	})
	// listsOnePage says that the first page is the last.
	listsOnePage = changesListings("lists one page only", func(_ worker.ListOptions, page *worker.JobPage) { page.Next = "" })
	// listsTheFirstPage ignores cursors.
	listsTheFirstPage = faulty("lists the first page twice", func(q *faultyQueue) {
		q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
			first, err := q.MemoryQueue.List(ctx, queue, worker.ListOptions{Place: opts.Place, Worker: opts.Worker, Limit: opts.Limit})
			page, _ := q.MemoryQueue.List(ctx, queue, opts)
			first.Next = page.Next
			return first, err
		}
	})
	// listsTooMuch doesn't look at limits.
	listsTooMuch = faulty("lists all on one page", func(q *faultyQueue) {
		q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
			opts.Limit = worker.MaxPage
			return q.MemoryQueue.List(ctx, queue, opts)
		}
	})
	// losesBodies tells of no job.
	losesBodies = changesInfos("tells nothing of the job itself", func(info *worker.JobInfo) { info.Job = nil })
	// mixesPlaces tells of other places.
	mixesPlaces = changesInfos("takes all jobs for waiting", func(info *worker.JobInfo) { info.Place = worker.PlaceWaiting })
)

var badAtInspect = map[string][]broken[worker.Queue]{
	"queues": {
		faulty("lists queues backwards", func(q *faultyQueue) {
			q.queues = func(names []string) []string { slices.Reverse(names); return names }
		}),
		faulty("lists only queues with jobs", func(q *faultyQueue) {
			q.queues = func(names []string) []string {
				return slices.DeleteFunc(names, func(name string) bool { return len(q.lanes[name].entries) == 0 })
			}
		}),
		faulty("lists only queues with workers", func(q *faultyQueue) {
			q.queues = func(names []string) []string {
				return slices.DeleteFunc(names, func(name string) bool { return q.lanes[name].opened == 0 })
			}
		}),
	},
	"workers": {
		changesActivity("tells nothing of processes", func(a *worker.Activity) {
			for i := range a.Workers {
				a.Workers[i].Process = worker.Process{}
			}
		}),
		changesActivity("counts no jobs", func(a *worker.Activity) {
			for i := range a.Workers {
				a.Workers[i].Running = 0
			}
		}),
		changesActivity("tells of no leases", func(a *worker.Activity) {
			for i := range a.Workers {
				a.Workers[i].Lease = 0
			}
		}),
		changesActivity("tells of the first worker only", func(a *worker.Activity) { a.Workers = a.Workers[:min(1, len(a.Workers))] }),
		faultySessions("keeps closed sessions", func(s *faultySession) {
			s.closing = func(context.Context) error { return nil }
		}),
	},
	"minutes": {
		changesActivity("counts nothing", func(a *worker.Activity) { a.Minutes = nil }),
		changesActivity("counts in seconds", func(a *worker.Activity) {
			for i := range a.Minutes {
				a.Minutes[i].Start = a.Minutes[i].Start.Add(7 * time.Second)
			}
		}),
		changesActivity("takes the dead for successes", func(a *worker.Activity) {
			for i := range a.Minutes {
				a.Minutes[i].Succeeded += a.Minutes[i].Failed
			}
		}),
	},
	"list waiting":   {listsBackwards, listsOnePage, listsTheFirstPage, listsTooMuch, losesBodies},
	"list scheduled": {listsBackwards, listsOnePage, listsTheFirstPage, listsTooMuch, mixesPlaces, forgetsTimes},
	"list held": {
		listsBackwards, listsOnePage, listsTheFirstPage, mixesPlaces,
		changesInfos("tells of no worker", func(info *worker.JobInfo) { info.Worker = "" }),
		changesInfos("tells of other tokens", func(info *worker.JobInfo) { info.Token++ }),
		faulty("lists all workers' jobs for each", func(q *faultyQueue) {
			q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
				opts.Worker = ""
				return q.MemoryQueue.List(ctx, queue, opts)
			}
		}),
		emptyForAWorker("waiting", worker.PlaceWaiting), emptyForAWorker("scheduled", worker.PlaceScheduled),
	},
	"list dead": {listsBackwards, listsOnePage, listsTheFirstPage, mixesPlaces, forgetsTimes,
		changesInfos("forgets causes", func(info *worker.JobInfo) { info.Cause = "" }),
		changesInfos("takes all dead jobs for failed", func(info *worker.JobInfo) { info.State = worker.StateFailed }),
	},
	"list while jobs leave": {
		faulty("goes by place in line", func(q *faultyQueue) {
			q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
				all, err := q.MemoryQueue.List(ctx, queue, worker.ListOptions{Place: opts.Place, Limit: worker.MaxPage})
				from := min(len(opts.Cursor), len(all.Jobs))
				to := min(from+opts.PageLimit(), len(all.Jobs))
				page := worker.JobPage{Jobs: all.Jobs[from:to]}
				if to < len(all.Jobs) {
					page.Next = string(make([]byte, to))
				}
				return page, err
			}
		}),
		faulty("ends when the job is gone that a page ended with", func(q *faultyQueue) {
			q.list = func(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
				page, err := q.MemoryQueue.List(ctx, queue, opts)
				if opts.Cursor != "" {
					page = worker.JobPage{}
				}
				return page, err
			}
		}),
	},
	"list what does not decode": {
		changesListings("leaves out what does not decode", func(_ worker.ListOptions, page *worker.JobPage) {
			page.Jobs = slices.DeleteFunc(page.Jobs, func(info worker.JobInfo) bool { return info.Err != nil })
		}),
		changesInfos("hides what does not decode", func(info *worker.JobInfo) { info.Err = nil }),
	},
	"find": {
		mixesPlaces, losesBodies, forgetsTimes,
		changesInfos("forgets causes", func(info *worker.JobInfo) { info.Cause = "" }),
		changesInfos("tells of other tokens", func(info *worker.JobInfo) { info.Token++ }),
		faulty("finds everything", func(q *faultyQueue) {
			q.find = func(ctx context.Context, queue, id string) (worker.JobInfo, error) {
				info, _ := q.MemoryQueue.Find(ctx, queue, id)
				return info, nil
			}
		}),
	},
	"find counts": {
		changesInfos("counts no attempts", func(info *worker.JobInfo) { info.Attempts = 0 }),
		changesInfos("sees no marks", func(info *worker.JobInfo) { info.Canceled = false }),
	},
}

// forgetsTimes tells of no times.
var forgetsTimes = changesInfos("tells of no times", func(info *worker.JobInfo) {
	info.Due, info.Died = time.Time{}, time.Time{}
})

// edits breaks how jobs are edited.
func edits(what string, edit func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error)) broken[worker.Queue] {
	return faulty(what, func(q *faultyQueue) {
		q.edit = func(_ context.Context, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
			return edit(q.MemoryQueue, before, after, move)
		}
	})
}

var (
	// editsNothing takes every edit for done.
	editsNothing = edits("edits nothing", func(q *MemoryQueue, _, after *worker.Job, _ worker.Move) (worker.Edited, error) {
		info, err := q.Find(context.Background(), after.Queue, after.ID)
		return worker.Edited{Due: info.Due, Token: 1 << 60}, err
	})
	// movesAlways looks at the times of a job that is to stay where it is.
	movesAlways = edits("moves what is to stay", func(q *MemoryQueue, before, after *worker.Job, _ worker.Move) (worker.Edited, error) {
		after.RunAt = time.Time{}
		return q.Edit(context.Background(), before, after, worker.MoveToTime)
	})
	// movesNothing edits jobs where they are.
	movesNothing = edits("moves nothing", func(q *MemoryQueue, before, after *worker.Job, _ worker.Move) (worker.Edited, error) {
		return q.Edit(context.Background(), before, after, worker.MoveNone)
	})
	// movesByTheJob does not hurry a job that says when it is due.
	movesByTheJob = edits("moves to now by what the job says",
		func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
			if move == worker.MoveNow {
				move = worker.MoveToTime
			}
			return q.Edit(context.Background(), before, after, move)
		})
	// drawsNothing tells the same token of all edits.
	drawsNothing = edits("draws no token", func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
		edited, err := q.Edit(context.Background(), before, after, move)
		edited.Token = 1
		return edited, err
	})
	// drawsAlone counts edits for themselves.
	drawsAlone = edits("draws tokens of another kind",
		func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
			edited, err := q.Edit(context.Background(), before, after, move)
			edited.Token += 1 << 40
			return edited, err
		})
	// editsAnything replaces bodies without a look at the jobs.
	editsAnything = edits("edits whatever there is", func(q *MemoryQueue, _, after *worker.Job, _ worker.Move) (edited worker.Edited, err error) {
		q.mu.Lock()
		defer q.mu.Unlock()
		body, err := worker.EncodeJob(after)
		if e := q.laneLocked(after.Queue).entries[after.ID]; e != nil {
			e.become(body)
		}
		return edited, err
	})
	// startsOver makes new jobs of those that are edited.
	startsOver = edits("forgets attempts", func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
		edited, err := q.Edit(context.Background(), before, after, move)
		q.mu.Lock()
		defer q.mu.Unlock()
		if e := q.laneLocked(after.Queue).entries[after.ID]; e != nil {
			e.attempts = 0
		}
		return edited, err
	})
	// leavesACopy leaves a second entry in line.
	leavesACopy = edits("leaves a moved job in line, too", func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
		edited, err := q.Edit(context.Background(), before, after, move)
		q.mu.Lock()
		defer q.mu.Unlock()
		l := q.laneLocked(after.Queue)
		if e := l.entries[after.ID]; err == nil && move != worker.MoveNone && !edited.Due.IsZero() {
			l.wait(&entry{id: e.id, body: e.body}, time.Time{})
		}
		return edited, err
	})
	// remembersTheRetry keeps since when a job could run.
	remembersTheRetry = edits("remembers when a moved job was to be retried",
		func(q *MemoryQueue, before, after *worker.Job, move worker.Move) (worker.Edited, error) {
			q.mu.Lock()
			e := q.laneLocked(after.Queue).entries[after.ID]
			was := e.runnable
			q.mu.Unlock()
			edited, err := q.Edit(context.Background(), before, after, move)
			q.mu.Lock()
			defer q.mu.Unlock()
			e.runnable = was
			return edited, err
		})
)

var badAtEdit = map[string][]broken[worker.Queue]{
	"edit payload":          {editsNothing, movesAlways, startsOver},
	"edit to later":         {editsNothing, movesNothing, leavesACopy},
	"edit to sooner":        {editsNothing, movesNothing},
	"edit back and forth":   {leavesACopy},
	"edit to now":           {movesNothing, movesByTheJob, remembersTheRetry},
	"edits in order":        {drawsNothing, drawsAlone},
	"edit tells since when": {movesNothing, remembersTheRetry},
	"edit refused":          {editsNothing, editsAnything},
	"forget": {
		faulty("forgets nothing", func(q *faultyQueue) {
			q.forget = func(context.Context, string, []string) (int, error) { return 1, nil }
		}),
		faulty("forgets waiting jobs", func(q *faultyQueue) {
			q.forget = func(ctx context.Context, queue string, ids []string) (int, error) {
				n, err := q.MemoryQueue.Forget(ctx, queue, ids...)
				q.mu.Lock()
				defer q.mu.Unlock()
				l := q.laneLocked(queue)
				for _, id := range ids {
					if e := l.entries[id]; e != nil && e.place == worker.PlaceWaiting {
						l.unlink(e)
						delete(l.entries, id)
					}
				}
				return n, err
			}
		}),
		faulty("counts what it was given", func(q *faultyQueue) {
			q.forget = func(ctx context.Context, queue string, ids []string) (int, error) {
				_, err := q.MemoryQueue.Forget(ctx, queue, ids...)
				return len(ids), err
			}
		}),
	},
}
