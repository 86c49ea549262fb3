package sse_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

// table is a host's table of statuses.
type table struct {
	delay time.Duration // of each reading
	mu    sync.Mutex
	rows  []worker.Status
	err   error
	fails int // the next readings fail
	reads int
}

func (b *table) set(rows ...worker.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows, b.err = rows, nil
}

func (b *table) read(ctx context.Context, _ string) ([]worker.Status, error) {
	b.mu.Lock()
	b.reads++
	b.mu.Unlock()
	if b.delay > 0 {
		select {
		case <-time.After(b.delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails > 0 {
		b.fails--
		return nil, errors.New("for a moment")
	}
	return b.rows, b.err
}

func (b *table) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads
}

func TestHeartbeatIsAComment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{Snapshot: (&table{delay: 4 * time.Second}).read}) // which changes nothing
		v := s.view("topic=a", "")
		v.idle(20 * time.Second)
		for range 10 {
			begun := time.Now()
			b, err := v.block()
			require.NoError(t, err)
			assert.Equal(t, block{":"}, b)
			assert.LessOrEqual(t, time.Since(begun), 15*time.Second)
			assert.GreaterOrEqual(t, time.Since(begun), 12*time.Second)
		}
	})
}

func TestHeartbeatMayBeAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{Heartbeat: time.Second, HeartbeatMessage: sse.Message{Event: "beat", Data: []byte("{}")}})
		v := s.view("topic=a", "")
		for range 3 {
			assert.Equal(t, message{event: "beat", data: "{}"}, v.next())
		}
	})
}

func TestHeartbeatFindsWhatTheNotifierLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		all := life("a")
		s.tell(all[0])
		v := s.view("topic=job:a", "")
		v.reads(text(all[0]))
		rows.set(all[2])
		v.reads(text(all[2]))
		s.tell(all[1]) // too late: it has been overtaken
		rows.set(all[3])
		v.reads(text(all[3]))
	})
}

// Jobs that begin where all were over, a requeued and a new one, are found as well, if later: by a minute.
func TestHeartbeatFindsWhatBeganUnheard(t *testing.T) {
	failed := status("a", 1, final, 0)
	failed.State = worker.StateFailed
	for name, c := range map[string]struct{ last, next worker.Status }{
		"requeued": {last: failed, next: status("a", 3, final, 0)},
		"new":      {last: status("a", 1, final, 0), next: status("b", 1, final, 0)},
	} {
		for _, topic := range []string{"job:a", "user:1"} {
			t.Run(name+" on "+topic, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rows := &table{}
					s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
					last := on(topic, status("a", 0, waiting, 0), c.last)
					s.tell(last...)
					rows.set(last[1])
					v := s.view("topic="+topic, "")
					v.reads(texts(last...)...)
					v.idle(5 * time.Minute)
					synctest.Wait() // a reading of this moment has ended
					begun := time.Now()
					rows.set(on(topic, c.last, c.next)...)
					v.reads(text(c.next))
					assert.LessOrEqual(t, time.Since(begun), time.Minute)
				})
			})
		}
	}
}

// Of several topics those with unfinished jobs are looked at in their rhythm, and the others in theirs, also where a
// stream ends with its jobs.
func TestFinishedTopicsAreLookedAtSeldom(t *testing.T) {
	for _, end := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			reads := map[string][]time.Time{}
			s := open(t, sse.Config{Encode: brief, EndAfterFinal: end,
				Snapshot: func(_ context.Context, topic string) ([]worker.Status, error) {
					mu.Lock()
					defer mu.Unlock()
					reads[topic] = append(reads[topic], time.Now())
					return nil, nil
				}})
			s.tell(life("a")...)
			s.tell(life("b")[:2]...)
			v := s.view("topic=job:a&topic=job:b&topic=job:c", "")
			v.reads(append(texts(life("a")...), texts(life("b")[:2]...)...)...)
			begun := time.Now()
			const beats = 40
			v.idle(beats * 15 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			assert.GreaterOrEqual(t, len(reads["job:a"]), beats/4-1)
			for i, at := range reads["job:a"] {
				assert.LessOrEqual(t, at.Sub(begun), time.Minute, "reading %d", i)
				assert.GreaterOrEqual(t, at.Sub(begun), 45*time.Second, "reading %d", i)
				begun = at
			}
			assert.GreaterOrEqual(t, len(reads["job:b"]), beats, "unfinished")
			assert.GreaterOrEqual(t, len(reads["job:c"]), beats, "it has no jobs that are known")
		})
	}
}

func TestViewersOfAFinishedTopicShareSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		s.tell(life("a")...)
		var readers sync.WaitGroup
		const viewers, minutes = 100, 10
		for range viewers {
			v := s.view("topic=job:a", "")
			readers.Go(func() {
				v.reads(texts(life("a")...)...)
				v.idle(minutes * time.Minute)
			})
		}
		readers.Wait()
		assert.LessOrEqual(t, rows.count(), minutes*8+8, "at most two a heartbeat for all of them")
		assert.GreaterOrEqual(t, rows.count(), minutes)
	})
}

func TestViewersShareSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		rows.set(status("a", 1, running, 1))
		const viewers = 100
		var readers sync.WaitGroup
		for range viewers {
			v := s.view("topic=job:a", "")
			readers.Go(func() {
				v.reads("a 1.1.1")
				v.idle(10 * 15 * time.Second)
				_, err := v.block()
				assert.NoError(t, err)
			})
		}
		readers.Wait()
		assert.LessOrEqual(t, rows.count(), viewers+30, "one for each who came, and two a heartbeat for all of them")
		assert.GreaterOrEqual(t, rows.count(), 10)
	})
}

func TestSnapshotThatFailsIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{err: errors.New("no database")}
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		s.tell(status("a", 1, running, 5))
		v := s.view("topic=job:a", "")
		m := v.next()
		assert.Equal(t, "a 1.1.5", m.data)
		assert.Empty(t, m.id, "a viewer who needs a snapshot has no place to come back to")
		v.idle(30 * time.Second)
		synctest.Wait()
		begun := time.Now()
		rows.set(on("job:a", status("a", 1, final, 0))...)
		m = v.next()
		assert.Equal(t, "a 1.3.0", m.data)
		assert.LessOrEqual(t, time.Since(begun), 2*time.Second, "sooner than by heartbeat")
		b, err := v.block()
		require.NoError(t, err)
		assert.Regexp(t, `^id: \w+:1$`, b[0])
	})
}

func TestSnapshotThatFailsOnceIsReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{fails: 1}
		rows.set(status("a", 1, running, 5))
		open(t, sse.Config{Encode: brief, Snapshot: rows.read}).view("topic=job:a", "").readsNow("a 1.1.5")
	})
}

func TestViewersWhoComeTogetherShareSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rows := &table{delay: time.Second}
		rows.set(status("a", 1, running, 5))
		s := open(t, sse.Config{Encode: brief, Snapshot: rows.read})
		begun := time.Now()
		var readers sync.WaitGroup
		for range 50 {
			v := s.view("topic=job:a", "")
			readers.Go(func() { v.reads("a 1.1.5") })
		}
		readers.Wait()
		assert.Equal(t, 2, rows.count(), "one that was under way, and one for those who came later")
		assert.Equal(t, 2*time.Second, time.Since(begun))
	})
}

func TestSnapshotThatHangsHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hang atomic.Bool
		s := open(t, sse.Config{Encode: brief, Snapshot: func(ctx context.Context, _ string) ([]worker.Status, error) {
			if hang.Load() {
				<-ctx.Done()
			}
			return nil, ctx.Err()
		}})
		v := s.view("topic=job:a", "")
		synctest.Wait() // the viewer has its snapshot
		hang.Store(true)
		v.idle(15 * time.Second) // the next one hangs
		begun := time.Now()
		s.tell(status("a", 1, running, 5))
		v.reads("a 1.1.5")
		assert.Zero(t, time.Since(begun))
	})
}

func TestSnapshotThatPanicsIsAFailure(t *testing.T) {
	s := open(t, sse.Config{Encode: brief, Snapshot: func(context.Context, string) ([]worker.Status, error) { panic("oh") }})
	s.tell(status("a", 1, running, 5))
	s.view("topic=job:a", "").reads("a 1.1.5")
}

func TestStreamsEndAtTheirAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{MaxAge: time.Minute})
		ages := map[time.Duration]bool{}
		for range 10 {
			begun := time.Now()
			s.view("topic=a", "").ends()
			assert.GreaterOrEqual(t, time.Since(begun), 48*time.Second)
			assert.LessOrEqual(t, time.Since(begun), time.Minute)
			ages[time.Since(begun)] = true
		}
		assert.Greater(t, len(ages), 1)
	})
}
