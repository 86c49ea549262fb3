// Observability is a pool whose traces, metrics and health can be watched: OpenTelemetry's SDK, an exporter for Prometheus,
// traces over OTLP, probes, and a load of jobs that succeed, fail and are retried. Beside it lie a Grafana dashboard and
// alert rules for any program that uses the library. It needs a Redis:
//
//	go run ./examples/observability -redis 127.0.0.1:6379
//	go run ./examples/observability -redis 127.0.0.1:6379 -otlp http://127.0.0.1:4318
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	addr  string        // of /metrics, /healthz, /readyz and /events
	redis string        // address
	otlp  string        // URL that traces are sent to; empty: they are not made
	rate  float64       // jobs a second; zero: none
	slots int           // handlers at once
	lease time.Duration // of the workers
	grace time.Duration // for handlers whose context has ended
}

func main() {
	var s settings
	flag.StringVar(&s.addr, "addr", "127.0.0.1:9464", "address of /metrics, /healthz, /readyz and /events/{topic}")
	flag.StringVar(&s.redis, "redis", "127.0.0.1:6379", "address of Redis")
	flag.StringVar(&s.otlp, "otlp", os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"),
		"URL of an OTLP/HTTP receiver of traces, as http://127.0.0.1:4318")
	flag.Float64Var(&s.rate, "rate", 20, "jobs to enqueue a second; zero for none")
	flag.IntVar(&s.slots, "slots", 8, "handlers that run at once")
	flag.DurationVar(&s.lease, "lease", 10*time.Second, "lease of the workers")
	flag.DurationVar(&s.grace, "grace", 5*time.Second, "how long a handler may take to return after its context has ended")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "observability:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, s settings) error {
	a, err := newApp(ctx, s)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return errors.Join(err, a.close())
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	err = a.serve(ctx, l)
	return errors.Join(err, a.close())
}

// serve runs pool, load and server until ctx ends, or one of them fails.
func (a *app) serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 3)
	server := &http.Server{Handler: a.routes(), ReadHeaderTimeout: 5 * time.Second}
	server.RegisterOnShutdown(a.viewers.Shutdown)
	go func() { ended <- a.pool.Run(ctx) }()
	go func() { ended <- a.load(ctx) }()
	go func() { ended <- server.Serve(l) }()

	var problems []error
	keep := func(err error) {
		if err != nil && !errors.Is(err, http.ErrServerClosed) {
			problems = append(problems, err)
		}
	}
	left := cap(ended)
	select {
	case <-ctx.Done():
	case err := <-ended:
		left--
		keep(err)
	}
	cancel()
	closing, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	if err := server.Shutdown(closing); err != nil {
		slog.Warn("requests are cut off", "error", err)
		keep(server.Close())
	}
	for range left {
		keep(<-ended)
	}
	return errors.Join(problems...)
}
