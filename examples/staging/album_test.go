package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/sqlstatus"
	"github.com/real-staging-ai/go-worker/stage"
)

// upload is an order in order.
func upload(t *testing.T) order {
	t.Helper()
	return order{upload: emptyRoom(t), extension: "png", room: localmodel.RoomTypes()[0], style: localmodel.Styles()[0]}
}

// A full album says so, and takes nothing half.
func TestAlbumIsFull(t *testing.T) {
	for name, fill := range map[string]*page{
		"bytes":    {id: "big", size: maxKept},
		"pictures": {id: "one", size: 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := openTestAlbum(t)
			require.NoError(t, a.within(t.Context(), func(tx *sql.Tx) error {
				copies := 1
				if name == "pictures" {
					copies = maxPictures
				}
				for i := range copies {
					p := *fill
					p.id = fmt.Sprintf("%s-%d", fill.id, i)
					if err := a.addPage(t.Context(), tx, &p); err != nil {
						return err
					}
				}
				return nil
			}))
			_, err := a.accept(t.Context(), upload(t))
			require.ErrorIs(t, err, errAlbumFull)
			kept, err := fs.Glob(a.root.FS(), "originals/*")
			require.NoError(t, err)
			assert.Empty(t, kept, "the upload is removed")
			counts, err := a.statuses.Count(t.Context(), sqlstatus.Filter{})
			require.NoError(t, err)
			assert.Empty(t, counts, "no job waits")
		})
	}
}

// An order and its job are there at once, with the same id, whether or not the queue can be reached.
func TestOrderOutlivesTheQueue(t *testing.T) {
	a := openTestAlbum(t)
	a.studio.redis.embedded.SetError("LOADING for ever")
	p, err := a.accept(t.Context(), upload(t))
	require.NoError(t, err)
	e, err := a.find(t.Context(), p.id)
	require.NoError(t, err)
	assert.Equal(t, worker.StateQueued, e.status.State)
	a.studio.redis.embedded.SetError("")
}

// What is kept in a directory is there again, and goes on: a job that was waiting when Redis went away with the program
// is staged by the next one.
func TestKeptDirectory(t *testing.T) {
	dir := t.TempDir()
	first := launch(t, nil, "-addr", "127.0.0.1:0", "-data", dir, "-pace", "1h")
	first.await(t, "running")
	require.Equal(t, 0, first.end(t), "while the bundled picture waits for its pace")

	second := begin(t, nil, "-data", dir)
	jobs := second.list(t)
	require.Len(t, jobs, 1, "the bundled picture is staged once")
	last := second.last(t, jobs[0])
	require.Equal(t, worker.StateSucceeded, last.State, last.Error)
	require.Equal(t, 0, second.end(t))

	third := begin(t, nil, "-data", dir)
	jobs = third.list(t)
	require.Len(t, jobs, 1)
	assert.Equal(t, worker.StateSucceeded, jobs[0].Status.State)
	assert.Equal(t, "Living room", jobs[0].Room)
	code, _, _ := third.get(t, resultOf(t, jobs[0].Status).StagedURL)
	assert.Equal(t, http.StatusOK, code)
	again := third.order(t, form{"again": jobs[0].ID})
	assert.Equal(t, worker.StateSucceeded, third.last(t, again).State)
	require.Equal(t, 0, third.end(t))
}

// last follows a job to its end.
func (p *program) last(t *testing.T, j job) *worker.Status {
	t.Helper()
	events := p.follow(t, j.EventsURL, "")
	require.NotEmpty(t, events)
	return &events[len(events)-1].status
}

func resultOf(t *testing.T, s *worker.Status) (result stage.Result) {
	t.Helper()
	require.NoError(t, json.NewDecoder(bytes.NewReader(s.Result)).Decode(&result))
	return result
}

// Two programs may unpack the bundled pictures and make the tables at the same time.
func TestOpenTogether(t *testing.T) {
	dir := t.TempDir()
	opened := make(chan error)
	for range 4 {
		go func() {
			archive, err := openArchive(t.Context(), dir, "")
			if err == nil {
				_, err = unpackSamples(archive.root)
			}
			if err == nil {
				err = archive.close()
			}
			opened <- err
		}()
	}
	for range 4 {
		select {
		case err := <-opened:
			assert.NoError(t, err)
		case <-time.After(time.Minute):
			t.Fatal("they wait for each other")
		}
	}
}
