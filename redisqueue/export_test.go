package redisqueue

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Crash makes a session stop as if its process stood still: nothing is renewed, nothing given back. When others have
// taken over, the process goes on.
func Crash(c worker.Consumer) {
	dead := c.(*consumer)
	dead.cancel()
	<-dead.done
	dead.ctx, dead.cancel = context.WithCancel(context.Background())
	dead.done = make(chan struct{})
	go dead.awake()
}

// Kill makes a session end as if its process had been killed.
func Kill(c worker.Consumer) {
	dead := c.(*consumer)
	dead.cancel()
	<-dead.done
}

func (c *consumer) awake() {
	ticker := time.NewTicker(c.interval())
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			close(c.done)
			return
		case <-ticker.C:
		}
		client := c.queue.client
		ctx, cancel := context.WithTimeout(c.ctx, c.queue.config.Timeout)
		score, err := client.Do(ctx, client.B().Zscore().Key(c.keys.name(keyWorkers)).Member(c.worker).Build()).AsFloat64()
		cancel()
		if err != nil || score == 0 {
			c.beats()
			return
		}
	}
}

// Retire makes a session take over from a worker, in up to calls calls.
func Retire(c worker.Consumer, name, deadline string, calls int) (int64, error) {
	return c.(*consumer).retire(context.Background(), name, deadline, true, calls)
}

// Scripts returns the source of every script by its hash.
func Scripts() map[string]string {
	all := make(map[string]string)
	for _, s := range allScripts() {
		sum := sha1.Sum([]byte(s.Source))
		all[hex.EncodeToString(sum[:])] = s.Source
	}
	return all
}

// Outboxes returns how many queues have an outbox.
func Outboxes(q *Queue) (n int) {
	q.outboxes.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}
