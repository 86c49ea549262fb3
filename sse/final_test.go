package sse_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

func finished(t *testing.T, s *site, query, id string) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, s.get(query, id).code)
}

func TestStreamEndsAfterTheFinalState(t *testing.T) {
	s := open(t, sse.Config{Encode: brief, EndAfterFinal: true})
	all := life("a")
	s.tell(all[0])
	v := s.view("topic=job:a", "")
	v.reads(text(all[0]))
	s.tell(all[1:]...)
	v.reads(texts(all[1:]...)...)
	v.ends()
	finished(t, s, "topic=job:a", v.id)
}

func TestViewerOfAFinishedJobSeesHowItEnded(t *testing.T) {
	s := open(t, sse.Config{Encode: brief, EndAfterFinal: true})
	s.tell(life("a")...)
	v := s.view("topic=job:a", "")
	v.reads(texts(life("a")...)...)
	v.ends()
	finished(t, s, "topic=job:a", v.id)
}

func TestFinishedJobThatTheLogHasForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		rows.set(status("a", 1, final, 0))
		s := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read})
		v := s.view("topic=job:a", "")
		v.readsNow("a 1.3.0")
		v.ends()
		finished(t, s, "topic=job:a", v.id)
		rows.set(status("a", 2, waiting, 0)) // requeued
		v = s.view("topic=job:a", v.id)
		v.readsNow("a 2.0.0")
		s.tell(status("a", 3, final, 0))
		v.readsNow("a 3.3.0")
		v.ends()
	})
}

// Whoever comes back after the end is not told that all is over while nobody can say so, nor when it isn't.
func TestNoEndIsToldWhileASnapshotIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		rows.set(status("a", 1, final, 0))
		s := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read})
		s.tell(life("a")...)
		v := s.view("topic=job:a", "")
		v.readsNow(texts(life("a")...)...)
		v.ends()
		finished(t, s, "topic=job:a", v.id)

		rows.set(status("a", 2, waiting, 0)) // requeued, and nobody was told
		rows.fails = 1
		v = s.view("topic=job:a", v.id)
		v.reads("a 2.0.0")

		lost := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read}) // the log
		rows.fails = 1
		v = lost.view("topic=job:a", v.id)
		v.reads("a 2.0.0")
	})
}

func TestViewerWhoWasAwayAtTheEndSeesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read})
		all := life("a")
		s.tell(all[:2]...)
		v := s.view("topic=job:a", "")
		v.readsNow(texts(all[:2]...)...)
		v.body.Close()
		rows.set(all[3]) // of which the notifier was not told
		v = s.view("topic=job:a", v.id)
		v.readsNow(text(all[3]))
		v.ends()
		finished(t, s, "topic=job:a", v.id)
	})
}

func TestStreamOfSeveralJobsEndsAfterTheLast(t *testing.T) {
	s := open(t, sse.Config{Encode: brief, EndAfterFinal: true})
	v := s.view("topic=job:a&topic=job:b", "")
	s.tell(life("a")...)
	v.reads(texts(life("a")...)...)
	s.tell(life("b")...)
	v.reads(texts(life("b")...)...)
	v.ends()
	finished(t, s, "topic=job:a&topic=job:b", v.id)
	s.tell(on("job:a", status("late", 1, final, 0))...)
	more := s.view("topic=job:a&topic=job:b", v.id)
	more.reads("late 1.3.0")
	finished(t, s, "topic=job:b", v.id)
	s.recorder.Publish("job:b", []byte("news"))
	s.view("topic=job:b", v.id).reads("news")
	again := s.view("topic=job:a&topic=job:c", v.id)
	again.reads("late 1.3.0")
	s.tell(life("c")...)
	again.reads(texts(life("c")...)...)
}

func TestFinalStateThatIsSkippedEndsTheStream(t *testing.T) {
	s := open(t, sse.Config{EndAfterFinal: true, Encode: func(e worker.Event) (sse.Message, bool) {
		m, _ := brief(e)
		return m, !e.Status.State.Final()
	}})
	s.tell(life("a")...)
	v := s.view("topic=job:a", "")
	v.reads(texts(life("a")[:3]...)...)
	v.ends()
	finished(t, s, "topic=job:a", v.id)
}

func TestShutdownBeforeTheStreamBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := newScript()
		s := openOver(t, sub, nil, sse.Config{EndAfterFinal: true})
		go func() {
			<-sub.after
			s.handler.Shutdown()
		}()
		s.view("topic=a", "").ends()
	})
}

func TestSubscriptionThatEndsBeforeTheStreamBegan(t *testing.T) {
	closed := make(chan worker.Event)
	close(closed)
	s := openOver(t, subscriberFunc(func(context.Context, string, string) (<-chan worker.Event, error) {
		return closed, nil
	}), nil, sse.Config{EndAfterFinal: true})
	assert.Equal(t, http.StatusServiceUnavailable, s.get("topic=a", "").code)
}
