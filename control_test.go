package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// What was claimed goes on, nothing more is started, also by pools that are started later; canceling still ends what waits.
func TestAPausedQueueIsLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		handled := 0
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			time.Sleep(10 * time.Second)
			handled++
			return nil
		}, func(c *worker.Config) { c.Concurrency = 1 }).start()
		client := r.pool.Client()
		runs := r.enqueue(1)
		r.quiet()
		require.NoError(t, client.Pause(t.Context(), "default"))
		waits, unwanted := r.enqueue(2), r.enqueue(3)
		r.after(time.Minute)
		assert.Equal(t, succeeded, r.last(runs.ID).State)
		assert.Equal(t, []worker.State{queued}, r.states(waits.ID))
		state, err := client.Cancel(t.Context(), unwanted.ID)
		require.NoError(t, err)
		assert.Equal(t, canceled, state)

		require.NoError(t, client.Resume(t.Context(), "default"))
		r.after(time.Minute)
		assert.Equal(t, succeeded, r.last(waits.ID).State)
		assert.Equal(t, 2, handled)
		r.stop()
		assert.ErrorContains(t, client.Pause(t.Context(), "a b"), "contains ' '")
	})
}

func TestAQueueThatCannotPauseSaysSo(t *testing.T) {
	client, err := worker.NewClient(worker.Backend{Queue: struct{ worker.Queue }{workertest.NewQueue()}})
	require.NoError(t, err)
	require.ErrorIs(t, client.Pause(t.Context(), "default"), errors.ErrUnsupported)
	require.ErrorIs(t, client.Resume(t.Context(), "default"), errors.ErrUnsupported)
}

func TestCancelEndsWhatWaitsAndStopsWhatRuns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), worker.ErrCanceled)
			return ctx.Err()
		}, func(c *worker.Config) { c.Concurrency = 1 }).start()
		client := r.pool.Client()
		runs := r.enqueue(1)
		r.quiet()
		waits, later := r.enqueue(2), r.enqueue(3, worker.After(time.Hour))
		for _, job := range []*worker.Job{waits, later} {
			state, err := client.Cancel(t.Context(), job.ID)
			require.NoError(t, err)
			assert.Equal(t, canceled, state)
			assert.Equal(t, worker.PlaceDead, r.queue.Place("default", job.ID))
		}
		state, err := client.Cancel(t.Context(), runs.ID)
		require.NoError(t, err)
		assert.Equal(t, running, state)
		r.after(time.Minute)
		assert.Equal(t, []worker.State{queued, running, canceled}, r.states(runs.ID))
		state, err = client.Cancel(t.Context(), runs.ID)
		require.NoError(t, err)
		assert.Equal(t, canceled, state, "what has ended says how")
		_, err = client.Cancel(t.Context(), "nobody")
		assert.ErrorIs(t, err, worker.ErrJobNotFound)
		r.stop()
	})
}

func TestRequeueOpensANewRound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		mend := false
		r := newRig(t, func(ctx context.Context, job *worker.Job, _ ping) error {
			if mend {
				var kept string
				found, err := job.LastCheckpoint(&kept)
				assert.NoError(t, err)
				assert.True(t, found)
				assert.Equal(t, 1, job.Attempt)
				return nil
			}
			assert.NoError(t, job.Checkpoint(ctx, "kept"))
			return errFlaky
		}).start()
		client := r.pool.Client()
		job := r.enqueue(1, worker.MaxAttempts(1))
		r.quiet()
		assert.Equal(t, failed, r.last(job.ID).State)

		_, err := client.Enqueue(t.Context(), ping{1}, worker.WithID(job.ID))
		var finished *worker.FinishedError
		require.ErrorAs(t, err, &finished)
		assert.Equal(t, failed, finished.State)

		mend = true
		require.NoError(t, client.Requeue(t.Context(), job.ID))
		r.after(time.Second)
		assert.Equal(t, []worker.State{queued, running, failed, queued, running, succeeded}, r.states(job.ID))
		assert.ErrorAs(t, client.Requeue(t.Context(), job.ID), &finished)
		assert.ErrorIs(t, client.Requeue(t.Context(), "nobody"), worker.ErrJobNotFound)

		waits := r.enqueue(2, worker.After(time.Hour))
		assert.ErrorIs(t, client.Requeue(t.Context(), waits.ID), worker.ErrJobActive)
		r.stop()
	})
}

// The row of a Requeue says that a round was opened, and a sweep takes it at its word. So the queue's refusal isn't the
// Requeue's, but where there is no store.
func TestRefusalOfARecordedRoundIsNotClear(t *testing.T) {
	for _, stored := range []bool{true, false} {
		t.Run(fmt.Sprintf("stored=%v", stored), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *worker.Job, ping) error { return worker.Permanent(errFlaky) },
					func(c *worker.Config) {
						if !stored {
							c.StatusStore = nil
						}
					}).start()
				job := r.enqueue(1)
				r.quiet()
				r.queue.Fault = refusing("Reopen")
				err := r.pool.Client().Requeue(t.Context(), job.ID)
				require.ErrorContains(t, err, worker.ErrRefused.Error())
				assert.Equal(t, !stored, errors.Is(err, worker.ErrRefused))
				r.queue.Fault = nil
				require.NoError(t, r.pool.Client().Requeue(t.Context(), job.ID))
				r.stop()
			})
		})
	}
}

// What a job has been through is told of it when it is canceled between two attempts, too.
func TestCancelKeepsWhatWas(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			job.Progress(.5, "half")
			return worker.RetryAfter(time.Hour, errFlaky)
		}, func(c *worker.Config) { c.Retry.MaxAttempts = 7 }).start()
		defer r.stop()
		job := r.enqueue(1)
		r.after(2*time.Hour + time.Minute)
		before := r.last(job.ID)
		require.Equal(t, 3, before.Attempt)
		r.cancel(job.ID)
		after := r.last(job.ID)
		assert.Equal(t, canceled, after.State)
		assert.Equal(t, 3, after.Attempt)
		assert.Equal(t, 7, after.MaxAttempts)
		assert.Equal(t, before.Progress, after.Progress)
		assert.Equal(t, before.Message, after.Message)
	})
}

// Who names another queue than the job's is told so: a cancel there would reach nobody.
func TestControlsOfAnotherQueueAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client, job := r.pool.Client(), r.enqueue(1, worker.OnQueue("a"))
		elsewhere := worker.OnQueue("b")
		_, err := client.Cancel(t.Context(), job.ID, elsewhere)
		for name, err := range map[string]error{
			"cancel": err, "delete": client.Delete(t.Context(), job.ID, elsewhere), "run now": client.RunNow(t.Context(), job.ID, elsewhere),
			"requeue": client.Requeue(t.Context(), job.ID, elsewhere),
		} {
			assert.ErrorContains(t, err, `OnQueue says "b": the job is on queue "a"`, name)
		}
		assert.Equal(t, []worker.State{queued}, r.states(job.ID))
		r.save(worker.Status{JobID: "2", State: queued, Version: 1})
		_, err = client.Cancel(t.Context(), "2", elsewhere)
		assert.NoError(t, err, "its row names no queue")
		st := *r.last(job.ID)
		st.Queue, st.Version = "", st.Version+1 // this row's job does
		r.save(st)
		r.cancel(job.ID)
		require.Equal(t, worker.PlaceDead, r.queue.Place("a", job.ID))
		_, err = client.Cancel(t.Context(), job.ID, elsewhere)
		assert.NoError(t, err, "it is over, wherever it was")
		err = client.Requeue(t.Context(), job.ID, elsewhere)
		assert.ErrorContains(t, err, `OnQueue says "b": the job is on queue "a"`, "a new round is on its own queue")
		assert.Equal(t, canceled, r.last(job.ID).State)
		assert.NoError(t, client.Requeue(t.Context(), job.ID))
	})
}

// A store that mixes rows up makes no other job run.
func TestRequeueTakesNoJobOfAnotherId(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		other, err := worker.NewJob(ping{2}, worker.WithID("2"))
		require.NoError(t, err)
		st, err := worker.InitialStatus(other)
		require.NoError(t, err)
		st.JobID, st.State = "1", worker.StateFailed
		r.save(st)
		require.ErrorIs(t, r.pool.Client().Requeue(t.Context(), "1"), worker.ErrJobNotFound)
		require.Equal(t, worker.PlaceUnknown, r.queue.Place("default", "2"))
	})
}

// A worker may die between the Save of a job's end and its settlement: then the job waits though it is over, and a cancel
// has no business with it. It must not end among the dead when its row says that it succeeded.
func TestCancelLeavesAJobThatIsOver(t *testing.T) {
	for _, end := range []worker.State{succeeded, worker.StateFailed} {
		t.Run(string(end), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t, func(context.Context, *worker.Job, ping) error { t.Error("it ran again"); return nil })
				job := r.enqueue(1)
				c, err := r.queue.Consume(t.Context(), "default", worker.ConsumeOptions{MaxCrashes: 3})
				require.NoError(t, err)
				claimed, err := c.Claim(t.Context(), worker.ClaimOptions{Limit: 1})
				require.NoError(t, err)
				require.Len(t, claimed, 1)
				require.NoError(t, c.Close(t.Context()))
				r.queue.Fault = func(_ context.Context, call string) error {
					if call == "MarkCanceled" { // after the client has read the row
						st := *r.last(job.ID)
						st.State, st.Version = end, claimed[0].Token<<14|3<<12
						r.save(st)
					}
					return nil
				}
				state, err := r.pool.Client().Cancel(t.Context(), job.ID)
				require.NoError(t, err)
				assert.Equal(t, end, state)
				assert.Equal(t, worker.PlaceWaiting, r.queue.Place("default", job.ID))

				r.start()
				r.quiet()
				assert.Equal(t, end, r.last(job.ID).State)
				want := worker.PlaceUnknown
				if end == worker.StateFailed {
					want = worker.PlaceDead
				}
				assert.Equal(t, want, r.queue.Place("default", job.ID), "it was settled as the row says")
				r.stop()
			})
		})
	}
}

// frugal is a store that reads back no more than it has to.
type frugal struct{ *workertest.MemoryStatusStore }

func (s frugal) Get(ctx context.Context, id string) (*worker.Status, error) {
	row, err := s.MemoryStatusStore.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &worker.Status{JobID: id, Queue: row.Queue, State: row.State, Version: row.Version, Error: row.Error}, nil
}

func withFrugal(c *worker.Config) {
	c.StatusStore = frugal{c.StatusStore.(*workertest.MemoryStatusStore)}
}

func TestCancelKnowsOfTheJobWhatTheRowDoesNot(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop, withFrugal)
		job := r.enqueue(1, worker.MaxAttempts(7))
		r.cancel(job.ID)
		assert.Equal(t, 7, r.last(job.ID).MaxAttempts)
	})
}

// A row that is final doesn't excuse a wrong queue: the job may still be on its own one.
func TestControlsOfAnotherQueueReachAJobThatIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client, elsewhere := r.pool.Client(), worker.OnQueue("b")
		job := r.enqueue(1, worker.OnQueue("a"), one())
		mark, err := r.queue.MarkCanceled(t.Context(), "a", job.ID)
		require.NoError(t, err)
		st := *r.last(job.ID)
		st.State, st.Version = canceled, mark.Token<<14|3<<12
		r.save(st) // and then who cancels it dies
		require.ErrorContains(t, client.Delete(t.Context(), job.ID, elsewhere), `the job is on queue "a"`)
		state, err := client.Cancel(t.Context(), job.ID, elsewhere)
		require.NoError(t, err)
		assert.Equal(t, canceled, state)
		assert.Equal(t, worker.PlaceDead, r.queue.Place("a", job.ID))
		r.enqueue(2, worker.OnQueue("a"), one())
	})
}

// watched is a consumer of which claims take a moment to return.
type watched struct {
	oddConsumer
	worker.CancelWatcher
}

// overtaking makes a pool's queue cancel the jobs that match between handing them out and the claim's return.
func overtaking(match func(*worker.Job) bool) func(*worker.Config) {
	return func(c *worker.Config) {
		queue := c.Queue.(*workertest.MemoryQueue)
		claim := func(c worker.Consumer, ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
			jobs, err := c.Claim(ctx, opts)
			for _, job := range jobs {
				if match(job) {
					_, _ = queue.MarkCanceled(context.Background(), job.Queue, job.ID)
					time.Sleep(time.Millisecond)
				}
			}
			return jobs, err
		}
		c.Queue = odd{queue, func(c worker.Consumer) worker.Consumer {
			return watched{oddConsumer{Consumer: c, claim: claim}, c.(worker.CancelWatcher)}
		}}
	}
}

// A queue tells of a cancel once. It may do so before the claim has returned that hands the job out.
func TestACancelThatOvertakesTheClaimIsHeard(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		ran := false
		r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
			ran = true
			<-ctx.Done()
			return ctx.Err()
		}, overtaking(func(*worker.Job) bool { return true })).start()
		defer r.stop()
		job := r.enqueue(1)
		r.after(time.Minute)
		assert.Equal(t, canceled, r.last(job.ID).State)
		assert.False(t, ran)
	})
}

// So it may of one that would wait to run alone, and nothing is claimed while one does.
func TestACancelThatOvertakesTheClaimEndsWhatWaitsToRunAlone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		block := make(chan struct{})
		r := newRig(t, func(context.Context, *worker.Job, ping) error { <-block; return nil },
			serving(2, map[string]worker.QueueConfig{"a": {}, "b": {}}), func(c *worker.Config) { c.MaxCrashes = 2 },
			overtaking(func(job *worker.Job) bool { return job.Crashes > 0 }))
		suspect := r.enqueue(2, worker.OnQueue("b"))
		dying := r.claimedFrom("b")
		r.enqueue(1, worker.OnQueue("a"))
		r.start()
		defer r.stop()
		r.after(time.Second)
		r.queue.Crash(dying)
		r.after(time.Minute)
		assert.Equal(t, canceled, r.last(suspect.ID).State)
		close(block)
	})
}

// The id is the argument's, whatever the options say.
func TestControlsConcernTheIDThatTheyAreGiven(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t, noop)
		client, job, other := r.pool.Client(), r.enqueue(1), r.enqueue(2)
		for _, id := range []string{job.ID, other.ID} {
			r.cancel(id)
		}
		require.NoError(t, client.Requeue(t.Context(), job.ID, worker.WithID(other.ID)))
		assert.Equal(t, queued, r.last(job.ID).State)
		assert.Equal(t, canceled, r.last(other.ID).State)
	})
}
