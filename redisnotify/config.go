package redisnotify

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redisconf"
	"github.com/real-staging-ai/go-worker/internal/safelog"
)

// Config says how a Notifier behaves. The zero value of every field works. All processes that share topics should have
// the same one.
type Config struct {
	// Namespace begins all keys and channels, so that several applications can share a server: A-Z a-z 0-9 _ . -, at
	// most 64 of them. Empty means "worker".
	Namespace string
	// LogSize is how many events the log of a topic holds. Zero means 64, the most is 4,096. A log keeps the size that
	// it was begun with until it expires. There is no limit in bytes: events are kept whole, in Redis's memory, and who
	// goes to the log reads all of it. So 64 results of worker.MaxResultSize on one topic are 64 MiB: keep large results
	// elsewhere, and a reference to them in the result, or the log short.
	LogSize int
	// LogTTL is how long a log is kept after its last event, up to a sixteenth less. Zero means 1 hour, the least is
	// 1 second.
	LogTTL time.Duration
	// Channel names the channel that a topic is published on, each topic its own. Nil means a name that begins with
	// the namespace; Notifier.Channel tells it. On a cluster, channels with names of the host are ordinary ones.
	Channel func(topic string) string
	// Message makes the bytes that are published on the topic's channel, for subscribers that the host has had before
	// this package. Nil means JSON that begins with the event's position. It is called once for each status, and its
	// result is the package's. An empty result means that nothing is published there.
	Message func(worker.Status) []byte
	// Buffer is how many live events may wait for one subscriber before it is sent back to the log. Zero means 64.
	Buffer int
	// Timeout bounds every call to Redis, and how long Subscribe may take. Zero means 3 seconds.
	Timeout time.Duration
	// Ping is how often the subscribing connection is tried: a peer that died without a word is noticed within Ping
	// and Timeout. Zero means 5 seconds.
	Ping time.Duration
	// Logger takes what operators need to know. Nil means slog.Default(). A handler that panics loses a line.
	Logger *slog.Logger
}

const (
	defaultLogSize = 64
	maxLogSize     = 4_096 // as many values as a script can pass on at once
	defaultLogTTL  = time.Hour
	minLogTTL      = time.Second
	defaultBuffer  = 64
	defaultTimeout = 3 * time.Second
	defaultPing    = 5 * time.Second
)

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = redisconf.DefaultNamespace
	}
	if c.LogSize == 0 {
		c.LogSize = defaultLogSize
	}
	if c.LogTTL == 0 {
		c.LogTTL = defaultLogTTL
	}
	if c.Buffer == 0 {
		c.Buffer = defaultBuffer
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Ping == 0 {
		c.Ping = defaultPing
	}
	c.Logger = safelog.New(c.Logger)
	return c
}

// leastTTL is when a log may expire after its last event: notify.lua prolongs only what is older than a sixteenth.
func (c Config) leastTTL() time.Duration { return c.LogTTL - c.LogTTL/16 }

// check reports all that is wrong with a config that has its defaults.
func (c Config) check(client rueidis.Client) error {
	errs := []error{redisconf.CheckClient(client), redisconf.CheckNamespace(c.Namespace)}
	if c.LogSize < 1 || c.LogSize > maxLogSize {
		errs = append(errs, fmt.Errorf("LogSize is %d: it must be from 1 to %d", c.LogSize, maxLogSize))
	}
	if c.LogTTL < minLogTTL {
		errs = append(errs, fmt.Errorf("LogTTL is %v: the least is %v", c.LogTTL, minLogTTL))
	}
	if c.Buffer < 1 {
		errs = append(errs, fmt.Errorf("Buffer is %d: the least is 1", c.Buffer))
	}
	for _, f := range [...]struct {
		name string
		d    time.Duration
	}{{"Timeout", c.Timeout}, {"Ping", c.Ping}} {
		if f.d < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s is %v: the least is 1ms", f.name, f.d))
		}
	}
	return errors.Join(errs...)
}
