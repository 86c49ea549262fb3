package redisqueue_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// A worker that goes on takes entries that do not count out of the line, so that the others move up.
func TestPurgeOfAQueueThatIsWorkedOn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		client, err := worker.NewClient(worker.Backend{Queue: q})
		require.NoError(t, err)
		c := open(t, q, 0)
		for range 10 {
			jobs := make([]*worker.Job, 100)
			for i := range jobs {
				jobs[i] = newJob(t)
			}
			enqueue(t, q, jobs...)
		}
		seen, ran := 0, 0
		n, err := client.Purge(t.Context(), "default", worker.PlaceWaiting, func(*worker.JobInfo) bool {
			if seen++; seen%150 == 0 {
				jobs := claim(t, c, 1)
				if jobs[0].Reject != nil { // it is being deleted
					settle(t, c, worker.ActionCancel, jobs...)
					return true
				}
				settle(t, c, worker.ActionComplete, jobs...)
				ran += len(jobs)
			}
			return true
		})
		require.NoError(t, err)
		require.NotZero(t, ran)
		require.Equal(t, 1000, n+ran)
		require.Empty(t, pages(t, q, worker.ListOptions{Place: worker.PlaceWaiting}))
	})
}
