package redisqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/workertest"
)

// The queue keeps the contract on both servers: with fake time on miniredis, with real time and short leases on Redis.
func TestQueueKeepsTheContract(t *testing.T) {
	var last *server
	raw := workertest.WithRaw(func(queue, id string, body []byte) error {
		jobs, pending := "{worker:"+queue+"}:jobs", "{worker:"+queue+"}:pending"
		b := last.client.B()
		ctx := context.Background()
		if err := last.client.Do(ctx, b.Hset().Key(jobs).FieldValue().FieldValue(id, string(body)).Build()).Error(); err != nil {
			return err
		}
		return last.client.Do(ctx, last.client.B().Rpush().Key(pending).Element(id).Build()).Error()
	})
	t.Run("miniredis", func(t *testing.T) {
		open := func(t *testing.T) worker.Queue {
			last = onMini(t)
			return last.queue(redisqueue.Config{})
		}
		workertest.TestQueue(t, open, raw, workertest.InBubble(), workertest.WithCrash(20*time.Second, redisqueue.Crash))
	})
	t.Run("redis", func(t *testing.T) {
		open := func(t *testing.T) worker.Queue {
			last = onReal(t)
			return last.queue(redisqueue.Config{Lease: time.Second})
		}
		workertest.TestQueue(t, open, raw, workertest.WithCrash(4*time.Second, redisqueue.Crash))
	})
}
