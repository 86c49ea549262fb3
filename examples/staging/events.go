package main

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/real-staging-ai/go-worker/sse"
)

// newEvents makes what streams jobs to pages: the log in Redis, else the row in the database, then what is new, until a
// job is over. A page that lost its connection comes back by itself, to whichever process answers, and reads what it
// missed.
func newEvents(a *album, heartbeat time.Duration, log *slog.Logger) (*sse.Handler, error) {
	return sse.NewHandler(a.studio.news, sse.Config{
		Snapshot:      a.snapshot,
		Heartbeat:     heartbeat, // zero: as package sse has it
		EndAfterFinal: true,
		Retry:         time.Second,
		Error: func(w http.ResponseWriter, _ *http.Request, code int, err error) {
			writeProblem(w, &problem{code: code, err: err})
		},
		Logger: log,
	})
}
