// Package redisqueue is a worker.Queue on Redis Lists, for Redis 6.2 and newer, Valkey, Sentinel and Cluster.
//
// Jobs wait as ids in a list, their bodies in a hash. A worker holds what it claimed in a hash of its own, under a lease
// that it renews; when a worker dies, others give its jobs back to the head of the queue. Every step is one Lua script,
// and docs/protocol.md describes the keys.
package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/redisconf"
	"github.com/real-staging-ai/go-worker/internal/safelog"
)

// Config says how a Queue behaves. The zero value of every field works.
type Config struct {
	// Namespace begins all keys, so that several applications can share a server. It has the alphabet of queue names
	// without the colon, which ends it in a key: A-Z a-z 0-9 _ . -, at most 64 of them. Empty means "worker".
	Namespace string
	// Lease is how long a worker may be out of touch before others start to doubt it; it is renewed five times as
	// often. Zero means 10 seconds, the least is 1 second. All workers of a queue should have the same.
	Lease time.Duration
	// Grace is for how long a lease must be seen expired, without a pause, before the worker's jobs are taken over.
	// Zero means half a lease. All workers of a queue should have the same.
	Grace time.Duration
	// DeadMaxAge is how long failed and canceled jobs are kept. Zero means 30 days.
	DeadMaxAge time.Duration
	// DeadMaxCount is how many of them a queue keeps at most. Zero means 10,000.
	DeadMaxCount int
	// Timeout bounds every call to Redis. Zero means 3 seconds.
	Timeout time.Duration
	// WaitReplicas is how many replicas must have what Enqueue, Reopen, Pause and Resume wrote before they report success.
	// When fewer confirm it in time the error is a *NotReplicatedError: it is with the master, and whether a failover would
	// keep it is unknown; calling again is safe, and waits again (Reopen then says worker.ErrJobActive once
	// they did). Each call takes a connection of its own
	// from the client's pool. Zero means that the master's word is enough: a failover then loses what it had not yet
	// replicated. A server with fewer replicas confirms nothing.
	WaitReplicas int
	// WaitTimeout is how long replicas may take to confirm a call; it comes on top of Timeout. Zero means 1 second.
	WaitTimeout time.Duration
	// OnDataLoss is told when a worker notices at a heartbeat that Redis no longer has what it had acknowledged; the log
	// is, too, at level Error. It is called once for each loss: what the sessions of this Queue notice within lease,
	// grace and two heartbeats of the first sign counts as the same one. It has a goroutine of its own, which nobody
	// waits for; a panic is logged. Jobs go on by themselves as far as Redis or a status store still knows them. Nil
	// means that only the log is told.
	OnDataLoss func(DataLoss)
	// Logger takes what operators need to know. Nil means slog.Default(). A handler that panics loses a line.
	Logger *slog.Logger
}

const (
	defaultLease        = 10 * time.Second
	minLease            = time.Second
	defaultDeadMaxAge   = 30 * 24 * time.Hour
	defaultDeadMaxCount = 10_000
	defaultTimeout      = 3 * time.Second
	defaultWaitTimeout  = time.Second
	defaultMaxCrashes   = 3
	beatsPerLease       = 5
)

func (c Config) withDefaults() Config {
	if c.Namespace == "" {
		c.Namespace = redisconf.DefaultNamespace
	}
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	if c.Grace == 0 {
		c.Grace = c.Lease / 2
	}
	if c.DeadMaxAge == 0 {
		c.DeadMaxAge = defaultDeadMaxAge
	}
	if c.DeadMaxCount == 0 {
		c.DeadMaxCount = defaultDeadMaxCount
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.WaitTimeout == 0 {
		c.WaitTimeout = defaultWaitTimeout
	}
	c.Logger = safelog.New(c.Logger)
	return c
}

// check reports all that is wrong with a config that has its defaults.
func (c Config) check() error {
	errs := []error{redisconf.CheckNamespace(c.Namespace)}
	if c.Lease < minLease {
		errs = append(errs, fmt.Errorf("Lease is %v: the least is %v", c.Lease, minLease))
	}
	if c.DeadMaxCount < 0 {
		errs = append(errs, fmt.Errorf("DeadMaxCount is %d: it must not be negative", c.DeadMaxCount))
	}
	if c.WaitReplicas < 0 {
		errs = append(errs, fmt.Errorf("WaitReplicas is %d: it must not be negative", c.WaitReplicas))
	}
	for _, f := range [...]struct {
		name string
		d    time.Duration
	}{
		{"Grace", c.Grace}, {"DeadMaxAge", c.DeadMaxAge}, {"Timeout", c.Timeout}, {"WaitTimeout", c.WaitTimeout},
	} {
		if f.d < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s is %v: the least is 1ms", f.name, f.d))
		}
	}
	return errors.Join(errs...)
}

// Queue is a worker.Queue on Redis. It serves any number of queues, producers and consumers, and needs no closing.
type Queue struct {
	client        rueidis.Client
	config        Config
	policyChecked atomic.Bool
	losses        losses
	outboxes      sync.Map     // *outbox by queue
	opened        atomic.Int32 // outboxes since idle ones were dropped
	served        served       // queues on which sessions are open
}

var (
	_ worker.Queue          = (*Queue)(nil)
	_ worker.Canceler       = (*Queue)(nil)
	_ worker.Requeuer       = (*Queue)(nil)
	_ worker.Knower         = (*Queue)(nil)
	_ worker.Pauser         = (*Queue)(nil)
	_ worker.Uniquer        = (*Queue)(nil)
	_ worker.UniqueReleaser = (*Queue)(nil)
	_ worker.Pinger         = (*Queue)(nil)
)

// New returns a Queue that uses client, which stays the caller's: it is never closed here. An error lists all that is
// wrong. Nothing is sent yet.
func New(client rueidis.Client, cfg Config) (*Queue, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(redisconf.CheckClient(client), cfg.check()); err != nil {
		return nil, fmt.Errorf("new Redis queue: %w", err)
	}
	return &Queue{client: client, config: cfg}, nil
}

// Ping asks whether the server answers, for as long as Config.Timeout. Of a cluster those nodes are asked that have the
// queues on which sessions are open, or that has the default queue, if none is.
func (q *Queue) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	var commands []rueidis.Completed
	for _, queue := range q.served.names() {
		key := keysOf(q.config.Namespace, queue).name(keyWorkers)
		commands = append(commands, q.client.B().Exists().Key(key).Build())
	}
	for _, reply := range q.client.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			return explain("ping", "redis", err)
		}
	}
	return nil
}

// served counts the sessions that are open on each queue: those that were lost, too, until they are closed.
type served struct {
	mu       sync.Mutex
	sessions map[string]int // by queue
}

// add counts sessions that were opened, or closed where n is less than zero.
func (s *served) add(queue string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = make(map[string]int)
	}
	if s.sessions[queue] += n; s.sessions[queue] <= 0 {
		delete(s.sessions, queue)
	}
}

// names returns the queues, the default one if there is none.
func (s *served) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) == 0 {
		return []string{worker.DefaultQueue}
	}
	return slices.Collect(maps.Keys(s.sessions))
}

// call runs a script under the Queue's timeout. It ends early with ctx, which says nothing about whether the script ran.
func (q *Queue) call(ctx context.Context, s *script, keys, args []string) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	return s.Run(ctx, q.client, keys, args)
}

// Consume opens a worker's session on a queue, under a random name.
func (q *Queue) Consume(ctx context.Context, queue string, opts worker.ConsumeOptions) (worker.Consumer, error) {
	if err := worker.CheckQueueName(queue); err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	if opts.MaxCrashes < 0 {
		return nil, fmt.Errorf("consume from %s: MaxCrashes is %d: it must not be negative", queue, opts.MaxCrashes)
	}
	if opts.MaxCrashes == 0 {
		opts.MaxCrashes = defaultMaxCrashes
	}
	c := newConsumer(q, queue, opts)
	if err := c.register(ctx); err != nil {
		c.cancel()
		return nil, explain("consume from", queue, err)
	}
	q.served.add(queue, 1)
	q.checkPolicy(ctx)
	q.enlist(ctx, queue)
	go c.beats()
	return c, nil
}

// checkPolicy warns, once, when the server may evict jobs. Servers that don't tell are left in peace.
func (q *Queue) checkPolicy(ctx context.Context) {
	if !q.policyChecked.CompareAndSwap(false, true) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	const name = "maxmemory-policy"
	settings, err := q.client.Do(ctx, q.client.B().ConfigGet().Parameter(name).Build()).AsStrMap()
	if err != nil && !serverError(err) {
		q.policyChecked.Store(false) // the next session asks
	}
	if policy := settings[name]; err == nil && policy != "" && policy != "noeviction" {
		q.config.Logger.Warn("redis may evict jobs: set maxmemory-policy to noeviction", "policy", policy)
	}
}
