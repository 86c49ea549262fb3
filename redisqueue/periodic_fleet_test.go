package redisqueue_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/workertest"
)

// fleetTicks is how many ticks the fleet has to get through: `make ticks` says 10,000, which takes a minute and a half.
var fleetTicks = flag.Int("ticks", 1000, "ticks of TestEachTickIsEnqueuedOnceWhoeverIsKilled")

// every100ms is a schedule that Every is too slow for.
type every100ms struct{}

func (every100ms) Next(t time.Time) time.Time {
	const step = 100 * time.Millisecond
	return t.Truncate(step).Add(step)
}

// fleet is a number of replicas of one schedule which are killed again and again, and the pool that runs the jobs.
type fleet struct {
	t     *testing.T
	queue *redisqueue.Queue
	store worker.StatusStore // nil for none
	idle  *workertest.MemoryQueue

	begun  time.Time
	older  worker.Periodic
	deploy time.Duration // since the beginning: who is born later has newer, and the others are replaced. Zero: never
	newer  worker.Periodic
	gently bool // not all replicas are killed at once while it is deployed

	mu    sync.Mutex
	runs  map[string]int        // by job id
	alive map[*replica]struct{} // what a power cut kills
	dark  time.Time             // until then nobody is born
	kills [kinds]atomic.Int32
}

// What may happen to a call of a replica.
const (
	killedBefore = iota
	killedAfter  // the server did it, and nobody heard of it
	replyLost    // the same, but the replica goes on
	delayed      // the replica hears that it took too long; the server does it later
	kinds
)

var errKilled = errors.New("killed")

// replica is a pool whose calls for ticks fail in all ways.
type replica struct {
	worker.Queue // what the pool serves: nothing
	fleet        *fleet
	dead         chan struct{}
	kill         func()
	late         sync.WaitGroup
}

// faulty is one call: it may be the replica's last.
func faulty[V any](ctx context.Context, r *replica, do func(ctx context.Context) (V, error)) (V, error) {
	var none V
	select {
	case <-r.dead:
		return none, errKilled
	default:
	}
	time.Sleep(rand.N(20 * time.Millisecond)) // while others do the same
	kind := rand.IntN(1000)
	if kind < kinds*3 {
		kind %= kinds
		r.fleet.kills[kind].Add(1)
	}
	switch kind {
	case killedBefore:
		r.kill()
		return none, errKilled
	case killedAfter:
		_, _ = do(ctx)
		r.kill()
		return none, errKilled
	case replyLost:
		_, _ = do(ctx)
		return none, errors.New("connection reset")
	case delayed:
		r.late.Go(func() {
			time.Sleep(rand.N(3 * time.Second))
			_, _ = do(context.WithoutCancel(ctx))
		})
		return none, context.DeadlineExceeded
	}
	return do(ctx)
}

type lastTick struct{ last, now time.Time }

func (r *replica) LastTick(ctx context.Context, queue, name string, begin time.Time) (last, now time.Time, err error) {
	got, err := faulty(ctx, r, func(ctx context.Context) (l lastTick, err error) {
		l.last, l.now, err = r.fleet.queue.LastTick(ctx, queue, name, begin)
		return l, err
	})
	return got.last, got.now, err
}

func (r *replica) EnqueueTick(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
	body, err := worker.EncodeJob(job)
	require.NoError(r.fleet.t, err)
	job, err = worker.DecodeJob(body) // a call that comes late has nothing of the caller's
	require.NoError(r.fleet.t, err)
	return faulty(ctx, r, func(ctx context.Context) (bool, error) {
		return r.fleet.queue.EnqueueTick(ctx, name, tick, job)
	})
}

func (r *replica) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	return faulty(ctx, r, func(ctx context.Context) ([]worker.Place, error) {
		return r.fleet.queue.Know(ctx, queue, ids...)
	})
}

// Save implements worker.StatusStore.
func (r *replica) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	return faulty(ctx, r, func(ctx context.Context) ([]worker.Saved, error) {
		return r.fleet.store.Save(ctx, statuses...)
	})
}

// deploying is how long a deployment takes.
const deploying = 10 * time.Second

// periodic returns what a replica that is born now runs, and when it is replaced.
func (f *fleet) periodic() (worker.Periodic, <-chan time.Time) {
	left := f.deploy - time.Since(f.begun)
	switch {
	case f.deploy == 0:
		return f.older, nil
	case left <= 0:
		return f.newer, nil
	}
	return f.older, time.After(left + rand.N(deploying))
}

// live runs one replica until it is killed or replaced, or the fleet ends.
func (f *fleet) live(end <-chan struct{}) {
	r := &replica{Queue: f.idle, fleet: f, dead: make(chan struct{})}
	r.kill = sync.OnceFunc(func() { close(r.dead) })
	f.born(r)
	defer f.buried(r)
	periodic, replaced := f.periodic()
	cfg := worker.Config{
		Backend:  worker.Backend{Queue: r, Logger: slog.New(slog.DiscardHandler)},
		Registry: worker.NewRegistry(), Queues: map[string]worker.QueueConfig{"idle": {}}, SweepInterval: -1,
		Periodic: []worker.Periodic{periodic},
	}
	if f.store != nil {
		cfg.StatusStore = r
	}
	pool, err := worker.NewPool(cfg)
	require.NoError(f.t, err)
	require.NoError(f.t, pool.Start(context.Background()))
	select {
	case <-r.dead:
	case <-replaced:
	case <-end:
	}
	require.NoError(f.t, pool.Stop(context.Background()))
	r.late.Wait()
}

// born waits until there is power.
func (f *fleet) born(r *replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for dark := time.Until(f.dark); dark > 0; dark = time.Until(f.dark) {
		f.mu.Unlock()
		time.Sleep(dark)
		f.mu.Lock()
	}
	f.alive[r] = struct{}{}
}

func (f *fleet) buried(r *replica) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.alive, r)
}

// cuts kills all replicas at once, every ten seconds or so, and for some seconds there is none.
func (f *fleet) cuts(end <-chan struct{}) {
	for {
		select {
		case <-end:
			return
		case <-time.After(5*time.Second + rand.N(10*time.Second)):
		}
		if since := time.Since(f.begun) - f.deploy; f.gently && since > -deploying && since < deploying {
			continue
		}
		f.mu.Lock()
		f.dark = time.Now().Add(rand.N(4 * time.Second))
		for r := range f.alive {
			r.kill()
		}
		f.mu.Unlock()
	}
}

// serve runs the jobs; it is never killed.
func (f *fleet) serve() (stop func()) {
	reg := worker.NewRegistry()
	worker.Handle(reg, func(_ context.Context, job *worker.Job, _ note) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.runs[job.ID]++
		return nil
	})
	pool, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: f.queue, StatusStore: f.store, Logger: slog.New(slog.DiscardHandler)},
		Registry: reg, Concurrency: 10, Queues: map[string]worker.QueueConfig{"default": {}, "moved": {}},
	})
	require.NoError(f.t, err)
	require.NoError(f.t, pool.Start(context.Background()))
	return func() { require.NoError(f.t, pool.Stop(context.Background())) }
}

// Twenty replicas of one schedule: killed one by one and all at once, before and after each of their calls, between a saved status and
// its enqueue among others, cut off from the replies, and with calls that arrive long after. Each tick runs once.
func TestEachTickIsEnqueuedOnceWhoeverIsKilled(t *testing.T) {
	for name, store := range map[string]worker.StatusStore{"with statuses": workertest.NewStatusStore(), "without": nil} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *server) {
				f := newFleet(t, s, store, worker.MissedAll)
				f.sail(*fleetTicks)
				f.each(every100ms{}, 0, time.Duration(*fleetTicks)*100*time.Millisecond)
			})
		})
	}
}

func newFleet(t *testing.T, s *server, store worker.StatusStore, missed worker.MissedPolicy) *fleet {
	return &fleet{t: t, queue: s.queue(redisqueue.Config{}), store: store, idle: workertest.NewQueue(),
		older: worker.Periodic{Name: "tick", Schedule: every100ms{}, Payload: note{}, Missed: missed},
		runs:  make(map[string]int), alive: make(map[*replica]struct{})}
}

// sail lets the fleet live for so many ticks and somewhat longer, and checks what no fleet may do: run a tick twice, or leave
// a row open.
func (f *fleet) sail(ticks int) {
	defer f.serve()()
	f.begun = time.Now()
	end := make(chan struct{})
	var all sync.WaitGroup
	for range 20 { // replicas
		all.Go(func() {
			for {
				f.live(end)
				select {
				case <-end:
					return
				case <-time.After(rand.N(2 * time.Second)):
				}
			}
		})
	}
	all.Go(func() { f.cuts(end) })
	time.Sleep(time.Duration(ticks)*100*time.Millisecond + 50*time.Millisecond)
	time.Sleep(30 * time.Second) // of more ticks, so that a replica makes up for what was missed
	close(end)
	all.Wait()
	time.Sleep(5 * time.Minute) // a sweep enqueues what has a row and was not enqueued
	if rows, ok := f.store.(worker.Unfinished); ok {
		left, _, err := rows.Unfinished(context.Background(), 0, "", 10)
		require.NoError(f.t, err)
		require.Empty(f.t, left)
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	for id, n := range f.runs {
		require.Equal(f.t, 1, n, id)
	}
	for kind, what := range [kinds]string{"killed before a call", "killed after one", "replies lost", "calls that came late"} {
		n := f.kills[kind].Load()
		f.t.Logf("%s: %d", what, n)
		require.Positive(f.t, n)
	}
}

// each checks that all ticks of a schedule after one time and until another, since the beginning, have run.
func (f *fleet) each(s worker.Schedule, after, until time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for tick := s.Next(f.begun.Add(after)); !tick.After(f.begun.Add(until)); tick = s.Next(tick) {
		id := "tick@" + tick.UTC().Format("2006-01-02T15:04:05.999Z07:00")
		require.Equal(f.t, 1, f.runs[id], id)
	}
}
