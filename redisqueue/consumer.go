package redisqueue

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

const (
	// pollInterval is how long a wait lasts at most, so that a lost wake-up costs no more.
	pollInterval = 2 * time.Second
	// pausedInterval is how often a worker looks whether a paused queue was resumed. It doesn't wait for a wake-up then, as
	// each enqueue would be one.
	pausedInterval = time.Second
	// maxRevocations is how many revocations wait to be received; the others come again at the next beat.
	maxRevocations = 1024
	// closePause is how long Close waits at most before it tries again.
	closePause = 100 * time.Millisecond
)

// consumer is one worker's session on one queue. Its goroutine, beats, renews the lease until Close or until the lease
// is lost.
type consumer struct {
	queue     *Queue
	name      string // of the queue
	worker    string
	keys      keys
	opts      worker.ConsumeOptions
	threshold int // crashes that make a suspect

	claimKeys, settleKeys, beatKeys, canceledKeys []string // they never change

	ctx     context.Context // ends with the session
	cancel  context.CancelFunc
	done    chan struct{} // closed when beats has returned
	lost    chan struct{}
	revoked chan worker.Revocation
	ledger  *ledger
	numbers numbers // of checkpoints
	tally   tally   // of what was settled since the last beat
	reaper  reaper  // of beats
	witness witness // of beats, once register has returned
	judged  bool    // of beats: it has judged why the session is over
	tokens  *tokens // of the queue
	pace    pace    // of Claim

	mu       sync.Mutex
	over     bool               // lost or closed
	muted    bool               // Close has returned, or is about to: no hook is called any more
	next     time.Time          // when there may be something to claim again, as far as is known; zero: not known
	due      int64              // of the scheduled job that next is about, by Redis's clock
	early    time.Duration      // how long to wait for it at least, as it was not due when it ought to be
	paused   bool               // the queue was, when this worker last claimed
	free     bool               // a suspect may be claimed again since the last claim began
	endWait  context.CancelFunc // of the wait under way
	closing  sync.Once
	closeErr error
}

var (
	_ worker.Consumer      = (*consumer)(nil)
	_ worker.Checkpointer  = (*consumer)(nil)
	_ worker.CancelWatcher = (*consumer)(nil)
	_ worker.Leaser        = (*consumer)(nil)
	_ worker.Waker         = (*consumer)(nil)
	_ worker.Unlocker      = (*consumer)(nil)
)

func newConsumer(q *Queue, queue string, opts worker.ConsumeOptions) *consumer {
	c := &consumer{
		queue:     q,
		name:      queue,
		worker:    newWorkerName(),
		keys:      keysOf(q.config.Namespace, queue),
		opts:      opts,
		threshold: max(1, min(2, opts.MaxCrashes-1)),
		done:      make(chan struct{}),
		lost:      make(chan struct{}),
		revoked:   make(chan worker.Revocation, maxRevocations),
		ledger:    newLedger(),
		tokens:    q.losses.of(queue),
	}
	c.claimKeys = claimScript.keysFor(c.keys, c.worker)
	c.settleKeys = settleScript.keysFor(c.keys, c.worker)
	c.beatKeys = heartbeatScript.keysFor(c.keys, c.worker)
	c.canceledKeys = canceledScript.keysFor(c.keys, c.worker)
	c.reaper = newReaper(c.interval(), q.config.Grace)
	c.witness = witness{patience: q.config.Lease + q.config.Grace, slack: c.interval() / 2}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// newWorkerName returns a name that says nothing about the host and is never used twice.
func newWorkerName() string {
	var b [10]byte
	rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// Lost is closed when the lease is gone.
func (c *consumer) Lost() <-chan struct{} { return c.lost }

// Revoked delivers the held jobs that were canceled or that Redis no longer has.
func (c *consumer) Revoked() <-chan worker.Revocation { return c.revoked }

// Lease returns how long the worker's lease is.
func (c *consumer) Lease() time.Duration { return c.queue.config.Lease }

// lose ends the session: Redis says that the lease is gone.
func (c *consumer) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.over = true
		close(c.lost)
		c.cancel()
	}
}

func (c *consumer) leaseGone() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

func (c *consumer) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// call runs a script that must not be torn: it goes on when ctx ends, until the Queue's timeout.
func (c *consumer) call(ctx context.Context, s *script, keys, args []string) (rueidis.RedisMessage, error) {
	return c.queue.call(context.WithoutCancel(ctx), s, keys, args)
}

// isLost reports whether a script said that the session is over, and ends it here, too.
func (c *consumer) isLost(reply rueidis.RedisMessage) bool {
	if !reply.IsString() {
		return false
	}
	if text, _ := reply.ToString(); text != "lost" {
		return false
	}
	c.lose()
	return true
}

func (c *consumer) lostError(doing string) error {
	return fmt.Errorf("%s %s: %w", doing, c.name, worker.ErrLeaseLost)
}

// Close ends the session: the heartbeat stops, and everything that Redis says this worker holds goes back to the head
// of the queue in claim order. It takes its time from ctx's deadline, but goes on when ctx is canceled. When Redis
// refuses or cannot be reached it tries again until then, without a deadline for as long as the Queue's timeout.
func (c *consumer) Close(ctx context.Context) error {
	c.closing.Do(func() { c.closeErr = c.close(ctx) })
	return c.closeErr
}

func (c *consumer) close(ctx context.Context) error {
	c.mu.Lock()
	wasLost := c.over
	c.over = true
	c.mu.Unlock()
	c.cancel()
	defer c.mute()
	defer c.queue.served.add(c.name, -1)
	whole := context.WithoutCancel(ctx)
	deadline, ok := ctx.Deadline()
	if ok {
		var cancel context.CancelFunc
		whole, cancel = context.WithDeadline(whole, deadline)
		defer cancel()
	}
	select {
	case <-c.done:
	case <-whole.Done(): // a beat under way ends by its own timeout
	}
	if wasLost {
		return nil
	}
	if !ok {
		deadline = time.Now().Add(c.queue.config.Timeout)
	}
	c.sendTally(whole)
	for {
		_, err := c.retire(whole, c.worker, "", false, maxRetireCalls)
		if err == nil || errors.Is(err, errNotRetired) {
			return nil
		}
		if !time.Now().Before(deadline) || pause(whole, closePause) != nil {
			return explain("close the session on", c.name, err)
		}
	}
}
