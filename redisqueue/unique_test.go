package redisqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

func one(p worker.UniquePolicy) worker.JobOption { return worker.UniqueBy("one", p) }

func (s *server) left(name string) time.Duration {
	s.t.Helper()
	ms, err := s.ok("PTTL", key(name)).AsInt64()
	require.NoError(s.t, err)
	return time.Duration(ms) * time.Millisecond
}

// requireHolder fails the test unless the job is kept out by the holder.
func requireHolder(t *testing.T, err error, holder string) {
	t.Helper()
	found := (*worker.DuplicateError)(nil)
	require.ErrorAs(t, err, &found)
	require.Equal(t, worker.DuplicateError{Key: "one", Holder: holder}, *found)
}

func TestAUniqueKeyIsTheJobsIDForATime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		for name, want := range map[string]struct {
			option worker.JobOption
			policy worker.UniquePolicy
			left   time.Duration
		}{
			"zero":      {nil, worker.UniquePolicy{}, worker.DefaultUniqueFor},
			"for":       {nil, worker.UniquePolicy{For: time.Hour}, time.Hour},
			"delayed":   {worker.After(2 * time.Hour), worker.UniquePolicy{For: time.Hour}, 3 * time.Hour},
			"at a time": {worker.At(time.Now().Add(2 * time.Hour)), worker.UniquePolicy{For: time.Hour}, 3 * time.Hour},
			"past":      {worker.At(time.Now().Add(-time.Hour)), worker.UniquePolicy{For: time.Hour}, time.Hour},
			"period":    {worker.After(2 * time.Hour), worker.UniquePolicy{For: time.Hour, Until: worker.ForPeriod}, time.Hour},
			"for ever":  {worker.After(1<<63 - 1), worker.UniquePolicy{For: worker.MaxUniqueFor}, 101 * worker.MaxUniqueFor},
		} {
			job := newJob(t, want.option, worker.UniqueBy(name, want.policy))
			enqueue(t, q, job)
			require.Equal(t, job.ID, s.text("GET", key("unique:"+name)))
			require.InDelta(t, want.left.Seconds(), s.left("unique:"+name).Seconds(), 10, name)
		}
	})
}

// A call's keys find their jobs, however many callers share it and whatever else they send.
func TestUniqueJobsShareCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		const keys, producers = 20, 16
		var accepted, turnedAway atomic.Int64
		var all sync.WaitGroup
		for p := range producers {
			all.Go(func() {
				for k := range keys {
					name := strconv.Itoa(k)
					plain, other := newJob(t), newJob(t, worker.UniqueBy(fmt.Sprint(p, " ", k), worker.UniquePolicy{}))
					same := newJob(t, worker.UniqueBy(name, worker.UniquePolicy{}))
					err, failed := q.Enqueue(context.Background(), plain, same, other), (*worker.EnqueueError)(nil)
					found := (*worker.DuplicateError)(nil)
					switch {
					case err == nil:
						accepted.Add(1)
					case errors.As(err, &failed) && len(failed.Failed) == 1 && errors.As(failed.Failed[same.ID], &found) && found.Key == name:
						turnedAway.Add(1)
					default:
						t.Errorf("enqueue: %v", err)
					}
				}
			})
		}
		all.Wait()
		require.EqualValues(t, keys, accepted.Load())
		require.EqualValues(t, keys*(producers-1), turnedAway.Load())
		c := open(t, q, 0)
		jobs := claimN(t, c, keys*(2*producers+1))
		for _, job := range jobs {
			if job.Unique != nil {
				require.Equal(t, job.ID, s.text("GET", key("unique:"+job.Unique.Key)))
			}
		}
		settle(t, c, worker.ActionComplete, jobs[:600]...)
		settle(t, c, worker.ActionBury, jobs[600:]...)
		for _, name := range s.keyNames() {
			require.NotContains(t, name, "unique:")
		}
	})
}

// What stands where an id belongs keeps no job out, and none of its call.
func TestGarbageIsNoUniqueKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		s.ok("RPUSH", key("unique:one"), "garbage")
		jobs := []*worker.Job{newJob(t), newJob(t, one(worker.UniquePolicy{})), newJob(t)}
		enqueue(t, q, jobs...)
		require.Equal(t, jobs[1].ID, s.text("GET", key("unique:one")))
		c := open(t, q, 0)
		claimed := claim(t, c, 9)
		s.ok("DEL", key("unique:one"))
		s.ok("RPUSH", key("unique:one"), "garbage")
		require.NoError(t, c.(worker.Unlocker).Unlock(context.Background(), claimed[1]))
		settle(t, c, worker.ActionComplete, claimed...)
		accounted(t, s)
	})
}

// A verdict that comes too late frees nothing.
func TestOnlyTheClaimThatEndsAJobFreesItsKey(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		job := newJob(t, one(worker.UniquePolicy{}))
		enqueue(t, q, job)
		first := claim(t, c, 1)[0]
		settle(t, c, worker.ActionRelease, first)
		second := claim(t, c, 1)[0]
		for _, action := range []worker.Action{worker.ActionComplete, worker.ActionBury, worker.ActionCancel} {
			enqueue(t, q, newJob(t))
			vs := append(verdicts(action, first), verdicts(action, claim(t, c, 1)...)...)
			require.NoError(t, c.Settle(context.Background(), vs...))
			requireHolder(t, q.Enqueue(context.Background(), newJob(t, one(worker.UniquePolicy{}))), job.ID)
		}
		vs := append(verdicts(worker.ActionComplete, first), verdicts(worker.ActionBury, second)...)
		require.NoError(t, c.Settle(context.Background(), vs...))
		require.NotContains(t, s.keyNames(), "unique:one")
	})
}

// A worker that dies keeps nobody else's job out, and its own job keeps its key.
func TestTakeoverKeepsUniqueKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c, heir := open(t, q, 0), open(t, q, 0)
		enqueue(t, q, newJob(t, one(worker.UniquePolicy{})))
		job := claim(t, c, 1)[0]
		redisqueue.Crash(c)
		again := claimN(t, heir, 1)[0]
		require.Equal(t, job.ID, again.ID)
		requireHolder(t, q.Enqueue(context.Background(), newJob(t, one(worker.UniquePolicy{}))), job.ID)
		require.ErrorIs(t, c.(worker.Unlocker).Unlock(context.Background(), job), worker.ErrLeaseLost)
		settle(t, heir, worker.ActionComplete, again)
		require.NotContains(t, s.keyNames(), "unique:one")
	})
}

// A refused enqueue takes no key.
func TestARefusedJobHasNoUniqueKey(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{})
	s.ok("CONFIG", "SET", "maxmemory", "1")
	job := newJob(t, one(worker.UniquePolicy{}))
	require.ErrorIs(t, q.Enqueue(context.Background(), newJob(t), job), worker.ErrRefused)
	require.Empty(t, s.keyNames())
	s.ok("CONFIG", "SET", "maxmemory", "0")
	enqueue(t, q, job)
	c := open(t, q, 0)
	claimed := claim(t, c, 1)
	s.ok("CONFIG", "SET", "maxmemory", "1") // what ends jobs goes through
	require.NoError(t, c.(worker.Unlocker).Unlock(context.Background(), claimed...))
	settle(t, c, worker.ActionComplete, claimed...)
	s.ok("CONFIG", "SET", "maxmemory", "0")
	require.NotContains(t, s.keyNames(), "unique:one")
}

// Entries that a replaced job has left in a list don't count, and it is accounted for at any time.
func TestReplaceLeavesEachJobInOnePlace(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		c := open(t, q, 0)
		job := newJob(t, one(worker.UniquePolicy{For: time.Hour}))
		enqueue(t, q, job)
		enqueue(t, q, named(t, "next")...)
		before := job
		for i, option := range []worker.JobOption{
			worker.After(time.Hour), worker.After(2 * time.Hour), worker.After(time.Nanosecond), worker.After(time.Hour),
			worker.At(time.Now().Add(-time.Hour)),
		} {
			after := newJob(t, worker.WithID(job.ID), option, one(worker.UniquePolicy{For: 2 * time.Hour}))
			place, _, err := q.Replace(context.Background(), before, after)
			require.NoError(t, err)
			require.Equal(t, worker.PlaceWaiting, place, i)
			accounted(t, s, job.ID, "next")
			require.Equal(t, job.ID, s.text("GET", key("unique:one")))
			require.Greater(t, s.left("unique:one"), 90*time.Minute)
			before = after
		}
		claimed := claimN(t, c, 2)
		require.Equal(t, []string{"next", job.ID}, ids(claimed))
		settle(t, c, worker.ActionComplete, claimed...)
		require.Empty(t, claim(t, c, 1))
		accounted(t, s)
		require.NotContains(t, s.keyNames(), "void")
		require.NotContains(t, s.keyNames(), "unique:one")
	})
}

// A job that somebody else has changed meanwhile is left alone.
func TestReplaceComparesWhatItReplaces(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		job := newJob(t, one(worker.UniquePolicy{}))
		enqueue(t, q, job)
		var replaced atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				after := newJob(t, worker.WithID(job.ID), one(worker.UniquePolicy{}), worker.WithHeader("by", strconv.Itoa(i)))
				place, _, err := q.Replace(context.Background(), job, after)
				if err != nil {
					t.Errorf("replace: %v", err)
				}
				if place == worker.PlaceWaiting {
					replaced.Add(1)
				}
			})
		}
		all.Wait()
		require.EqualValues(t, 1, replaced.Load())
		accounted(t, s, job.ID)
	})
}

// What stands where a unique key belongs goes when the key is released, whatever it is.
func TestReleaseUniqueFreesGarbage(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		for _, garbage := range [][]string{{"SADD", key("unique:one"), "a"}, {"SET", key("unique:one"), ""}} {
			s.ok(garbage...)
			holder, err := q.ReleaseUnique(context.Background(), "default", "one")
			require.NoError(t, err)
			require.Empty(t, holder)
			require.NotContains(t, s.keyNames(), "unique:one")
		}
		_, err := q.ReleaseUnique(context.Background(), "default", "")
		require.ErrorContains(t, err, "unique key is empty")
		_, err = q.ReleaseUnique(context.Background(), "a queue", "one")
		require.ErrorContains(t, err, "queue")
	})
}

// Nothing about unique keys is asked or written for jobs that have none.
func TestPlainJobsPayNothingForUniqueOnes(t *testing.T) {
	s := onReal(t)
	q := s.queue(redisqueue.Config{Lease: time.Hour})
	c := open(t, q, 0)
	done := monitor(t, s)
	enqueue(t, q, newJobs(t, 100)...)
	settle(t, c, worker.ActionComplete, claim(t, c, 100)...)
	for _, command := range done() {
		require.NotContains(t, strings.Join(command, " "), "unique")
	}
}
