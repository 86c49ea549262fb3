package workertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// inspectRows are the promises of worker.Inspector.
var inspectRows = []row[*queueBench]{
	{name: "queues", run: inspectQueues,
		promise: "all queues with jobs or workers are listed, in alphabetical order, and once"},
	{name: "workers", run: inspectWorkers,
		promise: "open sessions are listed with the process, the lease and the number of jobs that they hold, closed ones are not"},
	{name: "minutes", run: inspectMinutes,
		promise: "what is settled is counted by minute and by kind, within a few seconds"},
	{name: "list waiting", run: listWaiting,
		promise: "pages list waiting jobs in the order in which they are claimed"},
	{name: "list scheduled", run: listScheduled,
		promise: "pages list scheduled jobs with their times, the earliest first"},
	{name: "list held", run: listHeld,
		promise: "pages list held jobs with their worker and token, of all workers or of one, whose name no other place heeds"},
	{name: "list dead", run: listDead,
		promise: "pages list dead jobs with their end and its cause, the latest first"},
	{name: "list while jobs leave", run: listWhileLeaving,
		promise: "a dead or scheduled job that stays where it is is on exactly one page, whatever leaves meanwhile"},
	{name: "list what does not decode", run: listBroken,
		promise: "a job that does not decode is listed with its bytes"},
	{name: "find", run: find,
		promise: "one job is found wherever it is, and ErrJobNotFound tells of one that isn't there"},
	{name: "find counts", run: findCounts,
		promise: "a job is found with its attempts, and with the mark of a cancel"},
}

// inspector returns the queue as an Inspector, and skips the row if it isn't one.
func (b *queueBench) inspector() worker.Inspector {
	inspector, ok := b.queue.(worker.Inspector)
	if !ok {
		b.Skipf("the queue is not an Inspector")
	}
	return inspector
}

// list goes through all pages of a listing.
func (b *queueBench) list(opts worker.ListOptions) (jobs []worker.JobInfo) {
	b.Helper()
	for range 1000 {
		page, err := b.inspector().List(b.ctx, b.name, opts)
		b.ok(err, "list")
		if len(page.Jobs) > opts.PageLimit() {
			b.Fatalf("a page has %d jobs, the limit is %d", len(page.Jobs), opts.PageLimit())
		}
		jobs = append(jobs, page.Jobs...)
		if page.Next == "" {
			return jobs
		}
		opts.Cursor = page.Next
	}
	b.Fatalf("there is no end of pages: %d jobs", len(jobs))
	return nil
}

// lists fails the row unless the pages of a place, with two jobs each, list these jobs in this order.
func (b *queueBench) lists(opts worker.ListOptions, want ...*worker.Job) []worker.JobInfo {
	b.Helper()
	opts.Limit = 2
	infos := b.list(opts)
	got := make([]*worker.Job, len(infos))
	for i, info := range infos {
		if info.Job == nil || info.Err != nil || info.Job.ID != info.ID || string(info.Job.Payload) != `{"n":0}` ||
			info.Queue != b.name || info.Place != opts.Place {
			b.Fatalf("listed %+v, want a job of queue %s in place %d", info, b.name, opts.Place)
		}
		got[i] = info.Job
	}
	if len(got) != len(want) {
		b.Fatalf("listed %d jobs, want %d", len(got), len(want))
	}
	b.sameOrder(got, want)
	return infos
}

func (b *queueBench) found(id string, place worker.Place) worker.JobInfo {
	b.Helper()
	info, err := b.inspector().Find(b.ctx, b.name, id)
	b.ok(err, "find")
	if info.ID != id || info.Queue != b.name || info.Place != place || info.Job == nil || info.Job.ID != id {
		b.Fatalf("found %+v, want job %s in place %d", info, id, place)
	}
	return info
}

func inspectQueues(b *queueBench) {
	inspector := b.inspector()
	b.enqueue(b.job(), b.job(), b.job(worker.OnQueue(b.name+".c")))
	b.consumeWith(b.name+".b", worker.ConsumeOptions{})
	b.consume()
	names, err := inspector.Queues(b.ctx)
	b.ok(err, "queues")
	names = slices.DeleteFunc(names, func(name string) bool { return len(name) < len(b.name) || name[:len(b.name)] != b.name })
	if want := []string{b.name, b.name + ".b", b.name + ".c"}; !slices.Equal(names, want) {
		b.Fatalf("the queues are %v, want %v", names, want)
	}
}

func inspectWorkers(b *queueBench) {
	inspector := b.inspector()
	process := worker.Process{Name: "resizer", Host: "h1", PID: 4711, Started: time.UnixMilli(1_764_000_000_123).UTC()}
	b.enqueue(b.jobs(3)...)
	first := b.consumeWith(b.name, worker.ConsumeOptions{Process: process})
	b.consume()
	first.claim(2)
	activity, err := inspector.Activity(b.ctx, b.name)
	b.ok(err, "activity")
	if len(activity.Workers) != 2 {
		b.Fatalf("there are %d workers, want 2", len(activity.Workers))
	}
	seen := 0
	for _, w := range activity.Workers {
		if w.Name == "" || w.Lease <= 0 || w.Lease > time.Hour {
			b.Fatalf("worker %+v has no name or no lease", w)
		}
		want := w.Process == worker.Process{} && w.Running == 0
		if w.Process.PID != 0 {
			want = w.Process == process && w.Running == 2
			seen++
		}
		if !want {
			b.Fatalf("worker %+v is neither that of the process %+v with 2 jobs nor one that told nothing", w, process)
		}
	}
	if seen != 1 {
		b.Fatalf("%d workers belong to the process, want 1", seen)
	}
	b.ok(first.Close(b.ctx), "close")
	activity, err = inspector.Activity(b.ctx, b.name)
	b.ok(err, "activity")
	if len(activity.Workers) != 1 || activity.Workers[0].Process.PID != 0 {
		b.Fatalf("the workers are %+v, want the one that is open", activity.Workers)
	}
}

func inspectMinutes(b *queueBench) {
	inspector := b.inspector()
	b.enqueue(b.jobs(10)...)
	c := b.consume()
	jobs := c.claim(10)
	c.settle(worker.ActionComplete, jobs[:4]...)
	c.settleAfter(worker.ActionRetry, time.Hour, jobs[4:7]...)
	c.settle(worker.ActionBury, jobs[7:9]...)
	c.settle(worker.ActionCancel, jobs[9])
	want := worker.MinuteCounts{Succeeded: 4, Retried: 3, Failed: 2, Canceled: 1}
	var sum worker.MinuteCounts
	for start := b.now(); b.now().Sub(start) < b.patience; b.pass(100 * time.Millisecond) {
		activity, err := inspector.Activity(b.ctx, b.name)
		b.ok(err, "activity")
		sum = worker.MinuteCounts{}
		for i, m := range activity.Minutes {
			if m.Start.Truncate(time.Minute) != m.Start || m.Start.IsZero() || i > 0 && !m.Start.Before(activity.Minutes[i-1].Start) {
				b.Fatalf("minutes %+v, want whole ones, the latest first", activity.Minutes)
			}
			sum.Succeeded += m.Succeeded
			sum.Retried += m.Retried
			sum.Failed += m.Failed
			sum.Canceled += m.Canceled
		}
		if sum == want {
			return
		}
	}
	b.Fatalf("counted %+v, want %+v", sum, want)
}

func listWaiting(b *queueBench) {
	jobs := b.enqueue(b.jobs(7)...)
	b.enqueue(b.job(worker.After(time.Hour)))
	c := b.consume()
	c.claim(1)
	b.lists(worker.ListOptions{Place: worker.PlaceWaiting}, jobs[1:]...)
	b.sameOrder(c.claim(6), jobs[1:])
	b.lists(worker.ListOptions{Place: worker.PlaceWaiting})
}

func listScheduled(b *queueBench) {
	var jobs []*worker.Job
	for _, minutes := range []int{50, 10, 40, 20, 30} {
		jobs = append(jobs, b.job(worker.After(time.Duration(minutes)*time.Minute)))
	}
	before := b.now()
	b.enqueue(jobs...)
	b.enqueue(b.job())
	want := []*worker.Job{jobs[1], jobs[3], jobs[4], jobs[2], jobs[0]}
	for range 2 { // which a page ends between
		last := b.job(worker.At(time.Date(3000, time.January, 1, 0, 0, len(want), 0, time.UTC)))
		b.enqueue(last)
		want = append(want, last)
	}
	for i, info := range b.lists(worker.ListOptions{Place: worker.PlaceScheduled}, want...)[:5] {
		if due := info.Due.Sub(before) - time.Duration(10*(i+1))*time.Minute; due < -time.Minute || due > time.Minute {
			b.Fatalf("the job is due after %v, want %d minutes", info.Due.Sub(before), 10*(i+1))
		}
	}
}

func listHeld(b *queueBench) {
	b.enqueue(b.jobs(9)...)
	b.enqueue(b.job(worker.After(time.Hour)))
	c, other := b.consume(), b.consume()
	mine, others := c.claim(3), other.claim(3)
	mine = append(mine, c.claim(2)...)
	workers := make(map[string][]string)
	tokens := make(map[string]int64)
	for _, info := range b.list(worker.ListOptions{Place: worker.PlaceHeld, Limit: 2}) {
		workers[info.Worker] = append(workers[info.Worker], info.ID)
		tokens[info.ID] = info.Token
	}
	if len(workers) != 2 || len(tokens) != 8 {
		b.Fatalf("listed %v, want 8 jobs of 2 workers", workers)
	}
	for name, ids := range workers {
		want := mine
		if len(ids) == len(others) {
			want = others
		}
		for i, info := range b.lists(worker.ListOptions{Place: worker.PlaceHeld, Worker: name}, want...) {
			if info.Worker != name || info.Token != want[i].Token || tokens[info.ID] != info.Token {
				b.Fatalf("listed worker %q and token %d, want %q and %d", info.Worker, info.Token, name, want[i].Token)
			}
		}
		for _, place := range []worker.Place{worker.PlaceWaiting, worker.PlaceScheduled} {
			if jobs := b.list(worker.ListOptions{Place: place, Worker: name}); len(jobs) != 1 {
				b.Fatalf("with a worker's name %d jobs are listed in place %d, want the one that there is", len(jobs), place)
			}
		}
	}
}

func listDead(b *queueBench) {
	b.enqueue(b.jobs(5)...)
	c := b.consume()
	var want []*worker.Job
	for i := range 5 {
		job := c.one()
		v := worker.Verdict{Job: job, Action: worker.ActionBury, Cause: fmt.Errorf("cause %d", i)}
		if i%2 > 0 {
			v.Action = worker.ActionCancel
		}
		b.ok(c.Settle(b.ctx, v), "settle")
		want = append([]*worker.Job{job}, want...)
		b.pass(5 * time.Millisecond)
	}
	for i, info := range b.lists(worker.ListOptions{Place: worker.PlaceDead}, want...) {
		n := 4 - i
		state := []worker.State{worker.StateFailed, worker.StateCanceled}[n%2]
		if info.State != state || info.Cause != fmt.Sprintf("cause %d", n) || info.Died.IsZero() {
			b.Fatalf("listed %s because of %q at %v, want %s, cause %d", info.State, info.Cause, info.Died, state, n)
		}
	}
}

func listWhileLeaving(b *queueBench) {
	editor := b.editor()
	b.enqueue(b.jobs(20)...)
	c := b.consume()
	c.settle(worker.ActionBury, c.claim(20)...) // most likely all at once, so that only their ids tell them apart
	left := make(map[string]bool)
	for _, info := range b.list(worker.ListOptions{Place: worker.PlaceDead}) {
		left[info.ID] = true
	}
	if len(left) != 20 {
		b.Fatalf("listed %d dead jobs, want 20", len(left))
	}
	seen := make(map[string]int)
	opts := worker.ListOptions{Place: worker.PlaceDead, Limit: 4}
	for {
		page, err := b.inspector().List(b.ctx, b.name, opts)
		b.ok(err, "list")
		for i, info := range page.Jobs {
			seen[info.ID]++
			if i > 0 { // the last one, where the page ended, included
				_, err := editor.Forget(b.ctx, b.name, info.ID)
				b.ok(err, "forget")
			}
		}
		if opts.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	for id := range left {
		if seen[id] != 1 {
			b.Fatalf("a job was listed %d times, want once", seen[id])
		}
	}
}

func listBroken(b *queueBench) {
	if b.enqueueRaw == nil {
		b.Skipf("there is no way to enqueue what doesn't decode: see WithRaw")
	}
	b.inspector()
	good := b.enqueue(b.job())[0]
	b.ok(b.enqueueRaw(b.name, "raw", []byte("no job at all")), "enqueue raw")
	infos := b.list(worker.ListOptions{Place: worker.PlaceWaiting})
	if len(infos) != 2 || infos[0].ID != good.ID || infos[1].ID != "raw" {
		b.Fatalf("listed %+v, want both jobs", infos)
	}
	var decode *worker.DecodeError
	if !errors.As(infos[1].Err, &decode) || infos[1].Job != nil || string(decode.Body) != "no job at all" {
		b.Fatalf("listed %+v, want a *DecodeError with the bytes", infos[1])
	}
}

func find(b *queueBench) {
	inspector := b.inspector()
	jobs := b.enqueue(b.job(), b.job(), b.job(), b.job(worker.After(time.Hour)))
	c := b.consume()
	held := c.claim(2)
	b.ok(c.Settle(b.ctx, worker.Verdict{Job: held[0], Action: worker.ActionBury, Cause: context.Canceled}), "settle")
	b.found(jobs[2].ID, worker.PlaceWaiting)
	if dead := b.found(jobs[0].ID, worker.PlaceDead); dead.State != worker.StateFailed || dead.Cause == "" || dead.Died.IsZero() {
		b.Fatalf("found %+v, want how the job ended", dead)
	}
	if info := b.found(jobs[1].ID, worker.PlaceHeld); info.Token != held[1].Token || info.Worker == "" {
		b.Fatalf("found %+v, want its worker and token %d", info, held[1].Token)
	}
	if info := b.found(jobs[3].ID, worker.PlaceScheduled); info.Due.Before(b.now().Add(time.Minute)) {
		b.Fatalf("found %+v, want one that is due in an hour", info)
	}
	for queue, id := range map[string]string{b.name: "nobody's", b.name + ".other": jobs[2].ID} {
		if info, err := inspector.Find(b.ctx, queue, id); !notFound(err) {
			b.Fatalf("found %+v (%v), want ErrJobNotFound", info, err)
		}
	}
}

func findCounts(b *queueBench) {
	b.inspector()
	job := b.enqueue(b.job())[0]
	c := b.consume()
	if info := b.found(job.ID, worker.PlaceWaiting); info.Attempts != 0 || info.Canceled {
		b.Fatalf("found %+v, want a job that never ran", info)
	}
	c.settle(worker.ActionRetry, c.one())
	c.settleAfter(worker.ActionRetry, time.Hour, c.one())
	if info := b.found(job.ID, worker.PlaceScheduled); info.Attempts != 2 {
		b.Fatalf("found %d attempts, want 2", info.Attempts)
	}
	if canceler, ok := b.queue.(worker.Canceler); ok {
		_, err := canceler.MarkCanceled(b.ctx, b.name, job.ID)
		b.ok(err, "mark")
		if info, err := b.inspector().Find(b.ctx, b.name, job.ID); err != nil || !info.Canceled {
			b.Fatalf("found %+v (%v), want a marked job", info, err)
		}
	}
}
