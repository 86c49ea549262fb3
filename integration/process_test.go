package integration

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// workerEnv is the environment variable that makes this binary a worker: a workerConfig as JSON.
const workerEnv = "WORKER_INTEGRATION_PROCESS"

// workerConfig is what a worker process is told.
type workerConfig struct {
	Name        string
	Redis       endpoint
	History     string // directory
	Queues      []string
	Concurrency int
	MaxCrashes  int
	Lease       time.Duration
	Drain       time.Duration
	Grace       time.Duration
	Stored      bool   // statuses go to the ledger store; otherwise final states are announced into the history
	Database    string // or to sqlstatus, in the Postgres at this URL
	Sweep       time.Duration

	Predict string // where the prediction API is that stage:run jobs use; they are run only if there is one

	WaitReplicas int // that must have what is enqueued; the rig's producer is told, too
}

// queue is the configuration of the queue, of workers and producers alike.
func (cfg workerConfig) queue(log *slog.Logger) redisqueue.Config {
	return redisqueue.Config{
		Lease: cfg.Lease, Logger: log, WaitReplicas: cfg.WaitReplicas, WaitTimeout: 200 * time.Millisecond,
	}
}

// endpoint is how to reach Redis.
type endpoint struct {
	Addrs     []string
	Cluster   bool
	MasterSet string // Addrs are sentinels'
}

func (e endpoint) connect() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: e.Addrs, DisableCache: true, ForceSingleClient: !e.Cluster && e.MasterSet == "",
		Sentinel:           rueidis.SentinelOption{MasterSet: e.MasterSet},
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10, RingScaleEachConn: 8,
	})
}

// processMain runs what a process is for, as its configuration says.
func processMain[C any](what, spec string, run func(C) error) int {
	var cfg C
	err := json.Unmarshal([]byte(spec), &cfg)
	if err == nil {
		err = run(cfg)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s process: %v\n", what, err)
		return 1
	}
	return 0
}

// runWorker is the life of a worker process. It ends when the pool does: after SIGTERM, or when the test that owns it is
// gone and its standard input with it.
func runWorker(cfg workerConfig) error {
	scribe, err := newScribe(cfg.History, cfg.Name)
	if err != nil {
		return err
	}
	client, err := cfg.Redis.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	pool, err := newPool(cfg, client, &deeds{scribe: scribe, gate: watchGate()})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return pool.Run(ctx)
}

// watchGate returns a channel that is closed when a line comes on standard input.
func watchGate() <-chan struct{} {
	gate := make(chan struct{})
	go func() {
		in := bufio.NewScanner(os.Stdin)
		if in.Scan() {
			close(gate)
		}
		for in.Scan() { // until the owner is gone
		}
		os.Exit(3)
	}()
	return gate
}

func newPool(cfg workerConfig, client rueidis.Client, d *deeds) (*worker.Pool, error) {
	queue, err := redisqueue.New(client, cfg.queue(slog.Default()))
	if err != nil {
		return nil, err
	}
	registry := worker.NewRegistry()
	worker.Handle(registry, d.do)
	if cfg.Predict != "" {
		if err := registerStage(registry, cfg.Predict); err != nil {
			return nil, err
		}
	}
	backend := worker.Backend{Queue: queue}
	if d.scribe != nil {
		registry.Use(d.scribe.Handler)
		backend.Queue = &settleQueue{Queue: queue, scribe: d.scribe}
	}
	switch {
	case cfg.Database != "":
		if backend.StatusStore, err = openStore(cfg.Database); err != nil {
			return nil, err
		}
	case cfg.Stored:
		backend.StatusStore = newLedgerStore(client)
	default:
		backend.Notifier = worker.NotifierFunc(d.hear)
	}
	queues := make(map[string]worker.QueueConfig)
	for _, name := range cfg.Queues {
		queues[name] = worker.QueueConfig{}
	}
	return worker.NewPool(worker.Config{
		Backend: backend, Registry: registry, Queues: queues, Concurrency: cfg.Concurrency, MaxCrashes: cfg.MaxCrashes,
		DrainTimeout: cfg.Drain, CancelGrace: cfg.Grace, SweepInterval: cfg.Sweep,
	})
}

// openStore opens the store of a process that lives as long as its database is used.
func openStore(url string) (*sqlstatus.Store, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	return sqlstatus.New(db, sqlstatus.Config{Dialect: sqlstatus.Postgres})
}
