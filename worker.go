package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Errors of a pool's life cycle.
var (
	ErrPoolStarted = errors.New("pool was started before")
	ErrPoolStopped = errors.New("pool was stopped")
)

// Pool claims jobs, runs their handlers, records what became of them and tells who is to know. It is used once: Start
// and Stop, or Run. It owns every goroutine that it starts, and all have ended when Stop returns, but for those of
// handlers, and of calls to backends, that ignore their context, and of schedules that never answer.
type Pool struct {
	cfg      Config
	client   *Client
	store    StatusStore
	notes    *announcer
	log      *slog.Logger
	tel      *telemetry
	handlers map[string]registration
	origin   Process
	slots    *slots
	saves    *lane[saveItem]
	hands    hands
	ticks    *ticks // nil without periodic jobs

	gauges *gauges

	storeFails flag
	stuck      flag // all slots are held by abandoned handlers
	pings      *pings

	claimCtx   context.Context // ends when Stop begins
	stopClaims context.CancelFunc
	jobsCtx    context.Context // parent of every handler's; ends when draining is over
	stopJobs   context.CancelCauseFunc
	hardCtx    context.Context // of settlements and saves; ends when the pool's time is up
	stopHard   context.CancelFunc

	feeding  sync.WaitGroup
	watchers sync.WaitGroup
	turns    chan struct{} // capacity 1: held while a queue is added or taken out

	mu         sync.Mutex
	state      poolState
	abortStart context.CancelFunc
	started    chan struct{} // closed when Start has ended
	feeds      []*feed       // of the queues that are served; nobody changes them while the pool starts
	leaving    []*feed       // of those that are being removed
	sessions   []*session    // the open ones, and lost ones whose handlers still run
	abandoned  int           // handlers that still run though they were given up
	staleAt    *time.Timer
	done       chan struct{} // closed when Stop has ended
	stopErr    error
	stopBegan  time.Time
}

type poolState int

const (
	poolNew poolState = iota
	poolStarting
	poolRunning
	poolStopping
)

// NewPool makes a pool. It reports all that is wrong with cfg at once and talks to nobody.
func NewPool(cfg Config) (*Pool, error) {
	client, problems := newClient(cfg.Backend)
	problems = append(problems, cfg.problems()...)
	ticks, wrong := ticksOf(&cfg)
	problems = append(problems, wrong...)
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("new pool: %w", err)
	}
	cfg.applyDefaults()
	p := &Pool{
		cfg: cfg, client: client, store: cfg.StatusStore, notes: client.notes, log: client.log, tel: client.tel,
		handlers: cfg.Registry.build(), slots: newSlots(cfg.Concurrency, cfg.Strict), ticks: ticks, done: make(chan struct{}),
		origin: cfg.process(), turns: make(chan struct{}, 1),
	}
	if ticks != nil {
		ticks.pool = p
	}
	p.saves = newLane(p.saveBatch, saveWidth, 0)
	p.hands.init(p.work)
	p.pings = newPings(cfg.Backend)
	for _, name := range slices.Sorted(maps.Keys(cfg.Queues)) {
		p.feeds = append(p.feeds, p.newFeed(name, cfg.Queues[name]))
	}
	return p, nil
}

// Client returns the pool's own producer. It works before Start and after Stop, too.
func (p *Pool) Client() *Client { return p.client }

// Run starts the pool, waits until ctx ends or Stop is called, and stops. It returns nil after an ordinary stop.
// Catching signals is the host's: signal.NotifyContext gives a ctx that ends with one.
func (p *Pool) Run(ctx context.Context) error {
	if err := p.Start(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // it was to stop before it had started
		}
		return err
	}
	select {
	case <-ctx.Done():
	case <-p.claimCtx.Done():
	}
	return p.Stop(context.WithoutCancel(ctx))
}

// Start opens a session on every queue and begins to claim. It returns when all are open, or with an error, within 5
// seconds, when one cannot be; then nothing runs and Start may be called again. ctx bounds the start only, and gives
// its values to handlers, but for span and baggage, which they have of whoever sent their job. A second Start answers
// ErrPoolStarted, one after Stop, or cut short by it, ErrPoolStopped.
func (p *Pool) Start(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("start pool: %w", err)
	}
	opening, err := p.beginStart(ctx)
	if err != nil {
		return err
	}
	sessions, err := p.openAll(opening)
	p.abortStart()
	if err == nil && p.becomeRunning(sessions) {
		p.gauges.begin()
		return nil
	}
	p.end()
	releaseAll(sessions)
	p.watchers.Wait()

	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(p.started)
	p.sessions = nil
	if p.state == poolStopping {
		close(p.done)
		return ErrPoolStopped
	}
	p.state = poolNew
	return fmt.Errorf("start pool: %w", err)
}

// becomeRunning starts the goroutines, unless Stop came first.
func (p *Pool) becomeRunning(sessions []*session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != poolStarting {
		return false
	}
	p.state = poolRunning
	close(p.started)
	for i, f := range p.feeds {
		p.feeding.Go(func() { f.run(sessions[i]) })
	}
	p.gauges = newGauges(p)
	p.watchers.Go(p.gauges.run)
	p.watchers.Go(p.janitor)
	p.watchers.Go(p.sweeps)
	if p.ticks != nil {
		p.watchers.Go(p.ticks.run)
	}
	return true
}

// beginStart makes the pool's contexts, and the one that bounds the start.
func (p *Pool) beginStart(ctx context.Context) (context.Context, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case poolStarting, poolRunning:
		return nil, ErrPoolStarted
	case poolStopping:
		return nil, ErrPoolStopped
	}
	p.state = poolStarting
	base := context.WithoutCancel(withoutTrace(ctx))
	p.claimCtx, p.stopClaims = context.WithCancel(base)
	p.jobsCtx, p.stopJobs = context.WithCancelCause(base)
	p.hardCtx, p.stopHard = context.WithCancel(base)
	p.started = make(chan struct{})
	for _, f := range p.feeds {
		f.arm()
	}
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	p.abortStart = cancel
	return opening, nil
}

// openAll opens every session; the ones it could open come with the error.
func (p *Pool) openAll(ctx context.Context) ([]*session, error) {
	sessions := make([]*session, 0, len(p.feeds))
	for _, f := range p.feeds {
		s, err := f.open(ctx)
		if err != nil {
			return sessions, err
		}
		sessions = append(sessions, s)
	}
	return sessions, nil
}

// releaseAll closes sessions that nothing was claimed by.
func releaseAll(sessions []*session) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, s := range sessions {
		all.Go(func() { s.release(ctx) })
	}
	await(ctx, all.Wait)
}

func (p *Pool) end() {
	p.stopClaims()
	p.stopJobs(ErrShutdown)
	p.stopHard()
}

// attempts turns claimed jobs into attempts.
func (p *Pool) attempts(s *session, jobs []*Job) []*attempt {
	now := time.Now()
	attempts := make([]*attempt, 0, len(jobs))
	for _, job := range jobs {
		if job == nil {
			if p.client.seldom.allow("nil job") {
				p.log.Error("the queue handed out a nil job", "queue", s.feed.queue)
			}
			continue
		}
		job.Reject = readable(job.Reject)
		reg := s.feed.handlers[job.Type]
		attempts = append(attempts, &attempt{pool: p, session: s, job: job, reg: reg, policy: p.policyOf(job, reg),
			claimed: now, alone: job.Reject == nil && job.Crashes > 0 && job.Crashes >= p.cfg.MaxCrashes-1})
	}
	s.track(attempts)
	return attempts
}

// work is what a hand does: it takes a slot, runs job after job in it, and leaves it when no job is ready. When its
// handler was abandoned the slot was taken away, and the hand is counted out.
func (p *Pool) work() {
	me := p.hands.newHand()
	var a *attempt
	defer func() { // also when a handler ends the goroutine
		if a == nil || a.owner.Load() != abandoned {
			me.leave()
		}
	}()
	for {
		a = nil // a hand that rests keeps no job
		if a = me.take(); a == nil {
			return
		}
		for {
			if !p.process(a) {
				return
			}
			next := p.next(a)
			if next == nil {
				break
			}
			a = me.trade(next)
		}
	}
}

// next frees the slot of an attempt that ended and returns the next one for it.
func (p *Pool) next(a *attempt) *attempt {
	next, more := p.slots.finish(a)
	if len(more) > 0 {
		p.hands.start(more...)
	}
	return next
}

func (p *Pool) timeout(a *attempt) time.Duration {
	d := a.job.Timeout
	if d == 0 && a.reg.defaults != nil {
		d = a.reg.defaults.Timeout
	}
	return or(d, p.cfg.JobTimeout)
}

// tells reports whether anyone hears of statuses.
func (p *Pool) tells() bool { return p.store != nil || p.notes.notifier != nil }

// announceSettled announces outcomes where no store has them: when they are settled, as they can't change any more.
func (p *Pool) announceSettled(batch []*attempt) {
	if p.store != nil || p.notes.notifier == nil {
		return
	}
	tell := make([]Status, 0, len(batch))
	for _, a := range batch {
		if a.outcome.status.State != "" {
			tell = append(tell, a.outcome.status)
		}
	}
	p.notes.announce(tell...)
}

// watchReady sees that jobs claimed ahead of time don't wait long for a slot.
func (p *Pool) watchReady() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.staleAt == nil && p.slots.waiting() {
		p.staleAt = time.AfterFunc(maxAheadWait, p.giveBackStale)
	}
}

func (p *Pool) giveBackStale() {
	now := time.Now()
	if p.giveBackReady(func(a *attempt) bool { return !a.alone && now.Sub(a.claimed) >= maxAheadWait }) > 0 {
		p.slots.slowDown()
	}
	p.mu.Lock()
	p.staleAt = nil
	p.mu.Unlock()
	if p.hardCtx.Err() == nil {
		p.watchReady()
	}
}

// giveBackReady gives back unstarted jobs that match, to the head of their queues, and returns how many.
func (p *Pool) giveBackReady(match func(*attempt) bool) int {
	gone := p.slots.withdraw(match)
	for _, a := range gone {
		p.record(a, p.putBack(a, 0))
	}
	return len(gone)
}

// dismissAlone ends the jobs that wait to run alone and are not to start any more, as nothing is claimed while one waits.
func (p *Pool) dismissAlone() {
	for _, a := range p.slots.withdraw(func(a *attempt) bool { return a.alone && a.revokedBy() != nil }) {
		p.record(a, p.refuse(a))
	}
}

// pause waits, and reports false when the pool's time is up. The end of draining cuts one pause short.
func (p *Pool) pause(d time.Duration) bool {
	drained := p.jobsCtx.Done()
	if p.jobsCtx.Err() != nil {
		drained = nil
	}
	sleep(d, drained, p.hardCtx.Done())
	return p.hardCtx.Err() == nil
}

// pauseClaims waits, and reports false when nothing more is to be claimed.
func (p *Pool) pauseClaims(d time.Duration) bool {
	sleep(d, nil, p.claimCtx.Done())
	return p.claimCtx.Err() == nil
}

// sleep returns after d, or when either channel is closed.
func sleep(d time.Duration, a, b <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a:
	case <-b:
	}
}
