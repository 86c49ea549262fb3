package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

var errDead = errors.New("simulation: this process is dead")

// process is one process of the simulated system, with a wire of its own: a worker with a pool, or a producer.
type process struct {
	world  *world
	slot   string // what its successors are called, too
	name   string
	wire   *wire
	scribe *history.Scribe
	gate   gate // shut while it stands still
	exempt bool // takes its steps without waiting for a turn
	dead   chan struct{}
	end    sync.Once

	claimed atomic.Int64 // jobs that it was handed out, where turns are given

	mu       sync.Mutex
	redis    rueidis.Client
	pool     *worker.Pool   // of a worker, once it has started
	producer *worker.Client // of a producer
}

func newProcess(w *world, slot string, generation int) *process {
	p := &process{world: w, slot: slot, name: fmt.Sprintf("%s.%d", slot, generation), dead: make(chan struct{})}
	p.wire = newWire(w.redis, p.at)
	p.scribe = history.NewScribe(p.name, &w.events, time.Now)
	p.wire.note = history.NewScribe(p.name, &w.events, time.Now).Write // Redis goes on when the process has died
	return p
}

// at says that the process is about to take a step, or has taken it: a fault may strike.
func (p *process) at(step string, when moment) {
	if !p.isDead() {
		p.world.reached(p, step, when)
	}
}

// pass returns when the process may go on: never again with true once it was killed.
func (p *process) pass() (alive bool) {
	p.gate.pass(p.dead)
	return !p.isDead()
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// sleep is how a handler passes its time.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-p.dead:
	}
	if !p.pass() {
		return errDead
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// kill ends the process at once. What of it still moves is unwound.
func (p *process) kill() {
	p.end.Do(func() {
		p.scribe.End()
		close(p.dead)
		p.wire.sever()
		p.gate.open()
		p.world.remains.Go(p.unwind)
	})
}

func (p *process) unwind() {
	p.mu.Lock()
	pool, client := p.pool, p.redis
	p.mu.Unlock()
	if pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = pool.Stop(ctx)
	}
	if client != nil {
		client.Close()
	}
}

// stop ends the process as a deploy would.
func (p *process) stop() error {
	p.mu.Lock()
	pool := p.pool
	p.mu.Unlock()
	p.scribe.Write(history.Event{Op: history.OpStop})
	var err error
	if pool != nil {
		err = pool.Stop(context.Background())
	}
	p.kill()
	return err
}

// halt makes the process stand still, resume lets it go on.
func (p *process) halt() {
	p.gate.close()
	p.wire.requests.close()
	p.wire.replies.close()
}

func (p *process) resume() {
	p.gate.open()
	p.wire.requests.open()
	p.wire.replies.open()
}

// backend connects, and returns nil when the process has died meanwhile.
func (p *process) backend() *worker.Backend {
	for !p.isDead() {
		client, err := p.wire.connect()
		if err != nil {
			time.Sleep(500 * time.Millisecond)
			continue
		}
		p.mu.Lock()
		p.redis = client
		p.mu.Unlock()
		if p.isDead() {
			client.Close()
			return nil
		}
		log := slog.New(slog.NewTextHandler(p.world.log(p), &slog.HandlerOptions{Level: slog.LevelInfo}))
		queue, err := redisqueue.New(client, redisqueue.Config{
			Lease: p.world.plan.lease, Logger: log,
			OnDataLoss: func(l redisqueue.DataLoss) { p.world.alarmed(p, l) },
		})
		if err != nil {
			panic(err)
		}
		return &worker.Backend{
			Queue: p.swept(p.queue(queue)), StatusStore: &store{process: p, rows: p.world.rows}, Notifier: &notifier{process: p}, Logger: log,
		}
	}
	return nil
}

// queue returns the queue as the process uses it.
func (p *process) queue(q *redisqueue.Queue) worker.Queue {
	if p.world.turns == nil {
		return q
	}
	return &turnQueue{Queue: q, process: p}
}

// work starts the process's pool, however long it takes.
func (p *process) work(concurrency int) {
	backend := p.backend()
	if backend == nil {
		return
	}
	registry := worker.NewRegistry()
	worker.Handle(registry, p.handle)
	pool, err := worker.NewPool(worker.Config{
		Backend: *backend, Registry: registry, Concurrency: concurrency, MaxCrashes: p.world.plan.maxCrashes,
		SweepInterval: p.world.plan.sweep, DrainTimeout: 5 * time.Second, CancelGrace: 2 * time.Second,
		Periodic: p.periodic(),
	})
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	p.pool = pool
	p.mu.Unlock()
	for !p.isDead() {
		if err := pool.Start(context.Background()); err == nil || errors.Is(err, worker.ErrPoolStopped) {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if p.isDead() { // it was killed before it had a pool
		p.unwind()
	}
}

// produce makes the process's client.
func (p *process) produce() {
	backend := p.backend()
	if backend == nil {
		return
	}
	client, err := worker.NewClient(*backend)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.producer = client
}

func (p *process) client() *worker.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.producer
}

// discard is where the logs of processes go unless -logs is given.
var discard io.Writer = io.Discard
