package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
)

// serve answers people until ctx ends. With the role "all" it runs a pool as well, and stages a bundled picture first.
func serve(ctx context.Context, s settings, log *slog.Logger, stdout io.Writer) (err error) {
	listener, err := listen(s.addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // for the ways out before the server has it
	archive, err := openArchive(ctx, s.data, s.databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, archive.close()) }()

	site := siteOf(listener.Addr())
	var tape worker.Notifier // without a pool there is little to tell
	if s.role == roleAll {
		tape = newTape(stdout, site)
	}
	studio, err := openStudio(s.redisURL, archive.temporary, archive.statuses, tape, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, studio.close()) }()
	if s.role == roleAll {
		if err := studio.workOn(ctx, archive, s.pace); err != nil {
			return err
		}
	}
	album, err := openAlbum(archive, studio, log)
	if err != nil {
		return err
	}
	server, err := startServer(listener, album, 0, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	introduce(stdout, s, archive)
	if s.role == roleAll {
		if err := album.showFirst(ctx, stdout); err != nil {
			return err
		}
	}
	say(stdout, "page: %s/\nCtrl-C stops.\n\n", site)
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.failed:
		return err
	}
}

func listen(addr string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another program: choose another address with -addr, such as "+
			"-addr 127.0.0.1:0 for a free port", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("-addr %s: %w", addr, err)
	}
	return listener, nil
}

// siteOf is where a browser on this machine finds what listens at addr.
func siteOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	return "http://" + addr.String()
}

// introduce says where everything is.
func introduce(w io.Writer, s settings, a *archive) {
	redis := "embedded; REDIS_URL names a real server"
	if s.redisURL != "" {
		redis = "the server in REDIS_URL"
	}
	database := "SQLite, beside the pictures; DATABASE_URL names a Postgres"
	if s.databaseURL != "" {
		database = "the Postgres in DATABASE_URL"
	}
	pictures := a.dir
	if a.temporary {
		pictures += ", removed at exit; -data DIR keeps them"
	}
	say(w, "redis:    %s\ndatabase: %s\npictures: %s\n\n", redis, database, pictures)
}

// showFirst stages the first bundled picture and waits for it, unless there are pictures already. That it fails is no
// reason not to serve.
func (a *album) showFirst(ctx context.Context, w io.Writer) error {
	if there, err := a.newestPages(ctx, 1); err != nil || len(there) > 0 {
		return err
	}
	first := a.samples[0]
	room, err := choose("room", localmodel.RoomTypes(), first.RoomType)
	if err != nil {
		return err
	}
	style, err := choose("style", localmodel.Styles(), "")
	if err != nil {
		return err
	}
	say(w, "staging the bundled picture %s as %s, %s\n\n", first.File, room.Label, style.Label)
	seed := int64(1)
	p, err := a.accept(ctx, order{file: first.File, room: room, style: style, seed: &seed})
	if err != nil {
		return err
	}
	if _, err := a.studio.end(ctx, p.id); err != nil && ctx.Err() == nil {
		return err
	}
	say(w, "\n")
	return nil
}

// server is a running http.Server.
type server struct {
	http   *http.Server
	failed chan error // why it stopped serving; closed then
}

func startServer(listener net.Listener, album *album, heartbeat time.Duration, log *slog.Logger) (*server, error) {
	events, err := newEvents(album, heartbeat, log)
	if err != nil {
		return nil, err
	}
	routes, err := (&api{album: album, events: events}).routes()
	if err != nil {
		return nil, err
	}
	s := &server{failed: make(chan error, 1), http: &http.Server{
		Handler:           guard(listener.Addr(), routes),
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      time.Minute, // streams set their own
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	s.http.RegisterOnShutdown(events.Shutdown) // Shutdown would wait for open streams
	go func() {
		defer close(s.failed)
		s.failed <- s.http.Serve(listener)
	}()
	return s, nil
}

// stop lets requests end, for a few seconds.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("stop server: %w", err), s.http.Close())
	}
	for range s.failed { // until Serve has returned
	}
	return err
}
