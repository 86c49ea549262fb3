package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// Claim hands out up to opts.Limit jobs, at most 500, and waits up to opts.Wait for the first one.
func (c *consumer) Claim(ctx context.Context, opts worker.ClaimOptions) ([]*worker.Job, error) {
	deadline := time.Now().Add(opts.Wait)
	for {
		if c.isOver() {
			return nil, c.lostError("claim from")
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("claim from %s: %w", c.name, err)
		}
		if opts.Limit > 0 {
			jobs, err := c.claim(ctx, min(opts.Limit, maxElements), opts.MinToken)
			if len(jobs) > 0 || err != nil {
				return jobs, err
			}
		}
		rest := time.Until(deadline)
		if rest <= 0 {
			return nil, nil
		}
		woken, err := c.wait(ctx, rest)
		if err != nil || opts.Limit <= 0 {
			return nil, err
		}
		if !woken && !time.Now().Before(deadline) {
			return nil, nil // the next call looks
		}
	}
}

// wait returns when there may be something to claim, or after d or the poll interval. It reports whether it has reason
// to believe that there is.
func (c *consumer) wait(ctx context.Context, d time.Duration) (woken bool, err error) {
	d = min(d, pollInterval)
	c.mu.Lock()
	paused := c.paused
	due := !c.next.IsZero() && time.Until(c.next) <= d
	if due {
		d = time.Until(c.next)
	}
	c.mu.Unlock()
	if paused {
		return c.waitPaused(ctx, min(d, pausedInterval))
	}
	if d <= 0 {
		return true, nil
	}
	// Whole milliseconds: less may mean none to the server, and none means for ever.
	d = time.Duration(ceilMillis(d)) * time.Millisecond
	waiting, cancel := context.WithTimeout(ctx, d+c.queue.config.Timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	if c.beginWait(cancel) {
		return true, nil
	}
	client := c.queue.client
	pop := client.B().Blpop().Key(c.keys.name(keyWake)).Timeout(d.Seconds()).Build().UnblockOnCancel()
	err = client.Do(waiting, pop).Error()
	free := c.stopWait()
	switch {
	case err == nil || free && ctx.Err() == nil && !c.isOver():
		return true, nil
	case rueidis.IsRedisNil(err):
		return due, nil
	case ctx.Err() != nil:
		return false, fmt.Errorf("wait on %s: %w", c.name, ctx.Err())
	case c.isOver():
		return false, c.lostError("wait on")
	}
	return false, explain("wait on", c.name, err)
}

// waitPaused waits until it is time to look whether the queue was resumed.
func (c *consumer) waitPaused(ctx context.Context, d time.Duration) (woken bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, nil
	case <-c.ctx.Done():
		return false, c.lostError("wait on")
	case <-ctx.Done():
		return false, fmt.Errorf("wait on %s: %w", c.name, ctx.Err())
	}
}

// beginWait keeps how to end a wait. It reports whether there is no reason to wait: a suspect may be claimed again.
func (c *consumer) beginWait(end context.CancelFunc) (free bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if free, c.free = c.free, false; !free {
		c.endWait = end
	}
	return free
}

// stopWait reports whether a suspect may be claimed again since the wait began.
func (c *consumer) stopWait() (free bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	free, c.free, c.endWait = c.free, false, nil
	return free
}

// freed says that this worker may take a suspect again. It ends its own wait, as the wake-up may go to a worker that
// has one; should it have taken a wake-up itself at this moment, it passes it on when it claims.
func (c *consumer) freed(ctx context.Context) {
	c.mu.Lock()
	c.free = true
	if c.endWait != nil {
		c.endWait()
	}
	c.mu.Unlock()
	_ = c.Wake(ctx) // when it fails, others look for themselves soon
}

// Wake wakes one waiting worker if there is something to claim.
func (c *consumer) Wake(ctx context.Context) error {
	args := []string{strconv.FormatInt(pollInterval.Milliseconds(), 10)}
	_, err := c.queue.call(ctx, wakeScript, wakeScript.keysFor(c.keys, c.worker), args)
	return explain("wake a worker on", c.name, err)
}

// pace bounds claims after one that was not answered: perhaps what it brought was too much for the link.
type pace struct{ most int } // 0: no bound

func (p *pace) limit(asked int) int {
	if p.most > 0 {
		return min(asked, p.most)
	}
	return asked
}

// unanswered says that a claim of so many jobs had no answer: the next one asks for half of it.
func (p *pace) unanswered(limit int) { p.most = max(1, limit/2) }

// answered says that a claim had an answer, though the caller asked for more.
func (p *pace) answered(asked int) {
	if p.most *= 2; p.most >= asked {
		p.most = 0
	}
}

// tokenOffsets is in how many places the tokens of a millisecond, which are 250, may begin.
const tokenOffsets = 200

// claim runs the claim script once, whatever becomes of ctx meanwhile.
func (c *consumer) claim(ctx context.Context, asked int, minToken int64) ([]*worker.Job, error) {
	const doing = "claim from"
	limit := c.pace.limit(asked)
	c.mu.Lock()
	c.free = false
	c.mu.Unlock()
	suspect := c.ledger.beginClaim()
	highest, _ := c.tokens.given()
	reply, err := c.call(ctx, claimScript, c.claimKeys, []string{
		c.worker, strconv.Itoa(limit), strconv.FormatInt(max(minToken, highest), 10), flagArg(suspect),
		strconv.Itoa(c.opts.MaxCrashes), strconv.Itoa(c.threshold),
		strconv.FormatInt(pollInterval.Milliseconds(), 10), strconv.Itoa(rand.IntN(tokenOffsets)),
	})
	if err != nil {
		err = explain(doing, c.name, err)
		unknown := !errors.Is(err, worker.ErrRefused)
		if unknown {
			c.pace.unanswered(limit)
		}
		c.ledger.endClaim(nil, c.threshold, unknown)
		return nil, err
	}
	if c.isLost(reply) {
		c.ledger.endClaim(nil, c.threshold, false)
		return nil, c.lostError(doing)
	}
	answer, err := readClaim(reply)
	if err != nil {
		c.ledger.endClaim(nil, c.threshold, true)
		return nil, explain(doing, c.name, err)
	}
	c.pace.answered(asked)
	if answer.n > 0 {
		c.tokens.saw(answer.token + int64(answer.n) - 1)
	}
	jobs := make([]*worker.Job, answer.n)
	for i := range jobs {
		jobs[i] = answer.job(i, c.name)
	}
	err = answer.enrich(jobs, c.opts.MaxCrashes)
	jobs = c.ledger.endClaim(jobs, c.threshold, false)
	c.noteNext(answer)
	if dropped := int(answer.dropped) + answer.n - len(jobs); dropped > 0 {
		c.queue.config.Logger.Warn("entries without a job of their own dropped from a queue", "queue", c.name,
			"entries", dropped)
	}
	if c.isOver() { // Close gives them back, or has
		return nil, c.lostError(doing)
	}
	return jobs, explain(doing, c.name, err)
}

// maxEarly is the longest pause between two looks at a job that is due by the local clock and not by Redis's: so short that
// the job starts within 50 ms once Redis's clock goes on.
const maxEarly = 32 * time.Millisecond

// noteNext keeps when the next scheduled job is due, by the local clock: not earlier than by Redis's. Is it not due by
// then, Redis's clock is slower or stands still, and "in a millisecond" may be its answer for ever: each time the worker
// waits at least twice as long as before.
func (c *consumer) noteNext(answer *claimAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case answer.next != c.due || answer.next <= answer.now:
		c.early = 0
	case !time.Now().Before(c.next):
		c.early = min(max(2*c.early, time.Millisecond), maxEarly)
	}
	c.due, c.next, c.paused = answer.next, time.Time{}, answer.next == nextPaused
	if answer.next >= 0 {
		ms := min(max(answer.next-answer.now, 0), time.Hour.Milliseconds())
		c.next = time.Now().Add(max(time.Duration(ms)*time.Millisecond, c.early))
	}
}

// nextPaused stands, in a claimAnswer, for no time: the queue is paused.
const nextPaused = -2

// claimAnswer is the claim script's reply, as its header describes it.
type claimAnswer struct {
	now, next, token, dropped int64
	n                         int
	entries                   []rueidis.RedisMessage // id and body of each job
	rare                      []rueidis.RedisMessage // index, counts and checkpoint of some
}

func readClaim(reply rueidis.RedisMessage) (*claimAnswer, error) {
	values, err := reply.ToArray()
	if err != nil {
		return nil, err
	}
	if len(values) < 5 {
		return nil, &replyError{claimScript.Name, "too short"}
	}
	var numbers [5]int64
	for i := range numbers {
		if numbers[i], err = values[i].AsInt64(); err != nil {
			return nil, err
		}
	}
	a := &claimAnswer{
		now: numbers[0], next: numbers[1], token: numbers[2], dropped: numbers[3], n: int(numbers[4]),
	}
	if len(values) < 5+2*a.n {
		return nil, &replyError{claimScript.Name, "jobs are missing"}
	}
	a.entries, a.rare = values[5:5+2*a.n], values[5+2*a.n:]
	return a, nil
}

// job returns the ith job. One that cannot be decoded is handed out all the same, in order to be rejected.
func (a *claimAnswer) job(i int, queue string) *worker.Job {
	id, _ := a.entries[2*i].ToString()
	body, _ := a.entries[2*i+1].AsBytes() // its own memory: the job keeps it
	job, err := worker.DecodeJob(body)
	if err == nil && job.ID != id {
		err = &worker.DecodeError{ID: id, Body: body, Err: fmt.Errorf("its header names another job: %q", job.ID)}
	}
	if err == nil && job.Queue != queue {
		err = &worker.DecodeError{ID: id, Body: body, Err: fmt.Errorf("its header names another queue: %q", job.Queue)}
	}
	if err != nil {
		var bad *worker.DecodeError
		if errors.As(err, &bad) {
			bad.ID = id
		}
		job = &worker.Job{ID: id, Queue: queue, Payload: body, Reject: err}
	}
	job.Token = a.token + int64(i)
	job.Attempt = 1
	job.RunnableAt = runnableAt(job, 0)
	if job.Reject == nil && !job.ExpiresAt.IsZero() && time.UnixMilli(a.now).After(job.ExpiresAt) {
		job.Reject = worker.ErrExpired
	}
	return job
}

// enrich adds what only some jobs have: earlier attempts, crashes, a cancel mark, a checkpoint. An error tells of jobs
// that it could not do that for; it does it for the others.
func (a *claimAnswer) enrich(jobs []*worker.Job, maxCrashes int) error {
	var errs []error
	for i := 0; i+2 < len(a.rare); i += 3 {
		if err := a.enrichOne(jobs, a.rare[i:i+3], maxCrashes); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// enrichOne adds index, past and checkpoint of one job.
func (a *claimAnswer) enrichOne(jobs []*worker.Job, rare []rueidis.RedisMessage, maxCrashes int) error {
	index, err := rare[0].AsInt64()
	if err != nil || index < 1 || int(index) > len(jobs) {
		return &replyError{claimScript.Name, "index out of range"}
	}
	text, err := rare[1].ToString()
	if err != nil {
		return err
	}
	checkpoint, err := rare[2].AsBytes()
	if err != nil {
		return err
	}
	past, err := readPast(text)
	if err != nil {
		return err
	}
	job := jobs[index-1]
	past.addTo(job, a.now)
	if len(checkpoint) > 0 {
		job.CheckpointData = checkpoint
	}
	job.Reject = reject(job.Reject, past.crashes >= maxCrashes, past.canceled)
	return nil
}

// reject ranks the reasons why a job must not run: a cancel says what somebody wants, a body that cannot be decoded
// leaves nothing to run, and a job that keeps killing workers says more than one that is late.
func reject(found error, crashLoop, canceled bool) error {
	var bad *worker.DecodeError
	switch {
	case canceled:
		return worker.ErrCanceled
	case errors.As(found, &bad):
		return found
	case crashLoop:
		return worker.ErrCrashLoop
	}
	return found
}
