package sse_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

// goneID is the id of a place in the topic "job:a" that its log doesn't have: one of a longer log.
func goneID(t *testing.T) string {
	t.Helper()
	s := open(t, sse.Config{Encode: brief})
	for i := range int64(9) {
		s.tell(on("job:a", status("z", 1, running, i))...)
	}
	v := s.view("topic=job:a", "")
	for range 9 {
		v.next()
	}
	return v.id
}

func TestLostPlaceIsMendedByASnapshot(t *testing.T) {
	id := goneID(t)
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		all := life("a")
		s.tell(all[:3]...)
		rows.set(all[2])
		v := s.view("topic=job:a", id)
		v.readsNow(text(all[2]))
		s.tell(all[3])
		v.readsNow(text(all[3]))
	})
}

// A viewer who saw the job run does not see it wait again, though the log has it all.
func TestLostPlaceWithAWholeLog(t *testing.T) {
	id := goneID(t)
	synctest.Test(t, func(t *testing.T) {
		rows, sub := &table{}, newScript()
		s := openOver(t, sub, nil, sse.Config{Encode: brief, Snapshot: rows.read})
		all := life("a")
		sub.events <- worker.Event{Reset: true}
		sub.send("10", all[0])
		sub.send("11", all[1])
		sub.send("12", all[3])
		sub.events <- worker.Event{CaughtUp: true, Position: "12"}
		rows.set(all[2])
		s.view("topic=job:a", id).readsNow(text(all[2]), text(all[3]))
	})
}

func TestLostPlaceWithoutSnapshotsIsMendedFromTheLog(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	s.tell(life("a")...)
	s.view("topic=job:a", goneID(t)).reads(texts(life("a")...)...)
}

// script is a Subscriber whose events a test sends one by one.
type script struct {
	events chan worker.Event
	after  chan string
}

func newScript() *script {
	return &script{events: make(chan worker.Event, 10), after: make(chan string, 10)}
}

func (s *script) Subscribe(_ context.Context, _, after string) (<-chan worker.Event, error) {
	s.after <- after
	return s.events, nil
}

func (s *script) send(position string, st worker.Status) {
	s.events <- worker.Event{Position: position, Status: &st}
}

func TestGapInAnOpenStreamIsMendedByASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows, sub := &table{}, newScript()
		s := openOver(t, sub, nil, sse.Config{Encode: brief, Snapshot: rows.read})
		all := life("a")
		rows.set(all[0])
		sub.events <- worker.Event{CaughtUp: true, Position: "1"}
		v := s.view("topic=t", "")
		v.readsNow(text(all[0]))
		rows.set(all[2])
		sub.events <- worker.Event{Reset: true, Position: "7"}
		v.readsNow(text(all[2]))
		sub.send("8", all[3])
		m := v.next()
		assert.Equal(t, text(all[3]), m.data)
		assert.Regexp(t, ":8$", m.id)
	})
}

func TestGapInAnOpenStreamWithoutSnapshotsMakesTheViewerStartOver(t *testing.T) {
	sub := newScript()
	s := openOver(t, sub, nil, sse.Config{Encode: brief})
	sub.send("1", status("a", 0, waiting, 0))
	sub.events <- worker.Event{CaughtUp: true, Position: "1"}
	v := s.view("topic=job:a", "")
	v.reads("a 0.0.0")
	require.NotEmpty(t, v.id)
	sub.events <- worker.Event{Reset: true}
	v.ends()
	assert.Empty(t, v.id)
}

func TestSubscriptionThatEndsEndsTheStream(t *testing.T) {
	sub := newScript()
	s := openOver(t, sub, nil, sse.Config{Encode: brief})
	sub.events <- worker.Event{CaughtUp: true}
	sub.send("1", status("a", 0, waiting, 0))
	close(sub.events)
	v := s.view("topic=job:a", "")
	v.reads("a 0.0.0")
	v.ends()
}

func TestPositionThatTheSubscriberRefuses(t *testing.T) {
	s := open(t, sse.Config{})
	recorder := s.recorder
	picky := subscriberFunc(func(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
		if after != "" {
			return nil, errors.New("no such position")
		}
		return recorder.Subscribe(ctx, topic, after)
	})
	s = openOver(t, picky, recorder, sse.Config{Encode: brief})
	s.tell(life("a")...)
	s.view("topic=job:a", goneID(t)).reads(texts(life("a")...)...)
}
