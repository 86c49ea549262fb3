package redisqueue_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/workertest"
)

// What another program has put there under an id that is none keeps no page from being purged, nor those behind it.
func TestPurgeGetsPastIDsThatAreNone(t *testing.T) {
	for name, store := range map[string]worker.StatusStore{"with a store": workertest.NewStatusStore(), "without": nil} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				q := s.queue(redisqueue.Config{})
				client, err := worker.NewClient(worker.Backend{Queue: q, StatusStore: store})
				require.NoError(t, err)
				died := strconv.FormatInt(time.Now().UnixMilli(), 10)
				for _, id := range []string{"\x01", strings.Repeat("x", worker.MaxIDLength+1)} {
					s.ok("HSET", key("jobs"), id, "garbage")
					s.ok("RPUSH", key("pending"), id)
					s.ok("ZADD", key("dead"), died, "dead"+id)
					s.ok("HSET", key("jobs"), "dead"+id, "garbage")
				}
				enqueue(t, q, newJobs(t, 250)...)
				n, err := client.Purge(t.Context(), "default", worker.PlaceWaiting, nil)
				require.Equal(t, 250, n)
				require.ErrorContains(t, err, "contains a control character")
				require.ErrorContains(t, err, "id has 256 bytes: the limit is 255")
				require.Len(t, pages(t, q, worker.ListOptions{Place: worker.PlaceWaiting}), 2)

				n, err = client.RequeueDead(t.Context(), "default", nil)
				require.Zero(t, n)
				require.ErrorContains(t, err, "contains a control character")
				require.ErrorContains(t, err, "id has 260 bytes: the limit is 255")
			})
		})
	}
}
