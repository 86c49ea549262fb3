package redisnotify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
)

// nobody is a client that is never asked anything.
type nobody struct{ rueidis.Client }

func TestNewReportsAllThatIsWrong(t *testing.T) {
	var typedNil *nobody
	_, err := redisnotify.New(typedNil, redisnotify.Config{
		Namespace: "a{b}", LogSize: -1, LogTTL: time.Millisecond, Buffer: -1, Timeout: -1, Ping: -1,
	})
	for _, part := range []string{"client", "Namespace", "LogSize", "LogTTL", "Buffer", "Timeout", "Ping"} {
		require.ErrorContains(t, err, part)
	}
	_, err = redisnotify.New(nil, redisnotify.Config{LogSize: 5_000})
	require.ErrorContains(t, err, "client is nil")
	require.ErrorContains(t, err, "LogSize is 5000: it must be from 1 to 4096")
}

func TestNewTakesTheZeroConfigAndSendsNothing(t *testing.T) {
	n, err := redisnotify.New(&nobody{}, redisnotify.Config{})
	require.NoError(t, err)
	require.NoError(t, n.Notify(context.Background()))
	require.NoError(t, n.Reset(context.Background()))
	require.Equal(t, "worker:topic:{:user:42}:channel", n.Channel("user:42"))
	n.Close()
	n.Close()
}

func TestChannelIsTheHosts(t *testing.T) {
	n, err := redisnotify.New(&nobody{}, redisnotify.Config{Channel: func(topic string) string { return "news/" + topic }})
	require.NoError(t, err)
	defer n.Close()
	require.Equal(t, "news/user:42", n.Channel("user:42"))
}

func TestImpossibleTopicsAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		n := s.notifier(redisnotify.Config{})
		for _, topic := range []string{"", strings.Repeat("x", worker.MaxTopicLength+1)} {
			_, err := n.Subscribe(context.Background(), topic, "")
			require.ErrorContains(t, err, "topic")
			require.ErrorContains(t, n.Reset(context.Background(), topic), "topic")
			require.ErrorContains(t, n.Notify(context.Background(), status(topic, "a", 1)), `job "a"`)
		}
	})
}
