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
