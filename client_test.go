package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

func TestNewJobSetsWhatAHostInsertsFirst(t *testing.T) {
	job, err := worker.NewJob(ping{1})
	require.NoError(t, err)
	assert.Len(t, job.ID, 36)
	assert.Equal(t, "default", job.Queue)
	assert.Equal(t, "job:"+job.ID, job.Topic)
	assert.Equal(t, "ping", job.Type)
	assert.Equal(t, `{"n":1}`, string(job.Payload))
	assert.WithinDuration(t, time.Now(), job.EnqueuedAt, time.Minute)
}

type choosy struct{ N int }

func (choosy) JobType() string { return "choosy" }

func (choosy) JobOptions() []worker.JobOption {
	return []worker.JobOption{worker.OnQueue("own"), worker.MaxAttempts(2)}
}

func (c choosy) Validate() error {
	if c.N < 0 {
		return errors.New("N must not be negative")
	}
	return nil
}

func TestPayloadsOptionsApplyBeforeTheCallers(t *testing.T) {
	job, err := worker.NewJob(choosy{1}, worker.MaxAttempts(7), nil)
	require.NoError(t, err)
	assert.Equal(t, "own", job.Queue)
	assert.Equal(t, 7, job.Retry.MaxAttempts)
	_, err = worker.NewJob(choosy{-1})
	assert.ErrorContains(t, err, "N must not be negative")
	_, err = worker.NewJob((*pointed)(nil))
	assert.ErrorContains(t, err, "payload is nil")
	_, err = worker.NewJob(nil)
	assert.ErrorContains(t, err, "payload is nil")
}

type pointed struct{ N int }

func (*pointed) JobType() string { return "pointed" }

func TestPayloadsMayBePointers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var got []int
		r := newRig(t, nil, func(c *worker.Config) {
			c.Concurrency = 1
			worker.Handle(c.Registry, func(_ context.Context, _ *worker.Job, p *pointed) error {
				got = append(got, p.N)
				return nil
			})
		}).start()
		_, err := r.pool.Client().Enqueue(t.Context(), &pointed{5})
		require.NoError(t, err)
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), &worker.Job{Type: "pointed", Payload: json.RawMessage("null")}))
		r.quiet()
		assert.Equal(t, []int{5, 0}, got)
		r.stop()
	})
}

func TestBadJobsAreRefusedBeforeAnythingIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.MaxPayload = 100 })
		client := r.pool.Client()
		good, err := worker.NewJob(ping{1})
		require.NoError(t, err)
		tests := map[string]struct {
			job  *worker.Job
			want string
		}{
			"too big":   {&worker.Job{Type: "t", Payload: []byte(`"` + strings.Repeat("x", 100) + `"`)}, "payload has 102 bytes: the limit is 100"},
			"no type":   {&worker.Job{Payload: []byte(`1`)}, "type is empty"},
			"bad queue": {&worker.Job{Type: "t", Queue: "a b", Payload: []byte(`1`)}, `queue "a b"`},
			"twice":     {good, "twice"},
			"nil":       {nil, "job 1 is nil"},
		}
		for name, tt := range tests {
			assert.ErrorContains(t, client.EnqueueMany(t.Context(), good, tt.job), tt.want, name)
		}
		replaces, err := worker.NewJob(ping{1}, one(replacing))
		require.NoError(t, err)
		assert.ErrorContains(t, client.EnqueueMany(t.Context(), replaces, replaces), "twice")
		_, err = client.Enqueue(t.Context(), ping{1}, worker.After(-time.Second))
		assert.ErrorContains(t, err, "Delay is -1s")
		assert.Zero(t, r.queue.Count("default", worker.PlaceWaiting))
		assert.Empty(t, r.states(good.ID))
		assert.NoError(t, client.EnqueueMany(t.Context()))
	})
}

func TestEnqueueIsIdempotentByID(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		runs := 0
		r := newRig(t, func(context.Context, *worker.Job, ping) error { runs++; return nil })
		for range 3 {
			r.enqueue(1, worker.WithID("same"))
		}
		assert.Equal(t, 1, r.queue.Count("default", worker.PlaceWaiting))
		r.start()
		r.quiet()
		assert.Equal(t, 1, runs)
		_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.WithID("same"))
		var finished *worker.FinishedError
		require.ErrorAs(t, err, &finished)
		assert.Equal(t, succeeded, finished.State)

		other, err := worker.NewJob(ping{2})
		require.NoError(t, err)
		again, err := worker.NewJob(ping{1}, worker.WithID("same"))
		require.NoError(t, err)
		err = r.pool.Client().EnqueueMany(t.Context(), again, other)
		var failed *worker.EnqueueError
		require.ErrorAs(t, err, &failed)
		assert.Len(t, failed.Failed, 1)
		r.quiet()
		assert.Equal(t, succeeded, r.last(other.ID).State, "the others are enqueued")
		r.stop()
	})
}

func TestRefusedJobIsFailedAsNotEnqueuedAndMayComeAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		full := true
		r.queue.Fault = func(_ context.Context, call string) error {
			if call == "Enqueue" && full {
				return worker.ErrRefused
			}
			return nil
		}
		_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.WithID("1"))
		require.ErrorIs(t, err, worker.ErrRefused)
		r.quiet()
		assert.Equal(t, []worker.State{queued, failed}, r.toldStates("1"))
		assert.Contains(t, r.last("1").Error, "not enqueued")
		full = false
		r.start()
		r.enqueue(1, worker.WithID("1"))
		r.quiet()
		assert.Equal(t, []worker.State{queued, failed, queued, running, succeeded}, r.states("1"))
		r.stop()
	})
}

// A sweep enqueues the job of a row that waits. So a refusal that could not be recorded is none.
func TestRefusalThatCannotBeRecordedIsNotClear(t *testing.T) {
	broken := errors.New("store is down")
	for name, fault := range map[string]func() error{
		"down":      func() error { return broken },
		"permanent": func() error { return worker.Permanent(broken) },
		"panics":    func() error { panic(broken) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, noop)
				r.queue.Fault = refusing("Enqueue")
				r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
					if statuses[0].State.Final() {
						return fault()
					}
					return nil
				}
				_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.WithID("1"))
				require.ErrorContains(t, err, broken.Error())
				require.NotErrorIs(t, err, worker.ErrRefused)
				assert.Equal(t, []worker.State{queued}, r.states("1"))
				r.quiet()
			})
		})
	}
}

// refusing is a fault of a queue that refuses all calls of that name.
func refusing(name string) func(context.Context, string) error {
	return func(_ context.Context, call string) error {
		if call == name {
			return worker.ErrRefused
		}
		return nil
	}
}

// One job's row waits already. The refusal of the others of the call is as clear as ever.
func TestRefusalIsClearForEachJobOfItsOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		first := r.enqueue(1)
		second, err := worker.NewJob(ping{2})
		require.NoError(t, err)
		r.queue.Fault = refusing("Enqueue")
		var failed *worker.EnqueueError
		require.ErrorAs(t, r.pool.Client().EnqueueMany(t.Context(), first, second), &failed)
		require.NotErrorIs(t, failed.Failed[first.ID], worker.ErrRefused)
		require.ErrorIs(t, failed.Failed[second.ID], worker.ErrRefused)
		r.quiet()
	})
}

func TestUnknownOutcomeSaysSoAndLeavesTheRowWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		r.queue.Fault = func(context.Context, string) error { return errors.New("connection reset") }
		_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.WithID("1"))
		assert.ErrorContains(t, err, "unknown whether")
		assert.Equal(t, queued, r.last("1").State)
		r.quiet()
	})
}

// halfway is a queue that loses its connection in the middle of a call.
type halfway struct{ worker.Queue }

func (halfway) Enqueue(_ context.Context, jobs ...*worker.Job) error {
	return &worker.EnqueueError{Failed: map[string]error{jobs[0].ID: errors.New("connection reset"), jobs[1].ID: worker.ErrRefused}}
}

func TestOnlyAClearRefusalFailsTheRow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, func(c *worker.Config) { c.Queue = halfway{c.Queue} })
		var jobs []*worker.Job
		for i := range 3 {
			job, err := worker.NewJob(ping{i})
			require.NoError(t, err)
			jobs = append(jobs, job)
		}
		var failed *worker.EnqueueError
		require.ErrorAs(t, r.pool.Client().EnqueueMany(t.Context(), jobs...), &failed)
		assert.Len(t, failed.Failed, 2)
		assert.Equal(t, queued, r.last(jobs[0].ID).State, "it may have been accepted")
		assert.Equal(t, "failed", string(r.last(jobs[1].ID).State))
		assert.Equal(t, queued, r.last(jobs[2].ID).State)
		r.quiet()
	})
}

// A job that a transaction or an earlier call has accepted must not fail because a repetition is refused.
func TestRefusedRepetitionFailsNoAcceptedJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		refuses := false
		r.queue.Fault = func(_ context.Context, call string) error {
			if refuses && call == "Enqueue" {
				return worker.ErrRefused
			}
			return nil
		}
		accepted, committed := r.enqueue(1), r.write(2)
		refuses = true
		for _, job := range []*worker.Job{accepted, committed} {
			err := r.pool.Client().EnqueueMany(t.Context(), job)
			require.ErrorAs(t, err, new(*worker.EnqueueError))
			require.NotErrorIs(t, err, worker.ErrRefused, "it runs all the same")
			assert.Equal(t, []worker.State{queued}, r.states(job.ID))
		}
		fresh, err := r.pool.Client().Enqueue(t.Context(), ping{3})
		require.ErrorIs(t, err, worker.ErrRefused)
		assert.Equal(t, worker.StateFailed, r.last(fresh.ID).State, "nobody would try this one again")
		refuses = false
		r.start()
		r.after(4 * time.Minute)
		assert.Equal(t, succeeded, r.last(accepted.ID).State)
		assert.Equal(t, succeeded, r.last(committed.ID).State)
		assert.NotContains(t, r.toldStates(accepted.ID), worker.StateFailed)
		r.stop()
	})
}

func TestJobThatTheQueueLostIsPushedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job, err := worker.NewJob(ping{1})
		require.NoError(t, err)
		_, err = r.store.Save(t.Context(), worker.Status{JobID: job.ID, Type: "ping", Queue: "default", Topic: job.Topic,
			State: running, Version: 1<<14 | 1<<12})
		require.NoError(t, err)
		require.NoError(t, r.pool.Client().EnqueueMany(t.Context(), job))
		assert.Equal(t, worker.PlaceWaiting, r.queue.Place("default", job.ID))
	})
}

func TestDelayedJobIsScheduledThenRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop).start()
		job := r.enqueue(1, worker.After(time.Hour))
		at := r.enqueue(2, worker.At(time.Now().Add(2*time.Hour)))
		r.after(59 * time.Minute)
		assert.Equal(t, []worker.State{scheduled}, r.states(job.ID))
		r.after(time.Minute)
		assert.Equal(t, []worker.State{scheduled, running, succeeded}, r.states(job.ID))
		r.after(time.Hour)
		assert.Equal(t, []worker.State{scheduled, running, succeeded}, r.states(at.ID))
		r.stop()
	})
}

// Run under -race: what users are told of is not the caller's job, which the caller may change at once.
func TestJobIsTheCallersAgainWhenEnqueueReturns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		for range 100 {
			job := r.enqueue(1, worker.WithHeader("a", "b"))
			job.Headers["a"] = "c"
			job.Topic = "other"
		}
		r.quiet()
	})
}

// An id that another type or queue has is an error of its own, whether that job has run yet or not.
func TestEnqueueUnderTheIDOfAnotherJob(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		job := r.enqueue(1, worker.WithID("x"))
		try := func() {
			_, err := r.pool.Client().Enqueue(t.Context(), ping{1}, worker.WithID("x"), worker.OnQueue("b"))
			taken := (*worker.IDTakenError)(nil)
			require.ErrorAs(t, err, &taken)
			assert.Equal(t, worker.IDTakenError{ID: "x", Type: "ping", Queue: job.Queue}, *taken)
			assert.EqualError(t, err, `enqueue job "x": the id belongs to a job of type "ping" on queue "default"`)
		}
		try()
		r.start()
		r.quiet()
		try()
		r.stop()
		require.Equal(t, succeeded, r.last("x").State)
	})
}

// A handler that passes its own job on would have its success saved under the new job's id, and nothing run.
func TestAJobThatWasClaimedIsNotEnqueued(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var r *rig
		var passedOn, written error
		r = newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			passedOn = r.pool.Client().EnqueueMany(ctx, job)
			_, written = worker.InitialStatus(job)
			return nil
		}).start()
		defer r.stop()
		job := r.enqueue(1)
		r.after(time.Second)
		require.ErrorContains(t, passedOn, `job "`+job.ID+`" was claimed by a worker`)
		require.ErrorContains(t, written, "was claimed by a worker", "nor is its row written in a transaction")
		require.Equal(t, succeeded, r.last(job.ID).State)
	})
}
