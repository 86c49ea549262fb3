package integration

import (
	"context"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// settleQueue is a queue whose sessions write what they settle. It has all powers of redisqueue's.
type settleQueue struct {
	*redisqueue.Queue
	scribe *scribe
}

// Consume opens a session.
func (q *settleQueue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	if err != nil {
		return nil, err
	}
	return &settleConsumer{session: c.(session), scribe: q.scribe}, nil
}

// session is a consumer with all powers that redisqueue's have.
type session interface {
	worker.Consumer
	worker.Checkpointer
	worker.CancelWatcher
	worker.Leaser
	worker.Waker
}

type settleConsumer struct {
	session
	scribe *scribe
}

// Settle writes the verdicts that were acknowledged: also those that Redis passed over, as another holds their jobs, which
// are under other tokens there.
func (c *settleConsumer) Settle(ctx context.Context, verdicts ...worker.Verdict) error {
	if err := c.session.Settle(ctx, verdicts...); err != nil {
		return err
	}
	for _, v := range verdicts {
		c.scribe.write(event{Op: history.OpSettle, Job: v.Job.ID, Token: v.Job.Token, Text: v.Action.String()})
	}
	return nil
}
