package workertest

import (
	"container/heap"
	"container/list"
	"errors"
	"slices"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// lane is one queue of a MemoryQueue, whose mutex guards it: all its methods need it held.
type lane struct {
	name       string
	now        func() time.Time
	entries    map[string]*entry // by job id, from enqueue until completed, for ever when dead
	pending    list.List         // of *entry, oldest first
	suspects   list.List         // of *entry: those that took down workers, handed out first
	scheduled  schedule
	arrivals   int64
	maxCrashes int // what the latest session was opened with
	sessions   []*session
	unique     map[string]taken // by unique key
	paused     bool
	opened     int                            // sessions so far
	minutes    map[int64]*worker.MinuteCounts // by minute since 1970
	changed    chan struct{}                  // closed and replaced when there may be something to claim
}

// entry is one job of a lane.
type entry struct {
	id                string
	body              []byte
	expires           time.Time
	broken            error // why the body does not decode
	place             worker.Place
	attempts, crashes int
	checkpoint        []byte
	canceled          bool
	runnable          time.Time // since when it could have run; zero when that isn't known
	trace             string    // of the attempt before

	// Of a dead entry.
	state worker.State // the final one
	cause string
	died  time.Time

	// Of a waiting entry: either its element in a list, or its due time and index in the schedule.
	list    *list.List
	element *list.Element
	due     time.Time
	arrival int64
	index   int

	// Of a held entry. Tokens rise, so they tell the order of claims, too.
	holder *session
	token  int64
}

// job returns a fresh job of the entry's body, nil if that does not decode.
func (e *entry) job() *worker.Job {
	job, err := worker.DecodeJob(slices.Clone(e.body))
	if err != nil {
		return nil
	}
	return job
}

// admit takes in a new entry or one that replaces a dead one.
func (l *lane) admit(e *entry, body []byte, due time.Time) {
	e.begin(body, due)
	l.entries[e.id] = e
	l.wait(e, due)
}

// begin gives an entry its body, and tells since when it can run.
func (e *entry) begin(body []byte, due time.Time) {
	if job := e.become(body); job != nil {
		e.runnable = job.EnqueuedAt
		if due.After(e.runnable) {
			e.runnable = due
		}
	}
}

// become gives an entry its body, and returns the job in it, nil if it does not decode.
func (e *entry) become(body []byte) *worker.Job {
	e.body = body
	job, err := worker.DecodeJob(body)
	if err != nil {
		e.broken = &worker.DecodeError{ID: e.id, Body: slices.Clone(body), Err: errors.Unwrap(err)}
		return nil
	}
	e.expires = job.ExpiresAt
	return job
}

// wait makes e wait until due, or in line at once when that is past.
func (l *lane) wait(e *entry, due time.Time) {
	e.place = worker.PlaceWaiting
	if due.After(l.now()) && !e.canceled {
		l.arrivals++
		e.due, e.arrival = due, l.arrivals
		heap.Push(&l.scheduled, e)
	} else {
		e.list = l.listFor(e)
		e.element = e.list.PushBack(e)
	}
	l.signal()
}

// giveBack makes entries that one session held wait at the head, in the order in which they were claimed.
func (l *lane) giveBack(entries []*entry) {
	slices.SortFunc(entries, func(a, b *entry) int { return int(b.token - a.token) })
	for _, e := range entries {
		e.holder = nil
		e.place = worker.PlaceWaiting
		e.list = l.listFor(e)
		e.element = e.list.PushFront(e)
	}
	l.signal()
}

func (l *lane) listFor(e *entry) *list.List {
	if e.crashes >= max(1, min(2, l.maxCrashes-1)) {
		return &l.suspects
	}
	return &l.pending
}

// hasten makes a scheduled entry due.
func (l *lane) hasten(e *entry) {
	if e.list == nil {
		l.unlink(e)
		l.wait(e, time.Time{})
		e.runnable = l.now()
	}
}

// promote moves what has fallen due in line.
func (l *lane) promote(now time.Time) {
	for len(l.scheduled) > 0 && !l.scheduled[0].due.After(now) {
		e := heap.Pop(&l.scheduled).(*entry)
		l.wait(e, time.Time{})
	}
}

// unlink takes a waiting entry out of its list or the schedule.
func (l *lane) unlink(e *entry) {
	if e.list != nil {
		e.list.Remove(e.element)
		e.list, e.element = nil, nil
		return
	}
	heap.Remove(&l.scheduled, e.index)
}

// bury ends an entry and keeps it.
func (l *lane) bury(e *entry, state worker.State) {
	if e.place == worker.PlaceWaiting {
		l.unlink(e)
	}
	e.place, e.state, e.canceled, e.holder, e.died = worker.PlaceDead, state, false, nil, l.now()
}

// signal wakes all that wait for something to claim.
func (l *lane) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// nextDue returns how long it is until the next scheduled entry falls due, or most if that is longer.
func (l *lane) nextDue(now time.Time, most time.Duration) time.Duration {
	if len(l.scheduled) == 0 {
		return most
	}
	return min(most, max(l.scheduled[0].due.Sub(now), 0))
}

// schedule is a heap of entries, the earliest due first, of equal ones the earliest put there.
type schedule []*entry

func (s schedule) Len() int { return len(s) }

func (s schedule) Less(i, j int) bool {
	if !s[i].due.Equal(s[j].due) {
		return s[i].due.Before(s[j].due)
	}
	return s[i].arrival < s[j].arrival
}

func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.index = len(*s)
	*s = append(*s, e)
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return e
}
