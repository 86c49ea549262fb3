package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/real-staging-ai/go-worker"
)

const (
	heartbeat  = 15 * time.Second
	writeLimit = 10 * time.Second // for one write: who doesn't read for so long is gone
)

// events streams a job's statuses as Server-Sent Events, from the first or from the one after Last-Event-ID, until the
// final one. The id of an event is the status's version.
func (a *api) events(w http.ResponseWriter, r *http.Request) error {
	p := a.album.find(r.PathValue("id"))
	if p == nil {
		return errNoJob
	}
	version, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		version = -1
	}
	if a.isOver(r, p.id, version) {
		w.WriteHeader(http.StatusNoContent) // makes a browser stop asking
		return nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	s := &stream{w: w, control: http.NewResponseController(w), version: version}
	if err := s.write("retry: 1000\n\n"); err == nil { // otherwise nobody listens any more
		a.follow(r, p.id, s)
	}
	return nil
}

// isOver reports whether the reader has seen the job's final status.
func (a *api) isOver(r *http.Request, id string, seen int64) bool {
	status, err := a.album.status(r.Context(), id)
	return err == nil && status.State.Final() && status.Version <= seen
}

// follow writes until the job, the connection or the server ends. At each heartbeat it also looks into the store, which
// knows what no news may have told.
func (a *api) follow(r *http.Request, id string, s *stream) {
	beat := time.NewTicker(a.beat)
	defer beat.Stop()
	for {
		statuses, grew := a.album.studio.news.since(id, s.version)
		if over, err := s.send(statuses...); over || err != nil {
			return
		}
		select {
		case <-grew:
		case <-beat.C:
			if s.write(": still here\n\n") != nil {
				return
			}
			if status, err := a.album.status(r.Context(), id); err == nil {
				if over, err := s.send(*status); over || err != nil {
					return
				}
			}
		case <-r.Context().Done():
			return
		case <-a.closing:
			return
		}
	}
}

// stream is one open connection.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	version int64 // of the last status sent
}

// send writes the statuses that are newer than the last one sent, and reports whether the last of them is final.
func (s *stream) send(statuses ...worker.Status) (over bool, err error) {
	for _, status := range statuses {
		if status.Version <= s.version {
			continue
		}
		data, err := json.Marshal(status) // has no line breaks
		if err != nil {
			return false, err
		}
		if err := s.write(fmt.Sprintf("id: %d\nevent: status\ndata: %s\n\n", status.Version, data)); err != nil {
			return false, err
		}
		s.version, over = status.Version, status.State.Final()
	}
	return over, nil
}

// write sends at once. The server's own WriteTimeout would end every stream, so each write has a deadline of its own.
func (s *stream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.control.Flush()
}
