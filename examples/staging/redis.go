package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"
)

// redis is a connection to Redis, and the server if it is the embedded one.
type redis struct {
	rueidis.Client
	embedded *miniredis.Miniredis
}

// openRedis connects to the server that rawURL names. Empty means an embedded one.
func openRedis(rawURL string) (*redis, error) {
	if rawURL == "" {
		return embedRedis()
	}
	option, err := rueidis.ParseURL(strings.TrimSuffix(rawURL, "/")) // a database without a number is none
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err // without the URL, which may hold a password
		}
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	option.DisableCache = true // nothing here reads through rueidis' client-side cache
	client, err := rueidis.NewClient(option)
	if err != nil {
		return nil, fmt.Errorf("connect to the server in REDIS_URL: %w", err)
	}
	return &redis{Client: client}, nil
}

func embedRedis() (*redis, error) {
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{server.Addr()},
		DisableCache:      true,
		ForceSingleClient: true,
	})
	if err != nil {
		server.Close()
		return nil, fmt.Errorf("connect to the embedded Redis: %w", err)
	}
	return &redis{Client: client, embedded: server}, nil
}

func (r *redis) close() {
	r.Close()
	if r.embedded != nil {
		r.embedded.Close()
	}
}

// forget removes what a queue leaves behind. docs/protocol.md lists the keys.
func (r *redis) forget(ctx context.Context, namespace, queue string) error {
	var keys []string
	for _, name := range []string{"pending", "suspects", "jobs", "history", "checkpoints", "cancels", "void", "workers",
		"scheduled", "dead", "wake", "token"} {
		keys = append(keys, fmt.Sprintf("{%s:%s}:%s", namespace, queue, name))
	}
	if err := r.Do(ctx, r.B().Unlink().Key(keys...).Build()).Error(); err != nil {
		return fmt.Errorf("remove the queue's keys: %w", err)
	}
	return nil
}
