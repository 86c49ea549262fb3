package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// Health is what a pool says of itself at one moment. Encoded as JSON it holds no texts of errors, which may name hosts
// and addresses.
type Health struct {
	// Live is false when only a new process helps: all slots are held by handlers that ignore their context.
	Live bool `json:"live"`
	// Ready is true while the pool claims jobs and can say what becomes of them.
	Ready bool `json:"ready"`
	// Problems are what stands in the way, and what operators ought to know besides. Never nil; ordered by queue, those
	// of no single queue first.
	Problems []Problem `json:"problems"`
}

// Problem is one thing that is wrong.
type Problem struct {
	// Code is one of the constants below.
	Code string `json:"code"`
	// Queue is the queue that it concerns. Empty: all of them.
	Queue string `json:"queue,omitempty"`
	// Message says it in a constant sentence for people.
	Message string `json:"message"`
	// Err is what was answered last, nil if there is nothing more to say.
	Err error `json:"-"`
	// Since is when it began, or was seen first. Zero for a pool that was not started.
	Since time.Time `json:"since,omitzero"`
}

// The codes of problems. A pool with any of the first group is not ready.
const (
	ProblemNotStarted        = "not_started"          // Start was not called, has not ended yet, or has failed
	ProblemStopping          = "stopping"             // Stop has begun
	ProblemStopped           = "stopped"              // Stop has ended
	ProblemQueueUnreachable  = "queue_unreachable"    // claims, settlements or pings fail, or no session can be opened
	ProblemLeaseNotRenewed   = "lease_not_renewed"    // the last renewal of the lease failed; it may be lost soon
	ProblemLeaseLost         = "lease_lost"           // the lease was lost, and a new session is being opened
	ProblemStoreFailing      = "status_store_failing" // saves fail, and nothing is claimed meanwhile; or pings fail
	ProblemHandlersAbandoned = "handlers_abandoned"   // all slots are held by handlers that ignore their context: not live

	ProblemQueuePolled     = "queue_polled"     // waiting for jobs fails; they are found within seconds all the same
	ProblemNotifierFailing = "notifier_failing" // statuses are not announced; they are saved all the same
)

// harmless are the problems that a pool is ready with.
var harmless = []string{ProblemQueuePolled, ProblemNotifierFailing}

// Health tells how the pool is: by what its own calls met last, and by asking Queue, StatusStore and Notifier, as far as
// they are Pingers and the pool has not stopped. They are asked at once; one that has not answered within half a second, of
// the Notifier a quarter, or by the end of ctx, counts as failing. So a probe that waits for a second, as those of
// Kubernetes do by default, gets its answer. Health may be called at any time, also before Start and after Stop.
func (p *Pool) Health(ctx context.Context) Health {
	problems, stopped := p.known()
	if !stopped {
		problems = append(problems, p.pings.ask(ctx)...)
	}
	return newHealth(problems)
}

// liveness is Health without asking anybody: a process isn't to be restarted for its servers.
func (p *Pool) liveness(context.Context) Health {
	problems, _ := p.known()
	return newHealth(problems)
}

// known are the problems that need no asking. A pool that has stopped has no other than that.
func (p *Pool) known() (problems []Problem, stopped bool) {
	if problem := p.lifecycle(); problem.Code == ProblemStopped {
		return []Problem{problem}, true
	} else if problem.Code != "" {
		problems = append(problems, problem)
	}
	return append(problems, p.observed()...), false
}

func newHealth(problems []Problem) Health {
	h := Health{Live: true, Ready: true, Problems: slices.Clip(problems)}
	if h.Problems == nil {
		h.Problems = []Problem{}
	}
	for _, problem := range problems {
		h.Live = h.Live && problem.Code != ProblemHandlersAbandoned
		h.Ready = h.Ready && slices.Contains(harmless, problem.Code)
	}
	slices.SortStableFunc(h.Problems, func(a, b Problem) int { return cmp.Compare(a.Queue, b.Queue) })
	return h
}

// lifecycle tells of a pool that doesn't run; the code is empty for one that does.
func (p *Pool) lifecycle() Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.state {
	case poolRunning:
		return Problem{}
	case poolStopping:
		select {
		case <-p.done:
			return Problem{Code: ProblemStopped, Message: "the pool was stopped", Err: p.stopErr, Since: p.stopBegan}
		default:
			return Problem{Code: ProblemStopping, Message: "the pool stops", Since: p.stopBegan}
		}
	}
	return Problem{Code: ProblemNotStarted, Message: "the pool was not started, or is still starting"}
}

// observed are the problems that the pool's own calls have met, and that have not ended.
func (p *Pool) observed() (problems []Problem) {
	add := func(f *flag, code, queue, message string) {
		if t := f.trouble(); t != nil {
			problems = append(problems, Problem{Code: code, Queue: queue, Message: message, Err: t.err, Since: t.since})
		}
	}
	add(&p.stuck, ProblemHandlersAbandoned, "", "all slots are held by handlers that ignore the end of their context")
	if p.slots.blockedBy(blockStore) { // without it the next job tries the store: waiting for one would be for ever
		add(&p.storeFails, ProblemStoreFailing, "", "the status store fails: no jobs are claimed until it works again")
	}
	add(&p.notes.down, ProblemNotifierFailing, "", "the notifier fails: statuses are not announced")
	for _, f := range p.served() {
		if !p.slots.waits(f.share) { // else nobody knows whether that is still so, and a ping has to do
			add(&f.claims, ProblemQueueUnreachable, f.queue, "nothing can be claimed from the queue")
		}
		add(&f.settles, ProblemQueueUnreachable, f.queue, "jobs that ended cannot be settled in the queue")
		add(&f.lost, ProblemLeaseLost, f.queue, "the lease was lost, and a new session is not open yet")
		add(&f.renewals, ProblemLeaseNotRenewed, f.queue, "the lease on claimed jobs is not being renewed")
		add(&f.waits, ProblemQueuePolled, f.queue, "waiting for jobs fails: the queue is polled")
	}
	return problems
}

// trouble tells the log of a failure that goes on, once, when it begins, and fine when it is over.
func (f *feed) trouble(since *flag, message string, err error) {
	if f.ctx.Err() == nil && since.raise(err) {
		f.pool.log.Error(message, "queue", f.queue, "error", err)
	}
}

func (f *feed) fine(since *flag, message string) {
	if since.clear() {
		f.pool.log.Info(message, "queue", f.queue)
	}
}

// flag is a state of trouble of which only the changes are told.
type flag struct{ up atomic.Pointer[trouble] }

// trouble is what a raised flag stands for.
type trouble struct {
	since time.Time
	err   error // the latest
}

func (f *flag) trouble() *trouble { return f.up.Load() }

// raise begins a trouble, or keeps the latest error of one that goes on.
func (f *flag) raise(err error) (changed bool) {
	for {
		old, latest := f.up.Load(), &trouble{time.Now(), err}
		if old != nil {
			latest.since = old.since
		}
		if f.up.CompareAndSwap(old, latest) {
			return old == nil
		}
	}
}

func (f *flag) clear() (changed bool) { return f.up.Load() != nil && f.up.Swap(nil) != nil }

// LiveHandler answers 200 while the process is of use and 503 when only a restart helps, for a liveness probe. A pool that
// was not started, or was stopped, is live. The body has "live" and "problems" of the pool's Health as JSON, but for what
// only a ping would tell: no server is asked, as none is mended by restarting this process.
func (p *Pool) LiveHandler() http.Handler {
	return healthHandler(p.liveness, func(h Health) (bool, any) {
		return h.Live, struct {
			Live     bool      `json:"live"`
			Problems []Problem `json:"problems"`
		}{h.Live, h.Problems}
	})
}

// ReadyHandler answers 200 while the pool is ready and 503 when it isn't, for a readiness probe. The body is Health as
// JSON.
func (p *Pool) ReadyHandler() http.Handler {
	return healthHandler(p.Health, func(h Health) (bool, any) { return h.Ready, h })
}

func healthHandler(ask func(context.Context) Health, judge func(Health) (good bool, body any)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		good, body := judge(ask(r.Context()))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !good {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
		}
	})
}
