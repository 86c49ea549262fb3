package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// numbers tell a session's checkpoints apart. One that was not answered may be executed later than the next ones, which
// are sent over other connections; these have to be told, until Redis has confirmed one.
type numbers struct {
	mu     sync.Mutex
	last   int64
	doubts map[held]int64 // by claim, the highest number of unknown outcome
}

// next returns the number of a claim's next checkpoint, and whether an earlier one may come later.
func (n *numbers) next(claim held) (number int64, doubt bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	_, doubt = n.doubts[claim]
	return n.last, doubt
}

// unknown says that nobody knows what became of a checkpoint. Claims that are over, as holds tells, are forgotten.
func (n *numbers) unknown(claim held, number int64, holds func(held) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.doubts == nil {
		n.doubts = make(map[held]int64)
	}
	maps.DeleteFunc(n.doubts, func(h held, _ int64) bool { return !holds(h) })
	n.doubts[claim] = max(n.doubts[claim], number)
}

// confirmed says that Redis has answered a checkpoint that was sent in doubt: no earlier one can do harm.
func (n *numbers) confirmed(claim held, number int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.doubts[claim] <= number {
		delete(n.doubts, claim)
	}
}

// Checkpoint replaces the checkpoint of a job that this worker holds. After an error that wraps neither worker.ErrRefused
// nor worker.ErrLeaseLost it may be replaced yet, but not once a later call for the job has returned nil.
func (c *consumer) Checkpoint(ctx context.Context, job *worker.Job, data []byte) error {
	const doing = "checkpoint on"
	if c.isOver() {
		return c.lostError(doing)
	}
	claim, token := held{job.ID, job.Token}, strconv.FormatInt(c.ledger.inRedis(job), 10)
	number, doubt := c.numbers.next(claim)
	reply, err := c.call(ctx, checkpointScript, c.checkpointKeys(token), []string{
		c.worker, job.ID, token, string(data), strconv.FormatInt(number, 10), flagArg(doubt),
	})
	if err != nil {
		err = explain(doing, c.name, err)
		if !errors.Is(err, worker.ErrRefused) {
			c.numbers.unknown(claim, number, c.holds)
		}
		return err
	}
	if c.isLost(reply) {
		return c.lostError(doing)
	}
	answer, err := reply.ToString()
	if err != nil {
		return explain(doing, c.name, err)
	}
	if answer != "ok" {
		return fmt.Errorf("%s %s: job %q: %w", doing, c.name, job.ID, worker.ErrLeaseLost)
	}
	if doubt {
		c.numbers.confirmed(claim, number)
	}
	return nil
}

// checkpointKeys returns the script's keys. The last one is the claim's own.
func (c *consumer) checkpointKeys(token string) []string {
	names := checkpointScript.keysFor(c.keys, c.worker)
	names[len(names)-1] += ":" + token
	return names
}

func (c *consumer) holds(claim held) bool {
	token, ok := c.ledger.token(claim.id)
	return ok && token == claim.token
}
