package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	sweepIdle   = time.Minute      // for how long a row must not have changed
	sweepLease  = 30 * time.Second // of the lock
	sweepPage   = 100              // rows
	sweepRest   = 9                // a pool's pause after a page that lost nothing, as a multiple of the page's time
	maxProblems = 10               // that an error tells of
	maxUnread   = 3                // rows that cannot be read, after which a page is given up
	maxReopened = 1000             // rounds that are remembered
)

// ErrSweeping is Client.Sweep's answer while another process sweeps.
var ErrSweeping = errors.New("another process sweeps")

// Sweep enqueues again the jobs that the store knows as unfinished and the queue does not know, and returns how many: the
// queue's server may have lost its data, or a producer died between its commit and Push. It goes through the rows that
// have not changed for a minute, in pages, and enqueues each job as it was, due at its row's RunAt; an id that meanwhile
// waits or runs is left alone, and a status of its own guards one that has just ended. It also finishes a Requeue that
// was cut short, and records the end of a job that only the queue knows to be over. Attempts and crashes that only the
// queue had counted begin anew.
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

// sweeper finds jobs that the queue has lost. One goroutine uses it.
type sweeper struct {
	client *Client
	knower Knower
	rows   Unfinished
	locks  SweepLock // nil if the store isn't one: then nobody is kept from sweeping
	owner  string
	idle   time.Duration
	locked time.Time // when the lock was taken or prolonged last
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
	s.locked = time.Now()
	if s.locks == nil {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.locks.LockSweep(ctx, s.owner, sweepLease, rest)
}

// keep prolongs the lock in time. Every single call in between takes less than the rest of the lease.
func (s *sweeper) keep(ctx context.Context) error {
	if time.Since(s.locked) < sweepLease/3 {
		return ctx.Err()
	}
	mine, err := s.lock(ctx, 0)
	if err == nil && !mine {
		return ErrSweeping // somebody else goes on
	}
	return err
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

// pass is one walk through all unfinished rows. What concerns single jobs or queues is noted and doesn't end it.
type pass struct {
	*sweeper
	found    int
	jobless  int // rows whose job nobody has
	problems []error
}

// pass goes through all rows. rest is called after pages that lost nothing, with the time that the page took.
func (s *sweeper) pass(ctx context.Context, rest func(time.Duration)) (found int, err error) {
	p := &pass{sweeper: s}
	err = p.walk(ctx, rest)
	if p.jobless > 0 {
		s.client.log.Warn("jobs are unfinished, the queue doesn't know them, and the store doesn't keep them", "jobs", p.jobless)
	}
	if p.found > 0 {
		s.client.log.Info("jobs that the queue did not know were enqueued again", "jobs", p.found)
	}
	return p.found, errors.Join(append(p.problems, err)...)
}

func (p *pass) walk(ctx context.Context, rest func(time.Duration)) error {
	for cursor := ""; ; {
		start, found := time.Now(), p.found
		rows, next, err := p.page(ctx, cursor)
		if err == nil {
			err = p.sweep(ctx, rows)
		}
		if err != nil || next == "" {
			return err
		}
		cursor = next
		if p.found == found {
			rest(min(sweepRest*time.Since(start), sweepLease/3))
		}
		if err := p.keep(ctx); err != nil {
			return err
		}
	}
}

func (p *pass) page(ctx context.Context, cursor string) ([]Status, string, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, next, err := p.rows.Unfinished(ctx, p.idle, cursor, sweepPage)
	if err != nil {
		return nil, "", fmt.Errorf("list unfinished jobs: %w", err)
	}
	return rows, next, nil
}

// sweep enqueues again what the queue has lost of one page. It fails when nothing is to be had of any queue.
func (p *pass) sweep(ctx context.Context, rows []Status) error {
	queues := idsByQueue(rows)
	var failures []error
	for queue, ids := range queues {
		places, err := p.knower.Know(ctx, queue, ids...)
		if err == nil && len(places) != len(ids) {
			err = fmt.Errorf("the queue told the places of %d jobs of %d", len(places), len(ids))
		}
		if err == nil {
			err = p.sweepQueue(ctx, ids, places)
		}
		if errors.Is(err, ErrSweeping) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("queue %q: %w", queue, err))
		}
	}
	if len(failures) > 0 && len(failures) == len(queues) {
		return errors.Join(failures...)
	}
	p.note(failures...)
	return nil
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

// note remembers some of what goes wrong.
func (p *pass) note(problems ...error) {
	p.problems = append(p.problems, problems[:min(len(problems), maxProblems-len(p.problems))]...)
}

// sweepQueue enqueues again what is not in its place.
func (p *pass) sweepQueue(ctx context.Context, ids []string, places []Place) error {
	var lost []*Status
	dead := make(map[string]int64) // the tokens of those that had ended before their rows were read
	unread := 0
	for i, place := range places {
		if place == PlaceWaiting || place == PlaceHeld {
			continue
		}
		if err := p.keep(ctx); err != nil {
			return err
		}
		row, err := p.missing(ctx, ids[i])
		switch {
		case err != nil:
			p.note(fmt.Errorf("job %q: %w", ids[i], err))
			if unread++; unread == maxUnread {
				return p.push(ctx, lost, dead) // the next page tells whether it is the store
			}
		case row == nil:
		case place == PlaceDead && p.cutShort(row):
			p.reopen(ctx, row)
		default:
			lost = append(lost, row)
			if place == PlaceDead {
				dead[row.JobID] = row.Token()
			}
		}
	}
	return p.push(ctx, lost, dead)
}

// reopen finishes a Requeue that was cut short, or ends its round if another job has the unique key by now.
func (p *pass) reopen(ctx context.Context, row *Status) {
	err := p.client.requeuer.Reopen(ctx, row.Job)
	switch {
	case err == nil:
		p.client.reopened.add(row)
		p.found++
		return
	case errors.Is(err, ErrJobActive): // by another's Requeue, of this round or an earlier one: that is seen when it has ended
		return
	case isDuplicate(err):
		err = p.client.closeRound(ctx, row.Job, row.Token(), nil, err)
	}
	if err != nil {
		p.note(fmt.Errorf("job %q: %w", row.JobID, err))
	}
}

// missing returns the row, with its job as it is to run, of a job that is still unfinished; nil when it isn't.
func (p *pass) missing(ctx context.Context, id string) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	row, err := p.client.getter.Get(ctx, id) // what the page says may be over
	switch {
	case errors.Is(err, ErrJobNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read status: %w", err)
	case row.State.Final():
		return nil, nil
	case row.Job == nil || row.Job.ID != id: // or another's, which would run in its place
		p.jobless++
		return nil, nil
	}
	job := row.Job.snapshot()
	job.Queue, job.RunAt, job.Delay = row.Queue, row.RunAt, 0
	row.Job = job
	return row, nil
}

// cutShort reports whether a dead job's row is that of a Requeue which did not come to its end. It says so once of a
// round: one that the queue has buried again, since the store refused all that became of it, looks the same.
func (p *pass) cutShort(row *Status) bool {
	return row.opens() && row.Token() > 0 && p.client.requeuer != nil && !p.client.reopened.has(row)
}

// push enqueues lost jobs again. Those that are dead, as they were before, are recorded so; one that has died only since
// may have a row that a Requeue has just opened.
func (p *pass) push(ctx context.Context, lost []*Status, dead map[string]int64) error {
	if len(lost) == 0 {
		return nil
	}
	jobs := make([]*Job, len(lost))
	for i, row := range lost {
		jobs[i] = row.Job
	}
	err := p.client.push(ctx, jobs, dead)
	refused := (*EnqueueError)(nil)
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	p.found += len(jobs)
	if refused != nil {
		p.found -= len(refused.Failed)
		maps.DeleteFunc(refused.Failed, func(_ string, why error) bool {
			return errors.As(why, new(*FinishedError)) || isDuplicate(why) || errors.Is(why, errRowWaits)
		})
		if len(refused.Failed) > 0 {
			p.note(refused)
		}
	}
	return nil
}

// reopened are the rounds that sweeps have reopened, a bounded number of them.
type reopened struct {
	mu     sync.Mutex
	rounds map[string]int64 // token by job id
}

func (r *reopened) has(row *Status) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rounds[row.JobID] == row.Token()
}

func (r *reopened) add(row *Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rounds == nil || len(r.rounds) >= maxReopened {
		r.rounds = make(map[string]int64)
	}
	r.rounds[row.JobID] = row.Token()
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
		err := s.turn(p.claimCtx, interval/2, func(d time.Duration) { p.pauseClaims(d) })
		switch {
		case err == nil:
			if down.clear() {
				p.log.Info("lost jobs are looked for again")
			}
		case p.claimCtx.Err() == nil && down.raise(err):
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
	if _, err = s.pass(ctx, rest); errors.Is(err, ErrSweeping) {
		return nil // another process goes on
	}
	return err
}
