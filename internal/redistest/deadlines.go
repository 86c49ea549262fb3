package redistest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/redis/rueidis"
)

// Watched is a client that fails the test at each command that is sent without a deadline. Subscriptions apart: they
// last until they are ended.
type Watched struct {
	rueidis.Client
	t testing.TB

	mu   sync.Mutex
	seen map[string]bool
}

// Watch returns a client that watches the calls of another one.
func Watch(t testing.TB, client rueidis.Client) *Watched {
	return &Watched{Client: client, t: t, seen: make(map[string]bool)}
}

// Seen reports whether a command was sent that begins so, as with "EVALSHA 6b1bf486".
func (w *Watched) Seen(command string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[command]
}

func (w *Watched) look(ctx context.Context, commands ...rueidis.Completed) {
	_, bounded := ctx.Deadline()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range commands {
		words := c.Commands()
		first := strings.Join(words[:min(2, len(words))], " ")
		w.seen[words[0]], w.seen[first] = true, true
		if !bounded {
			w.t.Errorf("%s is sent without a deadline", words[0])
		}
	}
}

// Do implements rueidis.Client.
func (w *Watched) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	w.look(ctx, command)
	return w.Client.Do(ctx, command)
}

// DoMulti implements rueidis.Client.
func (w *Watched) DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult {
	w.look(ctx, commands...)
	return w.Client.DoMulti(ctx, commands...)
}

// Dedicated implements rueidis.Client.
func (w *Watched) Dedicated(fn func(rueidis.DedicatedClient) error) error {
	return w.Client.Dedicated(func(c rueidis.DedicatedClient) error { return fn(&dedicated{c, w}) })
}

// Dedicate implements rueidis.Client.
func (w *Watched) Dedicate() (rueidis.DedicatedClient, func()) {
	c, release := w.Client.Dedicate()
	return &dedicated{c, w}, release
}

// dedicated is a watched connection.
type dedicated struct {
	rueidis.DedicatedClient
	watched *Watched
}

// Do implements rueidis.DedicatedClient.
func (d *dedicated) Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult {
	d.watched.look(ctx, command)
	return d.DedicatedClient.Do(ctx, command)
}

// DoMulti implements rueidis.DedicatedClient.
func (d *dedicated) DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult {
	d.watched.look(ctx, commands...)
	return d.DedicatedClient.DoMulti(ctx, commands...)
}
