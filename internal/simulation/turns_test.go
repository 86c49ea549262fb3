package simulation

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// turns lets one process at a time take one step at a time, where it is used: everybody else waits for its turn. Since a
// turn is given when nothing in the bubble can move any more, who waits does not depend on Go's scheduler.
type turns struct {
	mu      sync.Mutex
	free    bool // nobody waits any longer
	singly  bool // a claim brings one job at most
	waiting []*turn
}

// turn is a process that waits before a step.
type turn struct {
	process *process
	step    string
	job     string   // of a handler's step, or those of a save's, with commas between
	begin   chan cue // buffered: the turn is given
}

// cue says how a step is to be taken.
type cue struct {
	result string // of a handler
	err    error  // answered in place of taking the step
	lost   error  // answered though the step was taken
}

// wait waits for the process's turn, if turns are given.
func (t *turns) wait(ctx context.Context, p *process, step, job string) cue {
	if t == nil {
		return cue{}
	}
	mine := &turn{process: p, step: step, job: job, begin: make(chan cue, 1)}
	t.mu.Lock()
	if t.free || p.exempt || p.isDead() {
		t.mu.Unlock()
		return cue{}
	}
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case o := <-mine.begin:
		return o
	case <-p.dead:
		t.take(func(other *turn) bool { return other == mine })
		return cue{err: errDead}
	case <-ctx.Done():
		t.take(func(other *turn) bool { return other == mine })
		return cue{err: context.Cause(ctx)}
	}
}

// concerns reports whether the turn is about a job, or about none in particular.
func (t *turn) concerns(job string) bool {
	return t.job == "" || slices.Contains(strings.Split(t.job, ","), job)
}

// take removes the first turn that matches, in an order that does not depend on who came first.
func (t *turns) take(match func(*turn) bool) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.waiting, func(a, b *turn) int {
		return cmp.Or(cmp.Compare(a.process.name, b.process.name), cmp.Compare(a.step, b.step), cmp.Compare(a.job, b.job))
	})
	i := slices.IndexFunc(t.waiting, match)
	if i < 0 {
		return nil
	}
	found := t.waiting[i]
	t.waiting = slices.Delete(t.waiting, i, i+1)
	return found
}

// give waits up to patience for a turn that matches, gives it, and returns when all that follows from it has happened.
func (t *turns) give(patience time.Duration, o cue, match func(*turn) bool) bool {
	const look = 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += look {
		synctest.Wait()
		if found := t.take(match); found != nil {
			found.begin <- o
			synctest.Wait()
			return true
		}
		if waited >= patience {
			return false
		}
		time.Sleep(look)
	}
}

// rest is the pause of what goes on for ever: longer when nothing holds it back any more.
func (t *turns) rest() {
	t.mu.Lock()
	free := t.free
	t.mu.Unlock()
	if free {
		time.Sleep(5 * time.Second)
	} else {
		time.Sleep(10 * time.Millisecond)
	}
}

// release lets everybody go on.
func (t *turns) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = true
	for _, each := range t.waiting {
		each.begin <- cue{}
	}
	t.waiting = nil
}

// turnQueue is a queue whose calls wait for their process's turn before they are sent.
type turnQueue struct {
	*redisqueue.Queue
	process *process
}

func (q *turnQueue) turn(ctx context.Context, step string) error {
	return q.process.world.turns.wait(ctx, q.process, step, "").err
}

func (q *turnQueue) Enqueue(ctx context.Context, jobs ...*worker.Job) error {
	if err := q.turn(ctx, "enqueue"); err != nil {
		return err
	}
	return q.Queue.Enqueue(ctx, jobs...)
}

func (q *turnQueue) MarkCanceled(ctx context.Context, queue, id string) (worker.CancelMark, error) {
	if err := q.turn(ctx, "cancel_mark"); err != nil {
		return worker.CancelMark{}, err
	}
	return q.Queue.MarkCanceled(ctx, queue, id)
}

func (q *turnQueue) RemoveCanceled(ctx context.Context, queue, id string) (worker.Place, error) {
	if err := q.turn(ctx, "cancel_remove"); err != nil {
		return worker.PlaceUnknown, err
	}
	return q.Queue.RemoveCanceled(ctx, queue, id)
}

func (q *turnQueue) DrawToken(ctx context.Context, queue, id string) (*worker.Job, int64, error) {
	if err := q.turn(ctx, "requeue_draw"); err != nil {
		return nil, 0, err
	}
	return q.Queue.DrawToken(ctx, queue, id)
}

func (q *turnQueue) Reopen(ctx context.Context, job *worker.Job) error {
	if err := q.turn(ctx, "requeue_move"); err != nil {
		return err
	}
	return q.Queue.Reopen(ctx, job)
}

func (q *turnQueue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	if err := q.turn(ctx, "know"); err != nil {
		return nil, err
	}
	return q.Queue.Know(ctx, queue, ids...)
}

func (q *turnQueue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	c, err := q.Queue.Consume(ctx, queue, opts)
	if err != nil {
		return nil, err
	}
	return &turnConsumer{session: c.(session), process: q.process}, nil
}

// session is a consumer with all powers that redisqueue's have.
type session interface {
	worker.Consumer
	worker.Checkpointer
	worker.CancelWatcher
	worker.Leaser
	worker.Waker
	worker.Unlocker
}

// turnConsumer is a session whose claims and settlements wait for their process's turn.
type turnConsumer struct {
	session
	process *process
}

func (c *turnConsumer) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	if opts.Limit > 0 {
		if o := c.process.world.turns.wait(ctx, c.process, "claim", ""); o.err != nil {
			return nil, o.err
		}
		if c.process.world.turns.singly {
			opts.Limit = 1
		}
	}
	jobs, err := c.session.Claim(ctx, opts)
	c.process.claimed.Add(int64(len(jobs)))
	return jobs, err
}

func (c *turnConsumer) Settle(ctx context.Context, verdicts ...worker.Verdict) error {
	if o := c.process.world.turns.wait(ctx, c.process, "settle", ""); o.err != nil {
		return o.err
	}
	return c.session.Settle(ctx, verdicts...)
}
