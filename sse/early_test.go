package sse_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

// young makes statuses of this moment.
func young(statuses ...worker.Status) []worker.Status {
	for i := range statuses {
		statuses[i].At = time.Now()
	}
	return statuses
}

// A viewer who comes between a save and its announcement misses no state for it.
func TestRowThatIsAheadOfItsAnnouncement(t *testing.T) {
	for _, topic := range []string{"job:a", "image:7"} {
		for told := range 4 {
			synctest.Test(t, func(t *testing.T) {
				rows := &table{}
				s := open(t, sse.Config{Encode: brief, Snapshot: rows.read, EndAfterFinal: true})
				all := on(topic, young(life("a")...)...)
				rows.set(append(on(topic, status("old", 1, final, 0)), all[3])...)
				s.tell(all[:told]...)
				v := s.view("topic="+topic, "")
				if topic != "job:a" || told == 0 { // otherwise the log has it all
					v.readsNow("old 1.3.0")
				}
				v.readsNow(texts(all[:told]...)...)
				synctest.Wait()
				s.tell(all[told:]...)
				v.readsNow(texts(all[told:]...)...)
				v.ends()
			})
		}
	}
}

func TestRowWhoseAnnouncementWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		rows.set(append(on("t", status("old", 1, final, 0)), young(status("a", 1, running, 1))...)...)
		v := s.view("topic=t", "")
		v.readsNow("old 1.3.0")
		begun := time.Now()
		v.reads("a 1.1.1")
		assert.LessOrEqual(t, time.Since(begun), 2*time.Second)
		for i := range int64(20) { // always young, never announced
			begun = time.Now()
			rows.set(young(status("a", 1, running, i+2))...)
			m := v.next()
			assert.Equal(t, text(status("a", 1, running, i+2)), m.data)
			assert.LessOrEqual(t, time.Since(begun), 17*time.Second)
		}
	})
}

// Where the log has lost a job's beginning, what it has last stands in for a row that is ahead of it.
func TestLogThatIsBehindAndShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		all := on("t", young(status("a", 1, running, 5), status("a", 1, running, 6), status("a", 1, running, 7))...)
		s.tell(all[:2]...)
		rows.set(all[2])
		v := s.view("topic=t", "")
		v.readsNow("a 1.1.6")
		synctest.Wait()
		s.tell(all[2])
		v.readsNow("a 1.1.7")
	})
}

// A viewer who saw the end of a round comes back just after the next one was opened.
func TestRowOfANewRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read})
		failed := status("a", 1, final, 0)
		failed.State = worker.StateFailed
		for _, told := range []bool{false, true} {
			if told {
				s.tell(failed)
			}
			rows.set(failed)
			v := s.view("topic=job:a", "")
			v.readsNow("a 1.3.0")
			v.ends()
			rows.set(young(status("a", 2, waiting, 0))...)
			v = s.view("topic=job:a", v.id)
			v.reads("a 2.0.0")
		}
	})
}

// A row that was kept back and is then gone, as it was deleted or nobody is to see it any more, holds up no end.
func TestRowThatWentAwayWhileItWasKeptBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, EndAfterFinal: true, Snapshot: rows.read})
		old := on("user:1", status("old", 1, final, 0))
		rows.set(append(old, on("user:1", young(status("a", 1, running, 1))...)...)...)
		v := s.view("topic=user:1", "")
		v.readsNow("old 1.3.0")
		synctest.Wait()
		rows.set(old...)
		begun := time.Now()
		v.ends()
		assert.LessOrEqual(t, time.Since(begun), 2*time.Second)
		finished(t, s, "topic=user:1", v.id)
	})
}
