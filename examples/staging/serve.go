package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker/examples/staging/localmodel"
	"github.com/real-staging-ai/go-worker/stage"
)

// serve stages the bundled picture, then waits for people until ctx ends.
func serve(ctx context.Context, addr, redisURL string, log *slog.Logger, stdout io.Writer) (err error) {
	listener, err := listen(addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // for the ways out before the server has it
	dir, err := os.MkdirTemp("", "staging-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	site := siteOf(listener.Addr())
	album, err := openAlbum(ctx, dir, redisURL, newTape(stdout, site), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, album.close()) }()
	server, err := startServer(listener, album, heartbeat, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	introduce(stdout, redisURL, dir)
	if err := album.showFirst(ctx, stdout); err != nil {
		return err
	}
	say(stdout, "\npage: %s/\nCtrl-C stops.\n\n", site)
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

// openAlbum unpacks the samples below dir and opens the studio that stages its pictures.
func openAlbum(ctx context.Context, dir, redisURL string, tape *tape, log *slog.Logger) (*album, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	a := &album{root: root}
	err = errors.Join(root.Mkdir("originals", 0o755), root.Mkdir("staged", 0o755))
	if err == nil {
		a.samples, err = unpackSamples(root)
	}
	if err == nil {
		a.studio, err = openAlbumStudio(ctx, dir, redisURL, tape, log)
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return a, nil
}

func openAlbumStudio(ctx context.Context, dir, redisURL string, tape *tape, log *slog.Logger) (*studio, error) {
	model, err := newDecorator(encodeJPEG)
	if err != nil {
		return nil, err
	}
	return openStudio(ctx, redisURL, ports{
		source: stage.Files{Root: dir},
		model:  model,
		sink:   stage.Files{Root: filepath.Join(dir, "staged"), BaseURL: "/images/staged"},
	}, tape, log)
}

func (a *album) close() error { return errors.Join(a.studio.close(), a.root.Close()) }

func introduce(w io.Writer, redisURL, dir string) {
	where := "embedded; REDIS_URL names a real server"
	if redisURL != "" {
		where = "the server in REDIS_URL"
	}
	say(w, "redis:    %s\npictures: %s, removed at exit\n\n", where, dir)
}

// showFirst stages the first bundled picture and waits for it. That it fails is no reason not to serve.
func (a *album) showFirst(ctx context.Context, w io.Writer) error {
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
	if _, err := a.studio.news.end(ctx, p.id); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// server is a running http.Server.
type server struct {
	http   *http.Server
	failed chan error // why it stopped serving; closed then
}

func startServer(listener net.Listener, album *album, beat time.Duration, log *slog.Logger) (*server, error) {
	closing := make(chan struct{})
	routes, err := (&api{album: album, beat: beat, closing: closing}).routes()
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
	s.http.RegisterOnShutdown(func() { close(closing) }) // Shutdown would wait for open streams
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
