package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

const order = `{"source_url": "https://rooms.example/1.jpg"}`

var errNoGPU = errors.New("no GPU is free")

// A row says "processing" from the first attempt to the last, however many of them fail.
func TestRetriesAreProcessing(t *testing.T) {
	inBubble(t, stagesAt(3), func(t *testing.T, r *rig) {
		id := r.place(order)
		assert.Equal(t, image{ID: id, Status: "queued"}, r.get(id))
		r.start()
		r.after(time.Minute)
		assert.Equal(t, image{ID: id, Status: "ready", StagedURL: "https://staged.example/1.jpg"}, r.get(id))
		assert.Equal(t, []image{{Status: "queued"}, {Status: "processing"}, {Status: "ready"}}, journal(t, r.db, id))
	})
}

// A row says "error" once, when no attempt is left; a new round takes that back.
func TestOnlyTheLastFailureIsAnError(t *testing.T) {
	var attempts atomic.Int32
	down := func(context.Context, *worker.Job, string) (string, error) {
		if attempts.Add(1) > 3 {
			return "https://staged.example/1.jpg", nil
		}
		return "", errNoGPU
	}
	inBubble(t, down, func(t *testing.T, r *rig) {
		id := r.place(order)
		r.start()
		r.after(time.Minute)
		assert.Equal(t, image{ID: id, Status: "error", Error: "no GPU is free"}, r.get(id))
		want := []image{{Status: "queued"}, {Status: "processing"}, {Status: "error", Error: "no GPU is free"}}
		assert.Equal(t, want, journal(t, r.db, id))

		require.NoError(t, r.orders.client.Requeue(t.Context(), id))
		r.after(time.Minute)
		assert.Equal(t, image{ID: id, Status: "ready", StagedURL: "https://staged.example/1.jpg"}, r.get(id))
		want = append(want, image{Status: "queued"}, image{Status: "processing"}, image{Status: "ready"})
		assert.Equal(t, want, journal(t, r.db, id))
		assert.EqualValues(t, 4, attempts.Load())
	})
}

// The job of an image that was deleted while it waited is not run.
func TestDeletedWhileItWaits(t *testing.T) {
	never := func(context.Context, *worker.Job, string) (string, error) {
		t.Error("a deleted image was staged")
		return "", nil
	}
	inBubble(t, never, func(t *testing.T, r *rig) {
		id := r.place(order)
		code, _ := r.do(http.MethodDelete, "/images/"+id, "")
		require.Equal(t, http.StatusNoContent, code)
		r.start()
		r.after(time.Minute)
		code, _ = r.do(http.MethodGet, "/images/"+id, "")
		assert.Equal(t, http.StatusNotFound, code)
		assert.Equal(t, worker.PlaceDead, r.queue.Place(worker.DefaultQueue, id), "the job is settled as canceled")
	})
}

// The job of an image that is deleted while it runs is told to stop when it next reports its progress.
func TestDeletedWhileItRuns(t *testing.T) {
	var cause error
	slow := func(ctx context.Context, job *worker.Job, _ string) (string, error) {
		for ctx.Err() == nil {
			job.Progress(0.5, "staging")
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		cause = context.Cause(ctx)
		return "", cause
	}
	inBubble(t, slow, func(t *testing.T, r *rig) {
		id := r.place(order)
		r.start()
		r.after(10 * time.Second)
		assert.Equal(t, "processing", r.get(id).Status)
		code, _ := r.do(http.MethodDelete, "/images/"+id, "")
		require.Equal(t, http.StatusNoContent, code)
		r.after(10 * time.Second)
		assert.ErrorIs(t, cause, worker.ErrCanceled)
		assert.Zero(t, r.rows(), "nothing brings the row back")
		assert.Equal(t, worker.PlaceDead, r.queue.Place(worker.DefaultQueue, id))
	})
}

// Jobs that have no row in the table run all the same.
func TestMailsAreSentWithoutARow(t *testing.T) {
	inBubble(t, stagesAt(2), func(t *testing.T, r *rig) {
		r.place(`{"source_url": "https://rooms.example/1.jpg", "notify": "ada@example.org"}`)
		_, err := r.orders.client.Enqueue(t.Context(), sendMail{To: "grace@example.org", Text: "hello"})
		require.NoError(t, err)
		r.start()
		r.after(time.Minute)
		assert.ElementsMatch(t, []string{
			"grace@example.org: hello",
			"ada@example.org: Your picture is ready: https://staged.example/1.jpg",
		}, r.mails)
		assert.Equal(t, 1, r.rows())
	})
}

// What is rolled back is not run, whatever rolled it back.
func TestRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		before string // SQL
		code   int
	}{
		"by the host": {
			before: fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
				INSERT INTO images (id, source_url, notify, status) SELECT 'image-' || i, 'https://rooms.example', '', 'queued' FROM n`,
				maxUnfinished),
			code: http.StatusTooManyRequests,
		},
		"by the database": {
			before: `CREATE TRIGGER full BEFORE INSERT ON images BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`,
			code:   http.StatusInternalServerError,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, stagesAt(1), func(t *testing.T, r *rig) {
				exec(t, r.db, c.before)
				rows := r.rows()
				code, answer := r.do(http.MethodPost, "/images", order)
				assert.Equal(t, c.code, code)
				assert.NotContains(t, answer.Error, "disk", "what went wrong inside is not the customer's to know")
				assert.Equal(t, rows, r.rows())
				assert.Zero(t, r.queue.Count(worker.DefaultQueue, worker.PlaceWaiting), "nothing was pushed")
			})
		})
	}
}

// An order whose process died between the commit and the push is found and run, once.
func TestUnfinishedImagesArePushed(t *testing.T) {
	var runs atomic.Int32
	stage := func(context.Context, *worker.Job, string) (string, error) {
		runs.Add(1)
		return "https://staged.example/1.jpg", nil
	}
	inBubble(t, stage, func(t *testing.T, r *rig) {
		require.NoError(t, r.orders.insert(t.Context(), "orphan", stageImage{SourceURL: "https://rooms.example/1.jpg"}))
		require.NoError(t, r.orders.insert(t.Context(), "hopeless", stageImage{SourceURL: "nonsense"}))
		waiting := r.place(order)
		r.start()
		r.after(time.Second)
		assert.Equal(t, "queued", r.get("orphan").Status)

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go r.orders.keepPushing(ctx)
		r.after(5 * pushInterval)
		assert.Equal(t, "ready", r.get("orphan").Status)
		assert.Equal(t, "ready", r.get(waiting).Status)
		assert.Equal(t, "queued", r.get("hopeless").Status)
		assert.EqualValues(t, 2, runs.Load())
	})
}

// An order is kept when Redis cannot be reached, and run when it can.
func TestOrderWithoutRedis(t *testing.T) {
	inBubble(t, stagesAt(1), func(t *testing.T, r *rig) {
		r.queue.Fault = func(context.Context, string) error { return errors.New("connection refused") }
		id := r.place(order)
		r.queue.Fault = nil
		r.start()
		require.NoError(t, r.orders.pushUnfinished(t.Context()))
		r.after(time.Second)
		assert.Equal(t, "ready", r.get(id).Status)
	})
}

// A job that was spoilt on its way ends its image, too: nobody waits for ever.
func TestSpoiltJob(t *testing.T) {
	inBubble(t, stagesAt(1), func(t *testing.T, r *rig) {
		require.NoError(t, r.orders.insert(t.Context(), "spoilt", stageImage{SourceURL: "https://rooms.example/1.jpg"}))
		r.queue.EnqueueRaw(worker.DefaultQueue, "spoilt", []byte("garbage"))
		r.start()
		r.after(time.Second)
		assert.Equal(t, "error", r.get("spoilt").Status)
	})
}

func TestBadRequests(t *testing.T) {
	inBubble(t, stagesAt(1), func(t *testing.T, r *rig) {
		for _, body := range []string{"", "no JSON", `{"source_url": "ftp://rooms.example/1.jpg"}`, `{"source_url": "/etc/passwd"}`} {
			code, answer := r.do(http.MethodPost, "/images", body)
			assert.Equal(t, http.StatusBadRequest, code, body)
			assert.NotEmpty(t, answer.Error, body)
		}
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			code, _ := r.do(method, "/images/unknown", "")
			assert.Equal(t, http.StatusNotFound, code)
		}
	})
}
