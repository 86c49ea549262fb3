package redisqueue

import (
	"context"

	"github.com/real-staging-ai/go-worker"
)

// Pause keeps workers from claiming, until Resume. A worker that has claimed nothing looks once a second meanwhile. With
// Config.WaitReplicas it waits for replicas as Enqueue does, as a failover would let workers claim again.
func (q *Queue) Pause(ctx context.Context, queue string) error {
	return q.steer(ctx, pauseScript, queue)
}

// Resume ends a pause.
func (q *Queue) Resume(ctx context.Context, queue string) error {
	return q.steer(ctx, resumeScript, queue)
}

func (q *Queue) steer(ctx context.Context, s *script, queue string) error {
	if err := worker.CheckQueueName(queue); err != nil {
		return err
	}
	_, err := q.accept(ctx, queue, s, s.keysFor(keysOf(q.config.Namespace, queue), ""), nil)
	return explain(s.Name, queue, err)
}
