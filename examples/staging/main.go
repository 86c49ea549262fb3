// Staging is virtual staging, whole: an API with a page where people stage pictures of empty rooms, and the pool of workers
// that does it.
//
//	go run ./examples/staging
//	go run ./examples/staging -image in.jpg -out staged.jpg -room bedroom -style scandinavian -seed 7
//
// The first serves the page on 127.0.0.1:8080 after it has staged a bundled picture, the second stages one picture and
// ends. It needs nothing but itself: Redis is an embedded one unless REDIS_URL names a server, orders and statuses are
// kept in SQLite unless DATABASE_URL names a Postgres, and the model is package localmodel, which needs no network.
//
// API and workers are processes of their own, as many as one likes, when each is told its role and what they share; any
// of them may be killed and started again at any time:
//
//	export REDIS_URL=redis://127.0.0.1:6379
//	go run ./examples/staging -role api -data /tmp/staging
//	go run ./examples/staging -role worker -data /tmp/staging
//	go run ./examples/staging -role worker -data /tmp/staging -pace 2s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is the program without the process: it ends when ctx does and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	s, err := readSettings(args, getenv, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		complain(stderr, fmt.Errorf("%w (-help shows how to use it)", err))
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	switch {
	case s.image != "":
		err = stageOne(ctx, s, log, stderr)
	case s.role == roleWorker:
		err = work(ctx, s, log, stdout)
	default:
		err = serve(ctx, s, log, stdout)
	}
	if err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// complain writes one line, whatever the error.
func complain(w io.Writer, err error) {
	say(w, "staging: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// say prints. If that fails nobody listens, and there is nobody to tell.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
