package sse

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/safelog"
)

// Config says how a Handler behaves. The zero value of every field works, but without Authorize all requests to
// ServeHTTP are refused. Functions are called from many goroutines at once.
type Config struct {
	// Topics says which topics a request is for. An error refuses the request with 400. Nil means all values of the
	// query's parameter "topic".
	Topics func(r *http.Request) ([]string, error)
	// Authorize is asked for each topic of a request to ServeHTTP. An error refuses the request with 403. Nil
	// refuses all of them; Public lets everybody see everything.
	Authorize func(r *http.Request, topic string) error
	// Snapshot returns the last status of each of the topic's jobs: of the unfinished, and of those finished ones that
	// a viewer should see. One call serves all viewers that the topic has on this Handler, so the answer must depend on
	// the topic alone; ctx carries the values of one of their requests. The store must be at least as new as what
	// viewers were told: not a replica that lags. It is called when viewers come; at each Heartbeat while a topic has
	// unfinished jobs, or none that are known; and at every fourth when all are final, since the news of a next one may
	// be lost, too. It must heed ctx: one that doesn't leaves a goroutine behind for every topic it hangs on. Nil: there
	// are no snapshots, and what the notifier lost stays lost.
	Snapshot func(ctx context.Context, topic string) ([]worker.Status, error)
	// SnapshotTimeout bounds a call of Snapshot. Zero means 5 seconds.
	SnapshotTimeout time.Duration
	// Encode makes the message of an event that has a Status or Plain bytes; false skips the event. What it is given is
	// shared: read only. A message equal to the job's last one on a stream is not sent again. Nil means
	// DefaultEncode.
	Encode func(e worker.Event) (Message, bool)
	// Connected makes a message that each stream begins with. Nil: none.
	Connected func(topics []string) Message

	// Heartbeat is the longest silence on a stream; each stream varies its own a little. Zero means 15 seconds.
	Heartbeat time.Duration
	// HeartbeatMessage is sent as heartbeat, if it isn't zero. Otherwise a comment is, which pages don't see.
	HeartbeatMessage Message
	// EndAfterFinal ends a stream when every topic has a job and all jobs are final. A viewer who comes back after
	// that, with its Last-Event-ID and with nothing new to see, is answered 204, so that browsers stop.
	EndAfterFinal bool
	// MaxAge is how long a stream lasts at most before the viewer has to come back; each stream takes off up to a fifth.
	// Zero means 1 hour.
	MaxAge time.Duration
	// Retry is how long browsers wait before they come back; each stream tells a time between half and one and a half of
	// it. Zero means 2 seconds.
	Retry time.Duration
	// WriteTimeout is how long one event may take to be written before the stream ends. Zero means 10 seconds.
	WriteTimeout time.Duration

	// MaxTopics is how many topics a stream may have. Zero means 16, the most is 100: ids hold as many positions of up to
	// 25 characters. Viewers cannot resume where a Subscriber's positions are too long for them.
	MaxTopics int
	// MaxStreams is how many streams may be open at once; more are refused with 503. Zero means 10,000.
	MaxStreams int
	// Backlog is how many events may wait for a slow viewer before they are reduced to the newest of each job; a viewer
	// behind by as many jobs is sent away to resume. It should exceed the length of the topics' logs. Zero means 256.
	Backlog int

	// Error writes the answer to a request that is refused: code is 400, 403, 405 or 503, and headers that go with
	// it are set. Nil means a plain text: the error's, or for 403 and 503 only the code's.
	Error func(w http.ResponseWriter, r *http.Request, code int, err error)
	// Logger takes what operators need to know. Nil means slog.Default(). A handler that panics loses a line.
	Logger *slog.Logger
	// MeterProvider takes the metric worker.sse.clients: how many streams are open. Nil means OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
}

const (
	defaultSnapshotTimeout = 5 * time.Second
	defaultHeartbeat       = 15 * time.Second
	defaultMaxAge          = time.Hour
	defaultRetry           = 2 * time.Second
	defaultWriteTimeout    = 10 * time.Second
	defaultMaxTopics       = 16
	defaultMaxStreams      = 10_000
	defaultBacklog         = 256
)

// maxTopics is how many topics' positions fit into an id of maxIDSize, with those of package redisnotify well within.
const maxTopics = 100

// Public is an Authorize that lets everybody see every topic.
func Public(*http.Request, string) error { return nil }

func (c Config) withDefaults() Config {
	if c.Topics == nil {
		c.Topics = queryTopics
	}
	if c.Encode == nil {
		c.Encode = DefaultEncode
	}
	if c.Error == nil {
		c.Error = writeError
	}
	c.Logger = safelog.New(c.Logger)
	for _, d := range c.durations() {
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	for _, n := range c.numbers() {
		if *n.value == 0 {
			*n.value = n.standard
		}
	}
	return c
}

// setting is a field with its name and default.
type setting[T any] struct {
	name     string
	value    *T
	standard T
}

func (c *Config) durations() []setting[time.Duration] {
	return []setting[time.Duration]{
		{name: "SnapshotTimeout", value: &c.SnapshotTimeout, standard: defaultSnapshotTimeout},
		{name: "Heartbeat", value: &c.Heartbeat, standard: defaultHeartbeat},
		{name: "MaxAge", value: &c.MaxAge, standard: defaultMaxAge},
		{name: "Retry", value: &c.Retry, standard: defaultRetry},
		{name: "WriteTimeout", value: &c.WriteTimeout, standard: defaultWriteTimeout},
	}
}

func (c *Config) numbers() []setting[int] {
	return []setting[int]{
		{name: "MaxTopics", value: &c.MaxTopics, standard: defaultMaxTopics},
		{name: "MaxStreams", value: &c.MaxStreams, standard: defaultMaxStreams},
		{name: "Backlog", value: &c.Backlog, standard: defaultBacklog},
	}
}

// problems lists all that is wrong with a config that has its defaults.
func (c Config) problems() (problems []error) {
	for _, d := range c.durations() {
		if *d.value < time.Millisecond {
			problems = append(problems, fmt.Errorf("%s is %v: the least is 1ms", d.name, *d.value))
		}
	}
	for _, n := range c.numbers() {
		if *n.value < 1 {
			problems = append(problems, fmt.Errorf("%s is %d: the least is 1", n.name, *n.value))
		}
	}
	if c.MaxTopics > maxTopics {
		problems = append(problems, fmt.Errorf("MaxTopics is %d: the most is %d", c.MaxTopics, maxTopics))
	}
	return problems
}
