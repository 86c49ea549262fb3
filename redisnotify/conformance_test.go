package redisnotify_test

import (
	"testing"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisnotify"
	"github.com/real-staging-ai/go-worker/workertest"
)

// The notifier keeps the contract on both servers, with and without channels and bytes of the host's own.
func TestNotifierKeepsTheContract(t *testing.T) {
	for name, cfg := range map[string]redisnotify.Config{
		"own":     {},
		"channel": {Channel: func(topic string) string { return "news:" + topic }},
		"host": {
			Channel: func(topic string) string { return "news:" + topic },
			Message: func(s worker.Status) []byte { return []byte(s.State) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, s *server) {
				workertest.TestNotifier(t, func(t *testing.T) worker.Notifier { return s.notifier(cfg) })
			})
		})
	}
}
