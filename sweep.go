package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

const (
	sweepIdle   = time.Minute      // for how long a row must not have changed
	sweepLease  = 30 * time.Second // of the lock, prolonged with each page
	sweepPage   = 100              // rows
	maxRefusals = 10               // that an error tells of
	sweepRest   = 9                // a pool's pause between pages, as a multiple of the time that the page took
)

// ErrSweeping is Client.Sweep's answer while another process sweeps.
var ErrSweeping = errors.New("another process sweeps")

// Push enqueues jobs whose first status is in the store already: after the commit of a transaction that wrote it, as
// sqlstatus's EnqueueTx does. It writes no status, but announces the first one. When it fails, or the process dies
// before it, nothing is lost: calling it again is safe, and a sweep enqueues the jobs that the queue doesn't know. Jobs
// whose id the queue knows as ended are listed in an *EnqueueError with a *FinishedError, and recorded as what they are.
func (c *Client) Push(ctx context.Context, jobs ...*Job) error {
	if err := complete(jobs); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	if len(jobs) == 0 {
		return nil
	}
	ctx, span := c.tel.startSend(ctx, jobs)
	err := c.check(jobs)
	if err == nil {
		for _, job := range jobs {
			c.notes.announce(waitingStatus(job, 0))
		}
		err = c.push(ctx, jobs, nil)
	}
	c.tel.finishSend(ctx, span, jobs, err)
	return err
}

// push enqueues jobs that have a row, under the given tokens, or 0. A refusal says nothing about how they end: they go on
// waiting for the next try. The end of those that the queue knows as dead is recorded.
func (c *Client) push(ctx context.Context, jobs []*Job, tokens map[string]int64) error {
	err := c.queue.Enqueue(ctx, jobs...)
	refused := (*EnqueueError)(nil)
	if !errors.As(err, &refused) {
		if err != nil {
			return fmt.Errorf("push: %w", err)
		}
		return nil
	}
	finished := make(map[string]error)
	for id, why := range refused.Failed {
		if errors.As(why, new(*FinishedError)) {
			finished[id] = why
		}
	}
	c.saveRefused(ctx, jobs, tokens, finished)
	return refused
}

// Sweep enqueues again the jobs that the store knows as unfinished and the queue does not know, and returns how many: the
// queue's server may have lost its data, or a producer died between its commit and Push. It goes through the rows that
// have not changed for a minute, in pages, and enqueues each job as it was, due at its row's RunAt; an id that meanwhile
// waits or runs is left alone, and a status of its own guards one that has just ended. It also finishes a Requeue that
// was cut short, and records the end of a job that only the queue knows to be over. Attempts and crashes that only the queue had counted begin anew.
//
// Every pool sweeps by itself, see Config.SweepInterval. ErrSweeping means that another process is at it. The queue must
// be a Knower, and the store Unfinished and a Getter that returns jobs: errors.ErrUnsupported says that one isn't.
func (c *Client) Sweep(ctx context.Context) (int, error) {
	s := c.newSweeper(sweepIdle)
	if s == nil {
		return 0, fmt.Errorf("sweep: the queue or the store cannot do it: %w", errors.ErrUnsupported)
	}
	mine, err := s.lock(ctx, 0)
	switch {
	case err != nil:
		return 0, fmt.Errorf("sweep: %w", err)
	case !mine:
		return 0, ErrSweeping
	}
	defer s.unlock(ctx)
	n, err := s.pass(ctx, func(time.Duration) {})
	if err != nil {
		return n, fmt.Errorf("sweep: %w", err)
	}
	return n, nil
}

// sweeper finds jobs that the queue has lost.
type sweeper struct {
	client *Client
	knower Knower
	rows   Unfinished
	locks  SweepLock // nil if the store isn't one: then nobody is kept from sweeping
	owner  string
	idle   time.Duration
}

// newSweeper returns nil when queue or store lack the power.
func (c *Client) newSweeper(idle time.Duration) *sweeper {
	s := &sweeper{client: c, owner: uuid.NewString(), idle: idle}
	s.locks, _ = c.store.(SweepLock)
	s.knower, _ = c.queue.(Knower)
	s.rows, _ = c.store.(Unfinished)
	if s.knower == nil || s.rows == nil || c.getter == nil {
		return nil
	}
	return s
}

// lock reports whether this sweeper may go on, and is the only one.
func (s *sweeper) lock(ctx context.Context, rest time.Duration) (bool, error) {
	if s.locks == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.locks.LockSweep(ctx, s.owner, sweepLease, rest)
}

func (s *sweeper) unlock(ctx context.Context) {
	if s.locks == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := s.locks.UnlockSweep(ctx, s.owner); err != nil {
		s.client.log.Warn("the sweep's lock could not be given back: it ends by itself", "error", err)
	}
}

// pass goes through all rows once. rest is called between pages with the time that one took. A job that the queue refuses
// is no reason to stop.
func (s *sweeper) pass(ctx context.Context, rest func(time.Duration)) (found int, err error) {
	var refusals []error
	for cursor := ""; ; {
		start := time.Now()
		rows, next, err := s.page(ctx, cursor)
		if err != nil {
			return found, err
		}
		n, err := s.sweep(ctx, rows)
		found += n
		if errors.As(err, new(*EnqueueError)) {
			if len(refusals) < maxRefusals {
				refusals = append(refusals, err)
			}
		} else if err != nil {
			return found, err
		}
		if next == "" {
			return found, errors.Join(refusals...)
		}
		cursor = next
		rest(time.Since(start))
		if mine, err := s.lock(ctx, 0); err != nil || !mine {
			return found, errors.Join(append(refusals, err)...) // when not mine, somebody else goes on
		}
	}
}

func (s *sweeper) page(ctx context.Context, cursor string) ([]Status, string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, next, err := s.rows.Unfinished(ctx, s.idle, cursor, sweepPage)
	if err != nil {
		return nil, "", fmt.Errorf("list unfinished jobs: %w", err)
	}
	return rows, next, nil
}

// sweep enqueues again what the queue has lost of one page.
func (s *sweeper) sweep(ctx context.Context, rows []Status) (found int, err error) {
	var lost []*Status
	for queue, ids := range idsByQueue(rows) {
		places, err := s.knower.Know(ctx, queue, ids...)
		if err == nil && len(places) != len(ids) {
			err = fmt.Errorf("the queue told the places of %d jobs of %d", len(places), len(ids))
		}
		if err != nil {
			return found, err
		}
		for i, place := range places {
			row, err := s.missing(ctx, ids[i], place)
			switch {
			case err != nil:
				return found, err
			case row == nil:
			case place == PlaceDead && row.opens() && row.Token() > 0 && s.client.requeuer != nil:
				if err := s.client.requeuer.Reopen(ctx, row.Job); err != nil { // what a Requeue had begun
					return found, err
				}
				found++
			default:
				lost = append(lost, row)
			}
		}
	}
	pushed, err := s.push(ctx, lost)
	return found + pushed, err
}

// push enqueues lost jobs again and returns how many. Those that turn out to be over are recorded so under the tokens of
// their rows, which no later writer is overruled by.
func (s *sweeper) push(ctx context.Context, lost []*Status) (pushed int, err error) {
	if len(lost) == 0 {
		return 0, nil
	}
	jobs, tokens := make([]*Job, len(lost)), make(map[string]int64, len(lost))
	for i, row := range lost {
		jobs[i], tokens[row.JobID] = row.Job, row.Token()
	}
	err = s.client.push(ctx, jobs, tokens)
	refused := (*EnqueueError)(nil)
	if err != nil && !errors.As(err, &refused) {
		return 0, err
	}
	pushed = len(jobs)
	if refused != nil {
		pushed -= len(refused.Failed)
		maps.DeleteFunc(refused.Failed, func(_ string, why error) bool { return errors.As(why, new(*FinishedError)) })
		if len(refused.Failed) == 0 {
			err = nil
		}
	}
	if pushed > 0 {
		s.client.log.Info("jobs that the queue did not know were enqueued again", "jobs", pushed)
	}
	return pushed, err
}

func idsByQueue(rows []Status) map[string][]string {
	ids := make(map[string][]string)
	for i := range rows {
		if CheckQueueName(rows[i].Queue) == nil { // whatever else is in a host's table
			ids[rows[i].Queue] = append(ids[rows[i].Queue], rows[i].JobID)
		}
	}
	return ids
}

// missing returns the row, with its job as it is to run, of an unfinished job that the queue doesn't have where it should
// be; nil when all is well.
func (s *sweeper) missing(ctx context.Context, id string, place Place) (*Status, error) {
	if place == PlaceWaiting || place == PlaceHeld {
		return nil, nil
	}
	row, err := s.client.getter.Get(ctx, id) // what the page says may be over
	switch {
	case errors.Is(err, ErrJobNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read status: %w", err)
	case row.State.Final():
		return nil, nil
	case row.Job == nil:
		s.client.log.Warn("a job is unfinished, the queue doesn't know it, and the store doesn't keep it", "job", id)
		return nil, nil
	}
	job := row.Job.snapshot()
	job.Queue, job.RunAt, job.Delay = row.Queue, row.RunAt, 0
	row.Job = job
	return row, nil
}

// sweeps looks for lost jobs at every interval, until claims stop.
func (p *Pool) sweeps() {
	interval := p.cfg.SweepInterval
	s := p.client.newSweeper(min(interval, sweepIdle))
	if interval < 0 || s == nil {
		return
	}
	down := flag{}
	for p.pauseClaims(interval/2 + rand.N(interval)) {
		err := s.turn(p.claimCtx, interval/2, func(took time.Duration) { p.pauseClaims(sweepRest * took) })
		switch {
		case err == nil:
			if down.clear() {
				p.log.Info("lost jobs are looked for again")
			}
		case p.claimCtx.Err() == nil && down.raise():
			p.log.Warn("lost jobs could not be looked for", "error", err)
		}
	}
}

// turn makes one pass, unless another process is at it or was just now.
func (s *sweeper) turn(ctx context.Context, recently time.Duration, rest func(time.Duration)) (err error) {
	defer catch(&err)
	mine, err := s.lock(ctx, recently)
	if err != nil || !mine {
		return err
	}
	defer s.unlock(ctx)
	_, err = s.pass(ctx, rest)
	return err
}
