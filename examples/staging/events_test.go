package main

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

// quiet is a server with one job that no pool runs.
func quiet(t *testing.T, beat time.Duration) (*server, *program, *album, string) {
	t.Helper()
	a := openTestAlbum(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server, err := startServer(listener, a, beat, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	p := &program{url: siteOf(listener.Addr()), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(p.client.CloseIdleConnections)
	accepted, err := a.accept(t.Context(), order{file: a.samples[0].File, room: localmodel.RoomTypes()[0], style: localmodel.Styles()[0]})
	require.NoError(t, err)
	return server, p, a, accepted.id
}

func openTestAlbum(t *testing.T) *album {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	archive, err := openArchive(t.Context(), t.TempDir(), "")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, archive.close()) })
	studio, err := openStudio("", false, archive.statuses, nil, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, studio.close()) })
	a, err := openAlbum(archive, studio, log)
	require.NoError(t, err)
	return a
}

// Ctrl-C doesn't wait for pages that are open.
func TestStopWithOpenStream(t *testing.T) {
	server, p, _, id := quiet(t, time.Hour)
	from := bufio.NewReader(p.open(t, "/jobs/"+id+"/events", "").body)
	for line := ""; !strings.HasPrefix(line, "data:"); {
		var err error
		line, err = from.ReadString('\n')
		require.NoError(t, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.stop() }()
	assert.Empty(t, readEvents(t, from), "the job goes on waiting")
	require.NoError(t, <-stopped, "it would be an error if the stream were waited for in vain")
}

// The end of a job reaches an open page even if no news told of it.
func TestStreamLooksIntoTheStore(t *testing.T) {
	server, p, a, id := quiet(t, 10*time.Millisecond)
	from := p.open(t, "/jobs/"+id+"/events", "")
	last, err := a.statuses.Get(t.Context(), id)
	require.NoError(t, err)
	last.State, last.Version, last.Error = worker.StateFailed, last.Version+1, "no more paper"
	_, err = a.statuses.Save(t.Context(), *last)
	require.NoError(t, err)
	events := readEvents(t, from.body)
	require.NotEmpty(t, events)
	assert.Equal(t, worker.StateFailed, events[len(events)-1].status.State)
	assert.Equal(t, "no more paper", events[len(events)-1].status.Error)
	require.NoError(t, server.stop())
}
