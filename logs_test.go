package worker_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/real-staging-ai/go-worker"
)

func TestLogsSayWhichJobAndTrace(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(_ context.Context, job *worker.Job, _ ping) error {
			return failUntil(2)(job.Attempt)
		}, rec.by).start()
		job := r.enqueue(1)
		r.after(time.Hour)
		r.stop()
		type line struct {
			Level, Msg, Job, Type, Queue string
			Attempt                      int
			TraceID                      string `json:"trace_id"`
			Error                        string
		}
		var lines []line
		for text := range strings.Lines(rec.log.String()) {
			var l line
			require.NoError(t, json.Unmarshal([]byte(text), &l))
			if l.Job != "" {
				require.Equal(t, job.ID, l.Job)
				require.Equal(t, "ping", l.Type)
				require.NotEmpty(t, l.TraceID)
				lines = append(lines, line{Level: l.Level, Msg: l.Msg, Attempt: l.Attempt, Error: l.Error})
			}
		}
		enqueued := line{Level: "DEBUG", Msg: "job enqueued"}
		assert.Contains(t, lines, enqueued, "before the first attempt or beside it")
		lines = slices.DeleteFunc(lines, func(l line) bool { return l == enqueued })
		assert.Equal(t, []line{
			{Level: "DEBUG", Msg: "attempt started", Attempt: 1},
			{Level: "WARN", Msg: "attempt failed, the job will run again", Attempt: 1, Error: errFlaky.Error()},
			{Level: "DEBUG", Msg: "attempt started", Attempt: 2},
			{Level: "DEBUG", Msg: "attempt ended", Attempt: 2},
		}, lines)
	})
}

// What could be told of each job at once is told once a minute: a store that refuses all data floods no log.
func TestRefusedStatusesAreToldOnceAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error { return nil }, rec.by)
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].State == worker.StateQueued {
				return nil
			}
			return worker.Permanent(errFlaky)
		}
		r.start()
		for i := range 20 {
			r.enqueue(i)
		}
		r.after(time.Second)
		told := func() int { return strings.Count(rec.log.String(), "the status store refuses a status") }
		assert.Equal(t, 1, told())
		r.after(time.Minute)
		r.enqueue(1)
		r.after(time.Second)
		assert.Equal(t, 2, told())
		r.stop()
	})
}

// lines returns the log's lines of a message.
func (r *recorded) lines(message string) (lines []string) {
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, `"msg":"`+message) {
			lines = append(lines, line)
		}
	}
	return lines
}

// A lost lease is an error, and what it took is told job by job: once each, also while the pool drains.
func TestALostLeaseIsToldOnce(t *testing.T) {
	for _, draining := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			rec := record()
			r := newRig(t, func(ctx context.Context, _ *worker.Job, _ ping) error {
				<-ctx.Done()
				return ctx.Err()
			}, rec.by).start()
			r.enqueue(1)
			r.after(time.Second)
			stopped := make(chan error, 1)
			if draining {
				go func() { stopped <- r.pool.Stop(context.Background()) }()
				r.after(time.Second)
			}
			r.queue.Crash(r.queue.Consumers("default")[0])
			r.after(15 * time.Second)
			require.Len(t, rec.lines("the lease was lost"), 1)
			if !draining {
				go func() { stopped <- r.pool.Stop(context.Background()) }()
			}
			require.NoError(t, <-stopped)
			require.Len(t, rec.lines("the lease was lost"), 1)
			assert.Contains(t, rec.lines("the lease was lost")[0], `"level":"ERROR"`)
			require.Len(t, rec.lines("job was taken away by the queue"), 1)
			assert.Contains(t, rec.lines("job was taken away by the queue")[0], `"level":"WARN"`)
			lost := rec.metrics(t)["worker.lease.lost"].Data.(metricdata.Sum[int64]).DataPoints
			require.Len(t, lost, 1)
			assert.EqualValues(t, 1, lost[0].Value)
		})
	}
}

// A job that its client canceled while its handler failed is counted and told as its attempt ended, and then as what it is.
func TestAnOutcomeThatTheStoreOverrulesIsToldAsSuch(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, func(context.Context, *worker.Job, ping) error {
			time.Sleep(time.Second)
			return worker.Permanent(errFlaky)
		}, rec.by).start()
		job := r.enqueue(1)
		r.after(500 * time.Millisecond)
		st := *r.last(job.ID)
		st.State, st.Version = worker.StateCanceled, st.Version+1<<40
		r.save(st)
		r.after(time.Minute)
		r.stop()
		require.Len(t, rec.lines("job failed"), 1)
		told := rec.lines("the status store has something else of the job")
		require.Len(t, told, 1)
		assert.Contains(t, told[0], `"outcome":"failed","state":"canceled"`)
		assert.Equal(t, worker.StateCanceled, r.last(job.ID).State)
	})
}

// An attempt whose time is over before its handler was called has no duration.
func TestOnlyHandlersThatRanHaveADuration(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, noop, rec.by)
		r.store.Fault = func(_ context.Context, statuses []worker.Status) error {
			if statuses[0].State == worker.StateRunning {
				time.Sleep(2 * time.Second)
			}
			return nil
		}
		r.start()
		r.queue.Crash(r.queue.Consumers("default")[0])
		r.after(9 * time.Second)
		r.enqueue(1) // the lease ends while its start is being saved
		r.after(time.Minute)
		r.stop()
		all := rec.metrics(t)
		assert.Equal(t, []string{"default succeeded ping 1", "lease_lost default lost ping 1"}, points(all["worker.job.finished"]))
		assert.Equal(t, []string{"default process redis succeeded ping n=1 sum=1e-09"}, points(all["messaging.process.duration"]))
	})
}

func TestLogsTellWhatClientsDo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		rec := record()
		r := newRig(t, nil, rec.by)
		job := r.enqueue(1)
		_, err := r.pool.Client().Cancel(t.Context(), job.ID)
		require.NoError(t, err)
		require.NoError(t, r.pool.Client().Requeue(t.Context(), job.ID))
		assert.Contains(t, rec.log.String(), `"msg":"job canceled","state":"canceled","job":"`+job.ID)
		assert.Contains(t, rec.log.String(), `"msg":"job requeued","job":"`+job.ID)
	})
}
