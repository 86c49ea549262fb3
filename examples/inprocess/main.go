// Inprocess is an API service that has a database of its own and runs its workers in its own process. What becomes of
// a job stands in the table that the service has anyway, and nowhere else: images.go is the whole worker.StatusStore.
//
//	go run ./examples/inprocess
//	curl -d '{"source_url": "https://rooms.example/1.jpg", "notify": "ada@example.org"}' http://127.0.0.1:8080/images
//	curl http://127.0.0.1:8080/images/ID
//
// A source_url with "broken" in it fails. The database is SQLite in memory, or a file that -db names; Redis is an
// embedded one unless REDIS_URL names a server.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

const stopTimeout = 5 * time.Second // for requests under way

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	file := flag.String("db", ":memory:", "SQLite `file` for the images")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	if err := run(ctx, *addr, *file, os.Getenv("REDIS_URL"), os.Stdout); err != nil {
		log.Fatalf("inprocess: %v", err)
	}
}

// run is the service. It ends when ctx does.
func run(ctx context.Context, addr, file, redisURL string, stdout io.Writer) (err error) {
	db, err := openDB(ctx, file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	redis, closeRedis, err := openRedis(redisURL)
	if err != nil {
		return err
	}
	defer closeRedis()
	queue, err := redisqueue.New(redis, redisqueue.Config{Namespace: "inprocess"})
	if err != nil {
		return err
	}
	service, err := newService(db, queue, pretend, printMails(stdout))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return service.run(ctx, listener, stdout)
}

// openDB opens a SQLite database and makes the table. SQLite has one writer at a time; one connection for all is the
// simplest way to wait for it. Nothing may then use db while it has a transaction open.
func openDB(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("make the table of images in %s: %w", file, err), db.Close())
	}
	return db, nil
}

// openRedis connects to the server that url names, or to an embedded one.
func openRedis(url string) (client rueidis.Client, closeAll func(), err error) {
	option, stop := rueidis.ClientOption{ForceSingleClient: true}, func() {}
	if url != "" {
		option, err = rueidis.ParseURL(url)
	} else {
		server := miniredis.NewMiniRedis()
		err = server.Start()
		option.InitAddress, stop = []string{server.Addr()}, server.Close
	}
	if err != nil {
		return nil, nil, fmt.Errorf("redis: %w", err)
	}
	option.DisableCache = true
	if client, err = rueidis.NewClient(option); err != nil {
		stop()
		return nil, nil, fmt.Errorf("connect to redis: %w", err)
	}
	return client, func() { client.Close(); stop() }, nil
}

// printMails is a mailer for those who have no mail server.
func printMails(w io.Writer) mailer {
	return func(_ context.Context, to, text string) error {
		_, err := fmt.Fprintf(w, "mail to %s: %s\n", to, text)
		return err
	}
}

// service is the API and the workers.
type service struct {
	orders *orders
	pool   *worker.Pool
}

// newService puts the parts together.
func newService(db *sql.DB, queue worker.Queue, stage model, mail mailer) (*service, error) {
	backend := worker.Backend{Queue: queue, StatusStore: &imageStatuses{db: db}}
	client, err := worker.NewClient(backend)
	if err != nil {
		return nil, err
	}
	pool, err := worker.NewPool(worker.Config{Backend: backend, Registry: handlers(stage, mail, client)})
	if err != nil {
		return nil, err
	}
	return &service{orders: &orders{db: db, client: client, log: slog.Default()}, pool: pool}, nil
}

// run serves requests and runs jobs until ctx ends or the server fails. Then it takes no more requests, and lets those
// under way and the jobs that run finish.
func (s *service) run(ctx context.Context, listener net.Listener, stdout io.Writer) error {
	if err := s.pool.Start(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	server := &http.Server{Handler: s.orders.api(), ReadHeaderTimeout: 10 * time.Second}
	var tasks sync.WaitGroup
	var served error
	tasks.Go(func() {
		defer stop()
		if served = server.Serve(listener); errors.Is(served, http.ErrServerClosed) {
			served = nil
		}
	})
	tasks.Go(func() { s.orders.keepPushing(ctx) })
	_, _ = fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())

	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	_ = server.Shutdown(closing) // requests that take longer are cut off when the process ends
	tasks.Wait()
	return errors.Join(served, s.pool.Stop(context.WithoutCancel(ctx)))
}
