package sse

import (
	"cmp"

	"github.com/real-staging-ai/go-worker"
)

// snapshotItems are the items of rows that are not from the log.
func snapshotItems(topic int, rows []worker.Status) []item {
	items := make([]item, len(rows))
	for i := range rows {
		items[i] = item{topic: topic, event: worker.Event{Status: &rows[i]}}
	}
	return items
}

// deliver sends items, and then the id that says so if no message has.
func (s *stream) deliver(items []item) error {
	for len(items) > 0 {
		select {
		case <-s.handler.closing:
			return errEnded
		default:
		}
		it := items[0]
		items = items[1:]
		for len(items) > 0 && items[0].event.CaughtUp && items[0].topic == it.topic { // without a message of its own
			it.event.Position = cmp.Or(items[0].event.Position, it.event.Position)
			items = items[1:]
		}
		if err := s.show(it, len(items) == 0); err != nil {
			return err
		}
	}
	return s.tell(s.id(true))
}

// show sends the message of one item, if it has one that is new. The last of a batch is flushed.
func (s *stream) show(it item, last bool) error {
	p, e := &s.places[it.topic], it.event
	if e.Position != "" {
		p.position = e.Position
	}
	switch {
	case e.Reset:
		return s.reset(it)
	case e.CaughtUp, e.Status != nil && !s.jobs.record(it.topic, e.Status):
		return nil
	case e.Status != nil:
		p.arrived(e.Status)
	}
	m, ok := s.config.Encode(e)
	if !ok || e.Status != nil && s.jobs.repeats(e.Status.JobID, m) {
		return nil
	}
	return s.send(m, s.id(last), !last)
}

// reset mends a gap with a snapshot. Without snapshots the viewer starts over: an id that is empty makes it forget its
// place, and it comes back to read all that the log holds.
func (s *stream) reset(it item) error {
	if s.handler.snapshots != nil {
		p := &s.places[it.topic]
		p.position, p.owed, p.check = it.event.Position, true, true
		return nil
	}
	if err := s.out.write([]byte("id\n\n"), false); err != nil {
		return err
	}
	return errEnded
}

// endIfFinal ends the stream when that is asked for and nothing more is expected.
func (s *stream) endIfFinal() error {
	if !s.over() {
		return nil
	}
	if err := s.tell(s.id(true)); err != nil {
		return err
	}
	return errEnded
}

func (s *stream) over() bool {
	return s.config.EndAfterFinal && s.jobs.finished() && !s.awaits()
}

// id says where the viewer is; topics that it is owed a snapshot of are not in it. With the last of a batch it may say
// that all is over.
func (s *stream) id(last bool) string {
	positions := make([]string, len(s.places))
	for i := range s.places {
		if !s.places[i].owed {
			positions[i] = s.places[i].position
		}
	}
	return formatID(s.topics, positions, last && s.over())
}

// tell sends an id without a message, which pages don't see, unless it was the last that was sent.
func (s *stream) tell(id string) error {
	if id == s.told || id == "" {
		return s.out.flush()
	}
	s.told = id
	return encoded(
		func(b []byte) []byte { return append(appendID(b, id), '\n') },
		func(b []byte) error { return s.out.write(b, false) })
}

// send sends a message; with more to come it may wait for that.
func (s *stream) send(m Message, id string, more bool) error {
	s.told = id
	return encoded(
		func(b []byte) []byte { return appendMessage(b, id, m) },
		func(b []byte) error { return s.out.write(b, more) })
}
