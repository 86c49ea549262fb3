package worker

import (
	"context"
	"errors"
	"time"
)

// Inspector is a Queue that can be looked into, by pages and dashboards. Nothing here changes a job, and no call costs
// more as the queue grows, however many jobs wait. What it tells is a view of a moment: jobs move on while it is read.
// A Sampler counts, and tells whether the queue is paused; an Inspector names.
type Inspector interface {
	// Queues returns the names of all queues that jobs were put on or workers were opened for, in alphabetical order,
	// empty ones included.
	Queues(ctx context.Context) ([]string, error)
	// Activity tells who works on a queue and how much was settled of late. A queue that nobody knows has none.
	Activity(ctx context.Context, queue string) (Activity, error)
	// List returns one page of the jobs in a place. A job that stays where it is while a listing goes on is on one of
	// its pages. One that is before it in line and leaves, or comes, moves the others, so they may be missed, or
	// listed twice. A place that is none of the four of ListOptions is an error, and so is a cursor that can be seen to be
	// no page's of this place.
	List(ctx context.Context, queue string, opts ListOptions) (JobPage, error)
	// Find returns one job, and ErrJobNotFound when the queue doesn't have it.
	Find(ctx context.Context, queue, id string) (JobInfo, error)
}

// Editor is a Queue whose jobs can be changed while they wait, and forgotten once they are dead. Client calls it, as
// statuses have to follow.
type Editor interface {
	// Edit replaces a waiting job by another of the same ID and Queue, in one step: it is claimed either as it was
	// before or as it is after. move says what becomes of the time that it waits for.
	//
	// The job stays as it is when it is held (ErrJobActive), dead (a *FinishedError), not there (ErrJobNotFound), marked
	// as canceled (ErrCanceled), or not stored as before encodes (ErrJobChanged).
	Edit(ctx context.Context, before, after *Job, move Move) (Edited, error)
	// Forget drops what is kept of dead jobs, and returns how many there were. It leaves alone jobs that are not dead.
	Forget(ctx context.Context, queue string, ids ...string) (int, error)
}

// Move says what becomes of the time that an edited job waits for.
type Move int

const (
	// MoveNone leaves it: the job waits for what it waited for.
	MoveNone Move = iota
	// MoveToTime makes the job due when its Delay or RunAt, as they are after the edit, say; at once when both are zero.
	MoveToTime
	// MoveNow makes the job due at once, whatever it says.
	MoveNow
)

// Edited is what became of a job that was edited.
type Edited struct {
	// Due is when the job is due, zero when that is past.
	Due time.Time
	// Token is a fencing token that was drawn in the same step: larger than those of all claims, cancels and edits of the
	// job before, smaller than those after. It puts the statuses of several edits in the order of the edits.
	Token int64
}

// ErrJobChanged says that a job was not edited since it is no longer as it was when it was looked at, or is stored in a
// way that this version of the library would not write.
var ErrJobChanged = errors.New("job has changed")

// ListOptions say which jobs to list.
type ListOptions struct {
	// Place is where to look: PlaceWaiting lists what may be claimed now, in the order in which it will be;
	// PlaceScheduled what waits for its time, the earliest first, and perhaps what fell due since the last claim, as where
	// the queue is paused or has no worker; PlaceHeld what is claimed, by worker and in the order of the claims; PlaceDead
	// what failed or was canceled, the latest first. It is required.
	Place Place
	// Worker, with PlaceHeld, lists what this worker holds; other places don't heed it. Empty means all.
	Worker string
	// Cursor is the Next of the page before, of the same Queue, Place and Worker. Empty means the first page.
	Cursor string
	// Limit is the most jobs on the page, at most MaxPage. Zero means 100.
	Limit int
}

// MaxPage is the largest ListOptions.Limit.
const MaxPage = 500

// PageLimit returns the limit that a Queue goes by: 100 for zero, else at most MaxPage and at least 1.
func (o ListOptions) PageLimit() int {
	if o.Limit == 0 {
		return 100
	}
	return max(1, min(o.Limit, MaxPage))
}

// JobPage is one page of a listing.
type JobPage struct {
	// Jobs may be fewer than the limit, or none, though more pages follow: large jobs fill a page sooner.
	Jobs []JobInfo
	// Next is the cursor of the next page, empty when this is the last one.
	Next string
}

// JobInfo is what a queue knows of one job.
type JobInfo struct {
	ID    string
	Queue string
	// Place is PlaceWaiting, PlaceScheduled, PlaceHeld or PlaceDead.
	Place Place
	// Job is the job as it was enqueued, without what a claim fills in; nil when it cannot be decoded.
	Job *Job
	// Err is a *DecodeError with the job's bytes, when it cannot be decoded.
	Err error
	// Attempts is how many runs ended in an error, Crashes how many workers died holding the job.
	Attempts, Crashes int
	// Canceled says that the job is marked: it ends as canceled with its next claim, or when its handler has stopped.
	Canceled bool
	// Due is when a scheduled job may be claimed.
	Due time.Time
	// Worker is the name of the session that holds the job, Token the fencing token of its claim.
	Worker string
	Token  int64
	// State is how a dead job ended, empty when that isn't known; Cause is the text of its last error as far as the queue
	// keeps it, and Died when it ended.
	State State
	Cause string
	Died  time.Time
}

// Activity is what goes on at a queue.
type Activity struct {
	// Workers are the open sessions by name. A pool has one for each of its queues.
	Workers []SessionInfo
	// Minutes are the settlements of the last hour by minute, the latest first. Minutes in which nothing was settled are
	// left out. What a worker settles may be counted some seconds later, and not at all if it crashes until then.
	Minutes []MinuteCounts
}

// Process is what a worker tells of the process that it belongs to.
type Process struct {
	Name    string    // Config.Name
	Host    string    // as the operating system calls it
	PID     int       // of the process
	Started time.Time // when the pool was made
}

// SessionInfo is one worker's session on a queue.
type SessionInfo struct {
	Name    string        // of the session, as logs call it
	Process Process       // zero when the worker told nothing
	Lease   time.Duration // what is left of it; zero when it ran out, and others will take over unless it is renewed
	Running int64         // jobs that it holds: running, or about to be
}

// MinuteCounts are the claims that were settled within one minute.
type MinuteCounts struct {
	Start     time.Time // by the queue's clock
	Succeeded int64
	Retried   int64 // failed attempts that are tried again
	Failed    int64 // for good
	Canceled  int64
}
