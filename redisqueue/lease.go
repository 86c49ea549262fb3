package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

const (
	maxExpired     = 100         // expired workers that a beat hears of
	maxRetireCalls = 1 << 20     // Close goes on until nothing is left
	maxReapCalls   = 20          // of a takeover within one beat, so that it doesn't cost the reaper's own lease
	trimInterval   = time.Minute // between two looks for dead jobs that are too old
)

// lookInterval is how often a worker that holds jobs looks whether some were canceled, between two beats.
const lookInterval = 500 * time.Millisecond

// lookPause is how long it doesn't look when it could not, unless a beat gets through before: looks must not keep beats
// waiting.
const lookPause = 5 * time.Second

// interval is the time between two beats.
func (c *consumer) interval() time.Duration { return c.queue.config.Lease / beatsPerLease }

// register opens the session in Redis.
func (c *consumer) register(ctx context.Context) error {
	sent := time.Now()
	reply, err := c.queue.call(ctx, registerScript, registerScript.keysFor(c.keys, c.worker),
		[]string{c.worker, c.leaseArg(), processArg(c.opts.Process)})
	if err != nil {
		return err
	}
	clock, err := reply.AsInt64()
	if err != nil {
		return err
	}
	c.witness.acknowledged(contact{sent: sent, received: time.Now(), clock: clock}, c.queue.config.Lease)
	return nil
}

func (c *consumer) leaseArg() string { return strconv.FormatInt(ceilMillis(c.queue.config.Lease), 10) }

// beats renews the lease until the session is over. It goes on through errors at the same pace.
func (c *consumer) beats() {
	defer close(c.done)
	defer c.autopsy()
	ticker := time.NewTicker(c.interval())
	defer ticker.Stop()
	looks := time.NewTicker(lookInterval)
	defer looks.Stop()
	trimmed := time.Now()
	troubled, blind := false, time.Time{} // until when it doesn't look
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-looks.C:
			if time.Now().After(blind) && !c.lookForCanceled() {
				blind = time.Now().Add(lookPause)
			}
			continue
		case <-ticker.C:
		}
		err := c.beat()
		if c.ctx.Err() != nil {
			return
		}
		c.sendTally(c.ctx)
		c.logTrouble(&troubled, err)
		if err == nil {
			blind = time.Time{}
		}
		if err == nil && time.Since(trimmed) >= trimInterval {
			trimmed = time.Now()
			c.trim()
		}
	}
}

// logTrouble tells once that the lease cannot be renewed, and once that it can be again.
func (c *consumer) logTrouble(troubled *bool, err error) {
	switch logger := c.queue.config.Logger; {
	case err != nil && !*troubled:
		logger.Warn("lease cannot be renewed", "queue", c.name, "worker", c.worker, "error", err)
	case err == nil && *troubled:
		logger.Info("lease is renewed again", "queue", c.name, "worker", c.worker)
	}
	*troubled = err != nil
}

// beat renews the lease once and acts on what Redis says. Handlers hear what concerns them before the host's hook is
// called, which may take its time.
func (c *consumer) beat() error {
	const doing = "renew the lease on"
	b, err := c.ask(c.ctx)
	if err != nil {
		err = explain(doing, c.name, err)
		if c.ctx.Err() == nil { // else the session has ended in the middle, and nothing failed
			c.renewed(err)
		}
		return err
	}
	sign, detail := c.judge(b)
	if b.over {
		c.lose()
		c.renewed(c.lostError(doing))
		c.tell(sign, detail)
		return nil
	}
	c.witness.acknowledged(b.contact, c.queue.config.Lease)
	missing := c.reconcile(b.held)
	c.revokeCanceled(b.canceled)
	c.renewed(nil)
	c.tell(sign, detail)
	if missing > 0 {
		c.tell(SignJobsMissing, fmt.Sprintf("%d jobs of those that the worker holds", missing))
	}
	for _, dead := range c.reaper.look(b.expired, time.Now()) {
		c.takeOver(dead)
	}
	return nil
}

// ask sends a heartbeat.
func (c *consumer) ask(ctx context.Context) (*beatAnswer, error) {
	// Two tries fit into a lease.
	ctx, cancel := context.WithTimeout(ctx, min(c.queue.config.Timeout, c.queue.config.Lease/2))
	defer cancel()
	b := &beatAnswer{}
	_, b.counted = c.tokens.given()
	b.sent = time.Now()
	reply, err := heartbeatScript.Run(ctx, c.queue.client, c.beatKeys, []string{c.worker, c.leaseArg(), strconv.Itoa(maxExpired)})
	if err != nil {
		return nil, err
	}
	b.received = time.Now()
	return b, b.read(reply)
}

// judge returns a sign when what Redis says of the session cannot be, unless Redis lost data.
func (c *consumer) judge(b *beatAnswer) (sign LossSign, detail string) {
	switch {
	case !b.over:
		sign, detail = c.witness.renewed(b.contact, b.deadline)
	case !b.fenced:
		sign, detail = c.witness.gone(b.contact)
	}
	// The counter is looked at in any case, so that the same loss is not found by it again.
	if back, figures := c.tokens.judge(b.counter, b.counted); sign == "" {
		sign, detail = back, figures
	}
	c.judged = b.over
	return sign, detail
}

// tell reports a sign, if there is one.
func (c *consumer) tell(sign LossSign, detail string) {
	if sign != "" {
		c.queue.report(DataLoss{Queue: c.name, Worker: c.worker, Sign: sign, Detail: detail, At: time.Now()})
	}
}

// autopsyTime is less than a pool gives a lost session to end.
const autopsyTime = 500 * time.Millisecond

// autopsy asks once more when another call than the heartbeat has found the session gone: why it is, only that can tell.
func (c *consumer) autopsy() {
	if !c.leaseGone() || c.judged {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), autopsyTime)
	defer cancel()
	if b, err := c.ask(ctx); err == nil && b.over {
		c.tell(c.judge(b))
	}
}

// beatAnswer is the heartbeat script's reply, as its header describes it.
type beatAnswer struct {
	contact
	counted  int64 // what the counter had reached before the beat
	counter  int64 // counted when it is garbage
	deadline int64
	over     bool             // the session is
	fenced   bool             // and by another worker
	held     map[string]int64 // by job id
	canceled []string
	expired  []expired
}

func (b *beatAnswer) read(reply rueidis.RedisMessage) error {
	parts, err := reply.ToArray()
	if err != nil {
		return err
	}
	if len(parts) != 3 && len(parts) != 6 {
		return &replyError{heartbeatScript.Name, "neither three nor six parts"}
	}
	if err := b.readSession(parts); err != nil || len(parts) == 3 {
		return err
	}
	entries, err := parts[3].AsStrSlice()
	if err != nil {
		return err
	}
	b.held = make(map[string]int64, len(entries)/2)
	for i := 0; i+1 < len(entries); i += 2 {
		b.held[entries[i]] = readToken(entries[i+1])
	}
	if b.canceled, err = parts[4].AsStrSlice(); err != nil {
		return err
	}
	workers, err := parts[5].AsStrSlice()
	for i := 0; i+1 < len(workers); i += 2 {
		b.expired = append(b.expired, expired{worker: workers[i], deadline: workers[i+1]})
	}
	return err
}

// readSession reads what Redis says of the session itself.
func (b *beatAnswer) readSession(parts []rueidis.RedisMessage) (err error) {
	if b.clock, err = parts[0].AsInt64(); err != nil {
		return err
	}
	counter, err := parts[1].ToString()
	if err != nil {
		return err
	}
	if b.counter = readToken(counter); b.counter == 0 && counter != "0" {
		b.counter = b.counted
	}
	deadline, err := parts[2].ToString()
	if err != nil {
		return err
	}
	b.over = len(parts) == 3
	b.fenced = b.over && deadline != ""
	if !b.over {
		score, err := strconv.ParseFloat(deadline, 64)
		b.deadline = int64(score)
		return err
	}
	return nil
}

// readToken reads a fencing token as the scripts do: garbage is 0, under which it can be settled, too.
func readToken(text string) int64 {
	token, err := strconv.ParseInt(text, 10, 64)
	if err != nil || token < 0 || len(text) > 16 || strconv.FormatInt(token, 10) != text {
		return 0
	}
	return token
}

// reconcile acts on differences between what Redis says that this worker holds and what it knows. It returns how many
// jobs Redis lost.
func (c *consumer) reconcile(redis map[string]int64) (missing int) {
	strange, lost := c.ledger.compare(redis)
	logger := c.queue.config.Logger
	if len(strange) > 0 {
		if err := c.giveBack(c.ctx, strange); err != nil {
			logger.Warn("claims whose reply was lost cannot be given back yet", "queue", c.name, "error", err)
		} else {
			logger.Info("claims whose reply was lost given back", "queue", c.name, "jobs", len(strange))
		}
	}
	for _, h := range lost {
		if c.revoke(worker.Revocation{ID: h.id, Token: h.token, Cause: worker.ErrLeaseLost}) {
			c.ledger.drop(h)
		}
	}
	return len(lost)
}

// lookForCanceled tells the pool of canceled jobs before a beat does, and reports whether it could ask for them.
func (c *consumer) lookForCanceled() bool {
	if c.ledger.empty() {
		return true
	}
	ctx, cancel := context.WithTimeout(c.ctx, min(c.queue.config.Timeout, c.interval()/2))
	defer cancel()
	// A script, as the client repeats no script: a plain read it would, for as long as it may, and keep the beat waiting.
	reply, err := canceledScript.Run(ctx, c.queue.client, c.canceledKeys, nil)
	if err != nil {
		return false
	}
	ids, err := reply.AsStrSlice()
	c.revokeCanceled(ids)
	return err == nil
}

// revokeCanceled tells the pool of canceled jobs, at each beat and look until they are settled.
func (c *consumer) revokeCanceled(ids []string) {
	for _, id := range ids {
		if token, ok := c.ledger.token(id); ok {
			c.revoke(worker.Revocation{ID: id, Token: token, Cause: worker.ErrCanceled})
		}
	}
}

// revoke reports whether the revocation will be received.
func (c *consumer) revoke(r worker.Revocation) bool {
	select {
	case c.revoked <- r:
		return true
	default:
		return false
	}
}

// takeOver gives a dead worker's jobs back to the head of the queue, with one crash counted for each. What is left
// when it fails is moved at a later beat, by this worker or another.
func (c *consumer) takeOver(dead expired) {
	moved, err := c.retire(c.ctx, dead.worker, dead.deadline, true, maxReapCalls)
	c.recovered(moved)
	logger := c.queue.config.Logger.With("queue", c.name, "worker", dead.worker, "jobs", moved)
	if err != nil && !errors.Is(err, errNotRetired) {
		c.reaper.fence(dead.worker)
		if c.ctx.Err() == nil {
			logger.Warn("jobs of a dead worker not all given back yet", "error", err)
		}
		return
	}
	c.reaper.forget(dead.worker)
	if moved > 0 {
		logger.Warn("jobs of a dead worker given back")
	}
}

// errNotRetired says that there was nothing to retire: the worker is alive or gone.
var errNotRetired = errors.New("worker is alive or gone")

var errUnfinished = errors.New("there are more")

// retire ends a worker's session in up to calls calls and returns how many jobs it gave back.
func (c *consumer) retire(ctx context.Context, name, deadline string, crash bool, calls int) (int64, error) {
	keys := retireScript.keysFor(c.keys, name)
	args := []string{name, deadline, flagArg(crash), strconv.Itoa(c.threshold), strconv.Itoa(maxElements)}
	moved := int64(0)
	for range calls {
		reply, err := c.queue.call(ctx, retireScript, keys, args)
		if err != nil {
			return moved, err
		}
		if reply.IsString() {
			return moved, errNotRetired
		}
		counts, err := reply.AsIntSlice()
		if err != nil {
			return moved, err
		}
		if len(counts) != 2 {
			return moved, &replyError{retireScript.Name, "not two numbers"}
		}
		if moved += counts[0]; counts[1] == 0 {
			return moved, nil
		}
	}
	return moved, errUnfinished
}

// trim forgets dead jobs that grew too old while no other job died.
func (c *consumer) trim() {
	args := append(c.queue.deadArgs(), strconv.Itoa(maxElements))
	reply, err := c.queue.call(c.ctx, trimScript, trimScript.keysFor(c.keys, c.worker), args)
	if err != nil {
		return // the next call will do
	}
	n, _ := reply.AsInt64()
	c.queue.logTrimmed(c.name, n)
}
