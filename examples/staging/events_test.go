package main

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// quiet is a server with one job, "7", that no pool runs.
func quiet(t *testing.T, beat time.Duration) (*server, *program, *studio) {
	t.Helper()
	studio := &studio{store: workertest.NewStatusStore(), news: newNews()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, err := startServer(listener, &album{studio: studio, pages: []*page{{id: "7"}}}, beat, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	p := &program{url: siteOf(listener.Addr()), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(p.client.CloseIdleConnections)
	return server, p, studio
}

func status(version int64, state worker.State) worker.Status {
	return worker.Status{JobID: "7", State: state, Version: version}
}

// Ctrl-C doesn't wait for pages that are open.
func TestStopWithOpenStream(t *testing.T) {
	server, p, studio := quiet(t, time.Hour)
	require.NoError(t, studio.news.Notify(t.Context(), status(1, worker.StateQueued)))
	from := p.open(t, "/jobs/7/events", "")
	stopped := make(chan error, 1)
	go func() { stopped <- server.stop() }()
	began := time.Now()
	events := readEvents(t, from.body)
	require.NoError(t, <-stopped)
	assert.Less(t, time.Since(began), drain/2)
	require.Len(t, events, 1)
	assert.Equal(t, worker.StateQueued, events[0].status.State)
}

// The end of a job reaches an open page even if no news told of it.
func TestStreamLooksIntoTheStore(t *testing.T) {
	server, p, studio := quiet(t, 10*time.Millisecond)
	require.NoError(t, studio.news.Notify(t.Context(), status(1, worker.StateQueued)))
	from := p.open(t, "/jobs/7/events", "")
	_, err := studio.store.Save(t.Context(), status(2, worker.StateFailed))
	require.NoError(t, err)
	events := readEvents(t, from.body)
	require.Len(t, events, 2)
	assert.Equal(t, "2", events[1].id)
	assert.Equal(t, worker.StateFailed, events[1].status.State)
	require.NoError(t, server.stop())
}

// News are told once and in order, whatever order they come in.
func TestNews(t *testing.T) {
	n := newNews()
	require.NoError(t, n.Notify(t.Context(), status(1, worker.StateQueued), status(3, worker.StateRunning), status(2, worker.StateQueued)))
	got, grew := n.since("7", 1)
	require.Len(t, got, 1)
	assert.EqualValues(t, 3, got[0].Version)
	require.NoError(t, n.Notify(t.Context(), status(4, worker.StateSucceeded)))
	<-grew
	last, err := n.end(t.Context(), "7")
	require.NoError(t, err)
	assert.EqualValues(t, 4, last.Version)
}

// A full album says so, and takes nothing half.
func TestAlbumIsFull(t *testing.T) {
	a := &album{}
	require.NoError(t, a.add(&page{size: maxKept}))
	require.ErrorIs(t, a.add(&page{size: 1}), errAlbumFull)
	for len(a.pages) < maxPictures {
		require.NoError(t, a.add(&page{}))
	}
	require.ErrorIs(t, a.add(&page{}), errAlbumFull)
	a.remove(a.pages[5])
	require.NoError(t, a.add(&page{}))
}
