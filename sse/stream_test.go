package sse_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

func TestStreamShowsWhatIsNew(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	v := s.view("topic=job:a", "")
	all := life("a")
	for _, st := range all {
		s.tell(st)
		v.reads(text(st))
	}
}

func TestStreamShowsWhatTheLogHolds(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	all := life("a")
	s.tell(all[:3]...)
	v := s.view("topic=job:a", "")
	v.reads(texts(all[:3]...)...)
	s.tell(all[3])
	v.reads(text(all[3]))
}

func TestStreamResumes(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	all := life("a")
	s.tell(all[0])
	v := s.view("topic=job:a", "")
	v.reads(text(all[0]))
	v.body.Close()
	s.tell(all[1:]...)
	s.view("topic=job:a", v.id).reads(texts(all[1:]...)...)
	s.view("topic=job:a&lastEventId="+v.id, "").reads(texts(all[1:]...)...)
}

func TestBadLastEventIDCountsAsNone(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	s.tell(life("a")...)
	for _, id := range []string{"x", "1", ",", ":", "end", "abc:1,end,end", "x:%zz", "x:\xff", strings.Repeat("9", 9000)} {
		s.view("topic=job:a", id).reads(texts(life("a")...)...)
	}
}

func TestMessageLinesStandInOrder(t *testing.T) {
	s := open(t, sse.Config{Connected: func(topics []string) sse.Message {
		return sse.Message{Event: "connected", Data: []byte(strings.Join(topics, " "))}
	}})
	v := s.view("topic=job:a&topic=job:b&topic=job:a", "")
	b, err := v.block()
	require.NoError(t, err)
	assert.Equal(t, block{"event: connected", "data: job:a job:b"}, b)
	st := status("a", 1, running, 0)
	s.tell(st)
	b, err = v.block()
	require.NoError(t, err)
	require.Len(t, b, 3)
	assert.Regexp(t, `^id: \w+:1$`, b[0])
	assert.Equal(t, "event: status", b[1])
	got := worker.Status{}
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(b[2], "data: ")), &got))
	assert.Equal(t, st, got)
}

func TestSeveralTopicsResumeEachInItsPlace(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	a, b := life("a"), life("b")
	v := s.view("topic=job:a&topic=job:b", "")
	for _, st := range []worker.Status{a[0], b[0], a[1]} {
		s.tell(st)
		v.reads(text(st))
	}
	v.body.Close()
	s.tell(b[1], a[2])
	again := s.view("topic=job:b&topic=job:c&topic=job:a", v.id) // in another order, and one more
	got := []string{again.next().data, again.next().data}
	assert.ElementsMatch(t, texts(b[1], a[2]), got)
}

func TestSnapshotStandsInForWhatTheLogHasLost(t *testing.T) {
	rows := on("user:1", status("lost", 3, final, 0), status("a", 1, running, 2), status("b", 4, running, 7))
	s := open(t, sse.Config{Encode: brief, Snapshot: func(context.Context, string) ([]worker.Status, error) {
		return rows, nil
	}})
	s.tell(on("user:1",
		status("a", 0, waiting, 0), status("a", 1, running, 0), // from its beginning: the log, then the newer row
		status("b", 4, running, 6), status("b", 4, running, 8), // its beginning is lost: the row, and what is after it
		status("c", 2, running, 1), // no row
	)...)
	v := s.view("topic=user:1", "")
	v.reads("lost 3.3.0", "b 4.1.7", "a 0.0.0", "a 1.1.0", "b 4.1.8", "c 2.1.1", "a 1.1.2")
	s.tell(on("user:1", status("a", 1, running, 1), status("b", 4, final, 0))...)
	v.reads("b 4.3.0")
	v.body.Close()
	s.tell(on("user:1", status("c", 2, final, 0))...)
	s.view("topic=user:1", v.id).reads("c 2.3.0")
}

func TestSnapshotOfAJobWhoseLogIsWholeIsNotRead(t *testing.T) {
	s := open(t, sse.Config{Encode: brief, Snapshot: func(context.Context, string) ([]worker.Status, error) {
		panic("read")
	}})
	all := life("a")
	s.tell(all[0])
	v := s.view("topic=job:a", "")
	v.reads(text(all[0]))
	s.tell(all[1])
	v.reads(text(all[1]))
}

// begun is a life whose producer told too late that the job waits, after its worker had told that it runs.
func begun(job string) []worker.Status {
	all := life(job)[1:]
	for i := range all {
		all[i].Attempt = 1
	}
	return all
}

func TestLogThatBeginsWithTheFirstRunIsWhole(t *testing.T) {
	rows := &table{}
	s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
	all := begun("a")
	rows.set(all[2])
	s.tell(all...)
	s.view("topic=job:a", "").reads(texts(all...)...)
	assert.Zero(t, rows.reads)

	s.tell(on("user:1", begun("b")...)...)
	rows.set(on("user:1", begun("b")...)[2])
	s.view("topic=user:1", "").reads(texts(begun("b")...)...)
}

// A first run does not hide that the job waited, but one that follows an end does: it is another round.
func TestFirstRunIsOnlyABeginningWhereThereIsNone(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	waits, runs := status("a", 0, waiting, 0), status("a", 1, running, 0)
	runs.Attempt = 1
	failed, again := status("a", 1, final, 0), status("a", 9, running, 0)
	failed.State, again.Attempt = worker.StateFailed, 1
	s.tell(waits, runs)
	s.view("topic=job:a", "").reads(texts(waits, runs)...)
	s.tell(failed, again)
	s.view("topic=job:a", "").reads(text(again))
}

func TestNewViewerSeesTheCurrentRoundOnly(t *testing.T) {
	s := open(t, sse.Config{Encode: brief})
	failed := status("a", 1, final, 0)
	failed.State = worker.StateFailed
	s.tell(status("a", 0, waiting, 0), status("a", 1, running, 0), failed)
	v := s.view("topic=job:a", "")
	v.reads("a 0.0.0", "a 1.1.0", "a 1.3.0")
	s.tell(status("a", 2, waiting, 0), status("a", 3, running, 0))
	v.reads("a 2.0.0", "a 3.1.0")
	s.view("topic=job:a", "").reads("a 2.0.0", "a 3.1.0")
}

func TestEqualMessagesAreSentOnce(t *testing.T) {
	s := open(t, sse.Config{Encode: func(e worker.Event) (sse.Message, bool) {
		return sse.Message{Event: e.Status.JobID, Data: []byte(e.Status.State)}, e.Status.State != worker.StateRetrying
	}})
	v := s.view("topic=t", "")
	s.tell(on("t", status("a", 1, running, 0), status("b", 2, running, 0), status("a", 1, running, 1),
		status("b", 2, putBack, 0), status("a", 1, final, 0))...)
	for _, want := range []string{"a running", "b running", "a succeeded"} {
		m := v.next()
		require.Equal(t, want, m.event+" "+m.data)
	}
}

func TestPlainMessagesPass(t *testing.T) {
	s := open(t, sse.Config{})
	v := s.view("topic=t", "")
	for range 2 {
		s.recorder.Publish("t", []byte("a\r\nb\rc\n"))
		m := v.next()
		assert.Equal(t, "a\nb\nc\n", m.data)
		assert.Empty(t, m.event)
	}
	s.recorder.Publish("t", []byte{})
	assert.Empty(t, v.next().data)
}

func TestRefusedJobMayBeEnqueuedAgain(t *testing.T) {
	refused := status("a", 0, final, 0)
	refused.State = worker.StateFailed
	events := make(chan worker.Event, 3)
	fake := subscriberFunc(func(context.Context, string, string) (<-chan worker.Event, error) { return events, nil })
	s := openOver(t, fake, nil, sse.Config{Encode: brief})
	queued := status("a", 0, waiting, 0)
	events <- worker.Event{CaughtUp: true}
	events <- worker.Event{Status: &refused, Position: "1"}
	events <- worker.Event{Status: &queued, Position: "2"}
	s.view("topic=job:a", "").reads("a 0.3.0", "a 0.0.0")
}

// subscriberFunc is a function that is a worker.Subscriber.
type subscriberFunc func(ctx context.Context, topic, after string) (<-chan worker.Event, error)

func (f subscriberFunc) Subscribe(ctx context.Context, topic, after string) (<-chan worker.Event, error) {
	return f(ctx, topic, after)
}

func TestSubscriberThatNeverCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan worker.Event)
		fake := subscriberFunc(func(context.Context, string, string) (<-chan worker.Event, error) { return events, nil })
		s := openOver(t, fake, nil, sse.Config{Encode: brief})
		v := s.view("topic=job:a", "")
		begun := time.Now()
		for _, st := range life("a") {
			events <- worker.Event{Status: &st}
			v.reads(text(st))
		}
		assert.LessOrEqual(t, time.Since(begun), 2*time.Second)
		v.body.Close()
		synctest.Wait()
		assert.Zero(t, s.handler.Streams())
	})
}

// Some parsers make an event of every block: there are none without a message where one can carry the id.
func TestBlocksAreMessages(t *testing.T) {
	rows := &table{}
	rows.set(status("b", 1, running, 0), status("b", 1, running, 1), status("b", 1, final, 0))
	s := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read})
	s.tell(life("a")...)
	s.tell(on("covered", status("b", 1, running, 0))...)
	for topic, want := range map[string]struct {
		blocks   int
		position string
	}{"job:a": {blocks: len(life("a")), position: "4"}, "job:b": {blocks: 3}, "covered": {blocks: 3, position: "1"}} {
		v := s.view("topic="+topic, "")
		blocks, last := 0, ""
		for b, err := v.block(); err == nil; b, err = v.block() {
			assert.Contains(t, b[len(b)-1], "data: ", topic)
			blocks, last = blocks+1, b[0]
		}
		assert.Regexp(t, `^id: \w+:`+want.position+`,end$`, last, topic)
		assert.Equal(t, want.blocks, blocks, topic)
	}
}
