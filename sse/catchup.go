package sse

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// How long a stream waits for a Subscriber to say that a viewer has caught up: from one event to the next, and for all
// topics together. After that it goes on as if it had, so that one that never says so is of use, too.
const (
	catchUpPause = 2 * time.Second
	catchUpLimit = 5 * time.Second
)

// catchUp returns what the viewer has missed, and begins to read what is new.
func (s *stream) catchUp() ([]item, error) {
	limit := time.NewTimer(catchUpLimit)
	defer limit.Stop()
	var missed []item
	for i := range s.places {
		items, err := s.catchUpWith(i, limit)
		if err != nil {
			return nil, err
		}
		missed = append(missed, items...)
	}
	return missed, nil
}

// catchUpWith returns what the viewer has missed of one topic.
func (s *stream) catchUpWith(i int, limit *time.Timer) ([]item, error) {
	p := &s.places[i]
	past, gap, err := s.replay(i, limit)
	if err != nil {
		return nil, err
	}
	s.readers.Go(func() { s.listen(i) })
	if p.position != "" && !gap {
		return past, nil
	}
	var rows []worker.Status
	if s.handler.snapshots != nil && (gap || !wholeStory(s.topics[i], past)) {
		rows, p.owed, err = s.snapshot(i)
		p.check = p.owed
	}
	return s.compose(i, rows, past, gap), err
}

// replay reads what a topic's log holds for the viewer, and tells whether the viewer needs a snapshot for what is missing.
func (s *stream) replay(i int, limit *time.Timer) (past []item, gap bool, err error) {
	p := &s.places[i]
	held := backlog{limit: s.config.Backlog}
	pause := time.NewTimer(catchUpPause)
	defer pause.Stop()
	for again := false; ; {
		select {
		case <-s.ctx.Done():
			return nil, false, errEnded
		case <-s.handler.closing:
			return nil, false, errEnded
		case <-pause.C:
			return held.items, gap, nil
		case <-limit.C:
			limit.Reset(0) // for the topics that follow
			return held.items, gap, nil
		case e, open := <-p.events:
			switch {
			case !open:
				return nil, false, errSubscriber
			case e.CaughtUp || !e.Reset && !held.add(item{topic: i, event: e}):
				return append(held.items, item{topic: i, event: e}), gap, nil
			case e.Reset && s.handler.snapshots != nil:
				gap = true
			case e.Reset && !again: // what is there is to be had from the beginning
				again, held.items = true, nil
				if err := s.subscribeTo(i, ""); err != nil {
					return nil, false, err
				}
			}
			pause.Reset(catchUpPause)
		}
	}
}

// listen hands a topic's live events to the stream.
func (s *stream) listen(i int) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case e, open := <-s.places[i].events:
			if !open {
				s.inbox.fail(errSubscriber)
				return
			}
			if !s.inbox.add(item{topic: i, event: e}) {
				return
			}
		}
	}
}

// snapshot reads a topic's rows, at a time after its position was. If they cannot be had the viewer is owed them.
func (s *stream) snapshot(i int) (rows []worker.Status, owed bool, err error) {
	r := s.handler.snapshots.ask(s.ctx, s.topics[i], 0)
	patience := time.NewTimer(2 * s.config.SnapshotTimeout) // one may have to end before this one begins
	defer patience.Stop()
	select {
	case <-r.done:
		for i := range r.rows {
			s.finished = s.finished && r.rows[i].State.Final()
		}
		return r.rows, r.err != nil, nil
	case <-patience.C:
		return nil, true, nil
	case <-s.ctx.Done():
	case <-s.handler.closing:
	}
	return nil, false, errEnded
}

// wholeStory reports whether past has all that there is to know of a topic: it can only be sure of a topic that is one
// job's own.
func wholeStory(topic string, past []item) bool {
	opened := false
	for _, it := range past {
		if st := it.event.Status; st != nil {
			if topic != "job:"+st.JobID {
				return false
			}
			opened = opened || opensRound(st) || firstRun(st)
		}
	}
	return opened
}

// compose puts together what a new viewer sees of a topic. Of a job whose current round the log holds from its beginning,
// it is the log and then the row, if that is newer; of any other the row, and then what the log has after it. After a
// gap it is the rows first for all of them.
func (s *stream) compose(topic int, rows []worker.Status, past []item, gap bool) []item {
	stories := make(map[string]*story)
	for i, it := range past {
		if st := it.event.Status; st != nil {
			tell := stories[st.JobID]
			if tell == nil {
				tell = &story{}
				stories[st.JobID] = tell
			}
			tell.add(i, st, gap)
		}
	}
	items := make([]item, 0, len(rows)+len(past))
	var later []item
	for _, row := range snapshotItems(topic, rows) {
		st := row.event.Status
		tell := stories[st.JobID]
		switch {
		case tell == nil:
			if !s.early(topic, st, nil, nil) {
				items = append(items, row)
			}
		case s.early(topic, st, tell.newest, nil):
			tell.shorten()
		case tell.whole:
			later = append(later, row)
		default:
			tell.row = st
			items = append(items, row)
		}
	}
	for i, it := range past {
		if st := it.event.Status; st != nil && stories[st.JobID].skips(i, st) {
			it.event.Status, it.event.CaughtUp = nil, true
		}
		items = append(items, it)
	}
	return append(items, later...)
}

// story is what the log holds of one job.
type story struct {
	begin  int            // the index of the first event to show
	end    int            // the index of the last
	whole  bool           // the first opened the job's current round
	newest *worker.Status // the last
	row    *worker.Status // what is shown before it
}

func (y *story) add(i int, st *worker.Status, gap bool) {
	if y.newest == nil {
		y.begin = i
	}
	if !gap && (opensRound(st) || firstRun(st) && (!y.whole || y.newest.State.Final())) {
		y.begin, y.whole = i, true
	}
	y.end, y.newest = i, st
}

// shorten leaves only the last event of a story without a beginning: it stands in for the row.
func (y *story) shorten() {
	if !y.whole {
		y.begin = y.end
	}
}

// skips reports whether the event at i is of an earlier round, or covered by what is shown before.
func (y *story) skips(i int, st *worker.Status) bool { return i < y.begin || !newer(st, y.row) }

// addRows adds the rows of topics that a viewer who came back has missed nothing of: they tell whether all is over.
func (s *stream) addRows(missed []item) ([]item, error) {
	told := make([]bool, len(s.topics))
	for _, it := range missed {
		told[it.topic] = told[it.topic] || it.event.Status != nil
	}
	for i := range s.topics {
		if told[i] || s.places[i].position == "" || s.handler.snapshots == nil {
			continue
		}
		rows, owed, err := s.snapshot(i)
		if err != nil {
			return nil, err
		}
		p := &s.places[i]
		p.owed, p.check = p.owed || owed, p.check || owed
		missed = append(missed, snapshotItems(i, s.settled(i, rows))...)
	}
	return missed, nil
}

// nothingNew reports whether a viewer who has seen the end of all jobs would see nothing but that again. While it is owed a
// snapshot nobody can say so.
func (s *stream) nothingNew(missed []item) bool {
	for i := range s.places {
		if s.places[i].owed {
			return false
		}
	}
	for _, it := range missed {
		st, fromLog := it.event.Status, it.event.Position != ""
		if it.event.Plain != nil || st != nil && (fromLog || !st.State.Final()) {
			return false
		}
	}
	return true
}
