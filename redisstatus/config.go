package redisstatus

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/redisconf"
)

// Config says how a Store behaves. The zero value of every field works.
type Config struct {
	// Namespace begins all keys, so that several applications can share a server: A-Z a-z 0-9 _ . -, at most 64 of
	// them. Empty means "worker".
	Namespace string
	// FinishedTTL is how long the status of a job that is over is kept; after that its id is as good as new. Zero
	// means 7 days.
	FinishedTTL time.Duration
	// UnfinishedTTL is how long the status of any other job is kept after its last change. It should exceed the longest
	// delay of a job, as a status that expires before its job runs guards nothing. Zero means 30 days.
	UnfinishedTTL time.Duration
	// Timeout bounds every call to Redis. Zero means 3 seconds.
	Timeout time.Duration
}

const (
	defaultFinishedTTL   = 7 * 24 * time.Hour
	defaultUnfinishedTTL = 30 * 24 * time.Hour
	minTTL               = time.Second
	defaultTimeout       = 3 * time.Second
)

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = redisconf.DefaultNamespace
	}
	if c.FinishedTTL == 0 {
		c.FinishedTTL = defaultFinishedTTL
	}
	if c.UnfinishedTTL == 0 {
		c.UnfinishedTTL = defaultUnfinishedTTL
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return c
}

// check reports all that is wrong with a config that has its defaults.
func (c Config) check(client rueidis.Client) error {
	errs := []error{redisconf.CheckClient(client), redisconf.CheckNamespace(c.Namespace)}
	for _, f := range [...]struct {
		name     string
		d, least time.Duration
	}{{"FinishedTTL", c.FinishedTTL, minTTL}, {"UnfinishedTTL", c.UnfinishedTTL, minTTL}, {"Timeout", c.Timeout, time.Millisecond}} {
		if f.d < f.least {
			errs = append(errs, fmt.Errorf("%s is %v: the least is %v", f.name, f.d, f.least))
		}
	}
	return errors.Join(errs...)
}
