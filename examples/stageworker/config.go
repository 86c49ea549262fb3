package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sqlstatus"
	"github.com/real-staging-ai/go-worker/stage"
)

// config is all that the program is told.
type config struct {
	redis     rueidis.ClientOption
	namespace string
	database  *pgx.ConnConfig
	statuses  sqlstatus.Config

	queue                    string
	concurrency, attempts    int
	jobTimeout, drainTimeout time.Duration

	staging stage.Config // without its ports
	ports   portsConfig

	httpAddr     string
	otlpEndpoint string
	serviceName  string
	logLevel     slog.Level
}

const maxConcurrency = 100_000 // of a pool

// readConfig reads the environment and reports all that is wrong with it, by variable. What may hold a password is never
// part of an error.
func readConfig(get func(name string) string) (*config, error) {
	e := &env{get: get}
	c := &config{
		redis:     readRedis(e),
		namespace: e.text("REDIS_NAMESPACE", "worker"),
		database:  readDatabase(e),
		statuses:  readStatuses(e),

		queue:        e.text("QUEUE", worker.DefaultQueue),
		concurrency:  int(e.number("CONCURRENCY", 4)),
		attempts:     int(e.number("MAX_ATTEMPTS", 3)),
		jobTimeout:   e.duration("JOB_TIMEOUT", 10*time.Minute),
		drainTimeout: e.duration("DRAIN_TIMEOUT", 30*time.Second),

		staging: readStaging(e),

		httpAddr:     e.text("HTTP_ADDR", "127.0.0.1:9464"),
		otlpEndpoint: e.address("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
		serviceName:  e.text("OTEL_SERVICE_NAME", "stageworker"),
	}
	if err := worker.CheckQueueName(c.queue); err != nil {
		e.add("QUEUE: %w", err)
	}
	if worker.CheckQueueName(c.namespace) != nil || strings.Contains(c.namespace, ":") {
		e.add("REDIS_NAMESPACE is %.80q: allowed are up to %d of A-Z a-z 0-9 _ . -", c.namespace, worker.MaxQueueLength)
	}
	if c.concurrency > maxConcurrency {
		e.add("CONCURRENCY is %d: it must be at most %d", c.concurrency, maxConcurrency)
	}
	if _, port, err := net.SplitHostPort(c.httpAddr); err != nil || !isPort(port) {
		e.add("HTTP_ADDR is %.60q: it must be host:port, or :port for all addresses of this machine", c.httpAddr)
	}
	level := e.text("LOG_LEVEL", "info")
	if c.logLevel.UnmarshalText([]byte(level)) != nil {
		e.add("LOG_LEVEL is %.40q: it must be one of debug, info, warn, error", level)
	}
	c.ports = readPorts(e)
	return c, e.err()
}

func readRedis(e *env) rueidis.ClientOption {
	url := e.required("REDIS_URL", "where jobs wait, as redis://:password@host:6379/0")
	if url == "" {
		return rueidis.ClientOption{}
	}
	option, err := rueidis.ParseURL(strings.TrimSuffix(url, "/")) // a database without a number is none
	if err != nil {
		e.add("REDIS_URL cannot be read: it must be like redis://:password@host:6379/0, or rediss:// for TLS")
	}
	option.DisableCache = true // nothing here reads through rueidis' client-side cache
	return option
}

func readDatabase(e *env) *pgx.ConnConfig {
	url := e.required("DATABASE_URL", "where statuses are kept, as postgres://user:password@host:5432/database")
	if url == "" {
		return nil
	}
	option, err := pgx.ParseConfig(url)
	if err != nil || !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		e.add("DATABASE_URL cannot be read: it must be like postgres://user:password@host:5432/database")
	}
	return option
}

// readStatuses reads in which schema the tables are. The library judges.
func readStatuses(e *env) sqlstatus.Config {
	c := sqlstatus.Config{Dialect: sqlstatus.Postgres, Schema: e.text("DATABASE_SCHEMA", "")}
	if _, err := sqlstatus.New(new(sql.DB), c); err != nil { // it doesn't ask the database
		e.add("DATABASE_SCHEMA: %w", err)
	}
	return c
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// readStaging reads what jobs may ask for. The library judges, one variable at a time.
func readStaging(e *env) stage.Config {
	c := stage.Config{
		RoomTypes:      e.list("ROOM_TYPES"),
		Styles:         e.list("STYLES"),
		PromptTemplate: e.text("PROMPT_TEMPLATE", ""),
		MaxBytes:       e.number("MAX_BYTES", stage.DefaultMaxBytes),
		MaxPixels:      e.number("MAX_PIXELS", stage.DefaultMaxPixels),
		PixelBudget:    e.number("PIXEL_BUDGET", 0),
	}
	for _, part := range []struct {
		variable string
		config   stage.Config
	}{
		{"ROOM_TYPES", stage.Config{RoomTypes: c.RoomTypes}},
		{"STYLES", stage.Config{Styles: c.Styles}},
		{"PROMPT_TEMPLATE", stage.Config{PromptTemplate: c.PromptTemplate}},
		{"PIXEL_BUDGET", stage.Config{MaxPixels: max(c.MaxPixels, 0), PixelBudget: max(c.PixelBudget, 0)}},
	} {
		part.config.Source, part.config.Model, part.config.Sink = nowhere.source, nowhere.model, nowhere.sink
		if _, err := stage.NewHandler(part.config); err != nil {
			e.add("%s: %w", part.variable, err)
		}
	}
	return c
}

// nowhere are ports for handlers that run no job.
var nowhere = struct {
	source stage.SourceFunc
	model  stage.ModelFunc
	sink   stage.SinkFunc
}{
	func(context.Context, string) (stage.Original, error) { return stage.Original{}, errors.ErrUnsupported },
	func(context.Context, stage.Request) (stage.Picture, error) {
		return stage.Picture{}, errors.ErrUnsupported
	},
	func(context.Context, stage.Staged) (string, error) { return "", errors.ErrUnsupported },
}
