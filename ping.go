package worker

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	pingTimeout     = 500 * time.Millisecond // of one ping, which a pool that is not ready for it waits for
	harmlessTimeout = pingTimeout / 2        // of one that a pool is ready without
)

// pings ask a pool's servers whether they answer, until the pool has stopped.
type pings struct {
	probes []*probe
	ctx    context.Context // of all pings
	cancel context.CancelFunc

	mu       sync.Mutex
	over     bool
	underWay sync.WaitGroup
}

// probe asks one Pinger. However many ask at once, and however long it takes, one ping is under way.
type probe struct {
	pinger        Pinger
	code, message string
	timeout       time.Duration

	mu      sync.Mutex
	current *pinging  // nil while none is
	since   time.Time // when the first of the pings began that have failed since one succeeded; zero if none has
}

// pinging is a ping under way.
type pinging struct {
	began time.Time
	done  chan struct{}
	err   error // to be read when done is closed
}

func newPings(b Backend) *pings {
	p := &pings{}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	add := func(backend any, code, message string, timeout time.Duration) {
		if pinger, ok := backend.(Pinger); ok && !isNil(backend) {
			p.probes = append(p.probes, &probe{pinger: pinger, code: code, message: message, timeout: timeout})
		}
	}
	add(b.Queue, ProblemQueueUnreachable, "the queue's server does not answer", pingTimeout)
	add(b.StatusStore, ProblemStoreFailing, "the status store does not answer", pingTimeout)
	add(b.Notifier, ProblemNotifierFailing, "the notifier does not answer", harmlessTimeout)
	return p
}

// ask asks all that can be asked.
func (p *pings) ask(ctx context.Context) (problems []Problem) {
	began := time.Now()
	asked := make([]*pinging, len(p.probes))
	for i, pr := range p.probes {
		asked[i] = p.start(pr)
	}
	for i, pr := range p.probes {
		if asked[i] == nil {
			continue // the pool has just stopped
		}
		if err := asked[i].wait(ctx, began.Add(pr.timeout)); err != nil {
			problems = append(problems, Problem{Code: pr.code, Message: pr.message, Err: err, Since: pr.failsSince(asked[i])})
		}
	}
	return problems
}

// start begins a ping, or joins the one that is under way. Nil means that the pool has stopped.
func (p *pings) start(pr *probe) *pinging {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.current == nil {
		current := &pinging{began: time.Now(), done: make(chan struct{})}
		pr.current = current
		p.underWay.Go(func() { pr.run(p.ctx, current) })
	}
	return pr.current
}

// end cancels the pings that are under way, and waits for them while ctx lasts.
func (p *pings) end(ctx context.Context) {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.cancel()
	ctx, cancel := context.WithTimeout(ctx, 2*pingTimeout) // one that ignores its context is left behind
	defer cancel()
	await(ctx, p.underWay.Wait)
}

func (pr *probe) run(ctx context.Context, p *pinging) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout) // of all who wait for it
	defer cancel()
	p.err = errors.New("the ping ended its goroutine")
	defer func() {
		pr.mu.Lock()
		defer pr.mu.Unlock()
		switch {
		case p.err == nil:
			pr.since = time.Time{}
		case pr.since.IsZero():
			pr.since = p.began
		}
		pr.current = nil
		close(p.done)
	}()
	p.err = callPing(ctx, pr.pinger)
}

func callPing(ctx context.Context, pinger Pinger) (err error) {
	defer catch(&err)
	return pinger.Ping(ctx)
}

// failsSince tells when the trouble began that a ping has met.
func (pr *probe) failsSince(p *pinging) time.Time {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.since.IsZero() {
		return p.began
	}
	return pr.since
}

func (p *pinging) wait(ctx context.Context, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
