package redisqueue_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// notExecuted are the answers of a server that did nothing.
var notExecuted = []string{
	"READONLY You can't write against a read only replica.",
	"LOADING Redis is loading the dataset in memory",
	"CLUSTERDOWN The cluster is down",
	"TRYAGAIN Multiple keys request during rehashing of slot",
	"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
	"OOM command not allowed when used memory > 'maxmemory'.",
	"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
	"NOREPLICAS Not enough good replicas to write.",
	"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
}

// stage is a queue on which every operation has something to do: a session that holds "held", the waiting jobs "waiting"
// and "canceled", which is marked, and "dead".
type stage struct {
	*server
	queue   *redisqueue.Queue
	session worker.Consumer
	held    *worker.Job
	waiting *worker.Job
}

func newStage(t *testing.T, s *server) *stage {
	cfg, _ := quiet()
	cfg.Lease, cfg.Grace = time.Hour, time.Hour // the heartbeat is a test of its own
	st := &stage{server: s, queue: s.queue(cfg)}
	for _, source := range redisqueue.Scripts() {
		s.ok("SCRIPT", "LOAD", source) // else the first reply would be that it is missing
	}
	st.session = open(t, st.queue, 0)
	all := named(t, "dead", "held", "waiting", "canceled")
	all[1].Unique, all[2].Unique = &worker.Unique{Key: "one"}, &worker.Unique{Key: "another"}
	st.waiting = enqueue(t, st.queue, all...)[2]
	jobs := claim(t, st.session, 2)
	settle(t, st.session, worker.ActionBury, jobs[0])
	st.held = jobs[1]
	mark(t, st.queue, "canceled")
	return st
}

// operations are all that is asked of Redis, but for the heartbeat and the end of a session. Each can be repeated.
var operations = []struct {
	name string
	run  func(ctx context.Context, t *testing.T, s *stage) error
}{
	{"enqueue", func(ctx context.Context, t *testing.T, s *stage) error {
		return s.queue.Enqueue(ctx, named(t, "new")...)
	}},
	{"consume", func(ctx context.Context, _ *testing.T, s *stage) error {
		c, err := s.queue.Consume(ctx, "default", worker.ConsumeOptions{})
		if err == nil {
			s.t.Cleanup(func() { _ = c.Close(context.Background()) })
		}
		return err
	}},
	{"edit", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Edit(ctx, s.waiting, s.waiting, worker.MoveToTime)
		return err
	}},
	{"claim", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.session.Claim(ctx, worker.ClaimOptions{Limit: 9})
		return err
	}},
	{"wait", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.session.Claim(ctx, worker.ClaimOptions{Wait: 10 * time.Millisecond})
		return err
	}},
	{"wake", func(ctx context.Context, _ *testing.T, s *stage) error {
		return s.session.(worker.Waker).Wake(ctx)
	}},
	{"checkpoint", func(ctx context.Context, _ *testing.T, s *stage) error {
		return s.session.(worker.Checkpointer).Checkpoint(ctx, s.held, []byte("1"))
	}},
	{"settle", func(ctx context.Context, _ *testing.T, s *stage) error {
		return s.session.Settle(ctx, verdicts(worker.ActionRetry, s.held)...)
	}},
	{"mark a cancel", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.MarkCanceled(ctx, "default", "waiting")
		return err
	}},
	{"remove what is canceled", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.RemoveCanceled(ctx, "default", "canceled")
		return err
	}},
	{"draw a token", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, _, err := s.queue.DrawToken(ctx, "default", "dead")
		return err
	}},
	{"reopen", func(ctx context.Context, t *testing.T, s *stage) error {
		return s.queue.Reopen(ctx, named(t, "dead")[0])
	}},
	{"last tick", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, _, err := s.queue.LastTick(ctx, "default", "s", time.UnixMilli(1))
		return err
	}},
	{"enqueue tick", func(ctx context.Context, t *testing.T, s *stage) error {
		_, err := s.queue.EnqueueTick(ctx, "s", time.UnixMilli(2), newJob(t))
		return err
	}},
	{"know", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Know(ctx, "default", "waiting", "nobody")
		return err
	}},
	{"free a unique key", func(ctx context.Context, _ *testing.T, s *stage) error {
		return s.session.(worker.Unlocker).Unlock(ctx, s.held)
	}},
	{"look for unique keys", func(ctx context.Context, t *testing.T, s *stage) error {
		job := newJob(t, worker.UniqueBy("one", worker.UniquePolicy{Replace: true}))
		_, err := s.queue.Holders(ctx, job)
		return err
	}},
	{"replace", func(ctx context.Context, t *testing.T, s *stage) error {
		before := newJob(t, worker.UniqueBy("another", worker.UniquePolicy{Replace: true}))
		holders, err := s.queue.Holders(ctx, before)
		if err != nil {
			return err
		}
		_, _, err = s.queue.Replace(ctx, holders[0].Job, holders[0].Job)
		return err
	}},
	{"release a unique key", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.ReleaseUnique(ctx, "default", "another")
		return err
	}},
	{"pause", func(ctx context.Context, _ *testing.T, s *stage) error {
		return s.queue.Pause(ctx, "default")
	}},
	{"resume", func(ctx context.Context, _ *testing.T, s *stage) error {
		return s.queue.Resume(ctx, "default")
	}},
	{"stats", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Stats(ctx, "default")
		return err
	}},
	{"list queues", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Queues(ctx)
		return err
	}},
	{"activity", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Activity(ctx, "default")
		return err
	}},
	{"list", func(ctx context.Context, _ *testing.T, s *stage) error {
		var errs []error
		for _, place := range []worker.Place{worker.PlaceWaiting, worker.PlaceScheduled, worker.PlaceHeld, worker.PlaceDead} {
			_, err := s.queue.List(ctx, "default", worker.ListOptions{Place: place})
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}},
	{"find", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Find(ctx, "default", "waiting")
		return err
	}},
	{"forget", func(ctx context.Context, _ *testing.T, s *stage) error {
		_, err := s.queue.Forget(ctx, "default", "dead", "waiting")
		return err
	}},
}

// A server that says one of these has done nothing: every operation says so, has changed nothing, and succeeds when it
// is repeated later.
func TestWhatTheServerRefusesIsNotDone(t *testing.T) {
	for _, text := range notExecuted {
		for _, o := range operations {
			t.Run(text[:6]+" "+o.name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, s *server) {
					st := newStage(t, s)
					before := s.mini.Dump()
					s.mini.SetError(text)
					for range 3 {
						err := o.run(context.Background(), t, st)
						require.ErrorIs(t, err, worker.ErrRefused)
						require.NotErrorIs(t, err, worker.ErrLeaseLost)
						require.ErrorContains(t, err, text)
					}
					s.mini.SetError("")
					require.Equal(t, before, s.mini.Dump())
					require.NoError(t, o.run(context.Background(), t, st))
					time.Sleep(time.Minute)
					requireNotLost(t, st.session)
				})
			})
		}
	}
}

// When the connection ends before the reply is there, or nobody answers, nothing is known: no operation says that it was
// refused, and repeated it does no harm.
func TestWhatIsNotAnsweredIsUnknown(t *testing.T) {
	for _, o := range operations {
		if o.name == "wait" || o.name == "list queues" {
			continue // a connection of its own, and a command that the client repeats by itself
		}
		t.Run(o.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cut, w := wired(s)
				st := newStage(t, cut)
				w.swallow.Store(true)
				err := o.run(context.Background(), t, st)
				require.False(t, w.swallow.Load(), "a reply was lost")
				require.Error(t, err)
				requireUnknown(t, err)
				require.NoError(t, o.run(context.Background(), t, st))
				requireEachInOnePlace(t, s)
			})
		})
	}
}

// On a real server that doesn't answer, calls end by their timeout.
func TestWhatTakesTooLongIsUnknown(t *testing.T) {
	s := onReal(t)
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) {
			st := newHastyStage(t, s)
			s.real.Pause()
			err := o.run(context.Background(), t, st)
			s.real.Resume()
			require.Error(t, err)
			requireUnknown(t, err)
			st.ok("ECHO", "awake")
			require.Eventually(t, func() bool { return o.run(context.Background(), t, st) == nil }, patience, time.Millisecond)
			requireEachInOnePlace(t, s)
		})
	}
}

// newHastyStage is newStage with calls that end soon. A busy machine may be too slow for them before the server stands
// still: then all is made anew.
func newHastyStage(t *testing.T, s *server) *stage {
	t.Helper()
	cfg, _ := quiet()
	cfg.Lease, cfg.Grace, cfg.Timeout = time.Hour, time.Hour, 50*time.Millisecond
	for deadline := time.Now().Add(patience); ; {
		s.ok("FLUSHALL")
		st := newStage(t, s)
		enqueue(t, st.queue, named(t, "of the hasty one")...)
		s.ok("LMOVE", key("pending"), key("pending"), "RIGHT", "LEFT")
		st.queue = s.queue(cfg)
		err := st.holdInHaste(t)
		if err == nil {
			return st
		}
		require.True(t, time.Now().Before(deadline), err)
	}
}

// holdInHaste makes the stage's session another one that holds one job.
func (st *stage) holdInHaste(t *testing.T) error {
	t.Helper()
	c, err := st.queue.Consume(context.Background(), "default", worker.ConsumeOptions{})
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	jobs, err := c.Claim(context.Background(), worker.ClaimOptions{Limit: 1})
	if err == nil {
		require.Len(t, jobs, 1)
		st.session, st.held = c, jobs[0]
	}
	return err
}

func requireUnknown(t *testing.T, err error) {
	t.Helper()
	require.NotErrorIs(t, err, worker.ErrRefused)
	require.NotErrorIs(t, err, worker.ErrLeaseLost)
	require.False(t, errors.As(err, new(*worker.FinishedError)))
}

// requireEachInOnePlace fails the test unless each job with a body is in exactly one place.
func requireEachInOnePlace(t *testing.T, s *server) {
	t.Helper()
	accounted(t, s, keysOf(s.hash("jobs"))...)
}

// Whatever the server refuses for how long, a session goes on as soon as it no longer does.
func TestAHeartbeatOutlastsRefusals(t *testing.T) {
	for _, text := range notExecuted {
		t.Run(text[:6], func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				cfg, book := watched()
				q := s.queue(cfg)
				c := open(t, q, 0)
				enqueue(t, q, named(t, "a")...)
				job := claim(t, c, 1)[0]
				s.mini.SetError(text)
				time.Sleep(time.Minute)
				s.mini.SetError("")
				time.Sleep(time.Minute)
				requireNotLost(t, c)
				require.Empty(t, book.told(t))
				require.Equal(t, 1, book.count("lease cannot be renewed"))
				settle(t, c, worker.ActionComplete, job)
				accounted(t, s)
			})
		})
	}
}

// Close goes on until its time is up.
func TestCloseOutlastsRefusals(t *testing.T) {
	for _, text := range notExecuted {
		t.Run(text[:6], func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				st := newStage(t, s)
				s.mini.SetError(text)
				time.AfterFunc(5*time.Second, func() { s.mini.SetError("") })
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				require.NoError(t, st.session.Close(ctx))
				require.Equal(t, "held", s.list("pending")[0])
			})
		})
	}
}

// Every script that there is has been sent with a deadline; s.queue sees to it in all other tests as well.
func TestEveryScriptHasADeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		st := newStage(t, s)
		for _, o := range operations {
			require.NoError(t, o.run(context.Background(), t, st), o.name)
		}
		cfg, _ := quiet()
		cfg.WaitReplicas = 1
		watched := []func(string) bool{s.watched.Seen}
		q := s.queue(cfg)
		watched = append(watched, s.watched.Seen)
		require.Error(t, q.Enqueue(context.Background(), newJob(t)))
		open(t, q, 0)
		time.Sleep(2 * time.Minute) // a heartbeat, and a look for dead jobs
		require.NoError(t, st.session.Close(context.Background()))
		for sha, source := range redisqueue.Scripts() {
			seen := watched[0]("EVALSHA "+sha) || watched[1]("EVALSHA "+sha) || watched[1]("EVAL "+source)
			require.True(t, seen, source)
		}
		require.True(t, watched[0]("BLPOP"))
		require.True(t, watched[0]("CONFIG GET"))
		require.True(t, watched[1]("WAIT"))
	})
}
