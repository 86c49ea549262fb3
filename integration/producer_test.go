//go:build unix

package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// producerEnv is the environment variable that makes this binary a producer: a producerConfig as JSON.
const producerEnv = "WORKER_INTEGRATION_PRODUCER"

// producerConfig is what a producer process is told. It takes orders, each in one transaction with its job, and rolls
// every fifth one back.
type producerConfig struct {
	Name     string
	Redis    endpoint
	Database string
	Orders   int
	DieAt    step // in the order of number DieIn
	DieIn    int
}

// step is a moment of an order at which its producer may die.
type step string

const (
	stepBegun     step = "begun"
	stepOrdered   step = "ordered"   // the host's row is written
	stepEnqueued  step = "enqueued"  // the job's row is written
	stepCommitted step = "committed" // or rolled back
	stepPushing   step = "pushing"   // while another goroutine waits for Redis
	stepPushed    step = "pushed"
)

var steps = []step{stepBegun, stepOrdered, stepEnqueued, stepCommitted, stepPushing, stepPushed}

// producer takes orders.
type producer struct {
	cfg    producerConfig
	db     *sql.DB
	store  *sqlstatus.Store
	client *worker.Client
}

func runProducer(cfg producerConfig) error {
	p := &producer{cfg: cfg}
	client, err := cfg.Redis.connect()
	if err != nil {
		return err
	}
	defer client.Close()
	queue, err := redisqueue.New(client, redisqueue.Config{Lease: lease})
	if err != nil {
		return err
	}
	if p.db, err = sql.Open("pgx", cfg.Database); err != nil {
		return err
	}
	defer p.db.Close()
	if p.store, err = sqlstatus.New(p.db, sqlstatus.Config{Dialect: sqlstatus.Postgres}); err != nil {
		return err
	}
	p.client, err = worker.NewClient(worker.Backend{Queue: queue, StatusStore: p.store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	for i := range cfg.Orders {
		if err := p.order(context.Background(), i); err != nil {
			return err
		}
	}
	return nil
}

// order takes one order.
func (p *producer) order(ctx context.Context, i int) error {
	id := fmt.Sprintf("%s-%05d", p.cfg.Name, i)
	job, err := worker.NewJob(nap(1, 5)(i), worker.WithID(id))
	if err != nil {
		return err
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	p.at(stepBegun, i)
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id) VALUES ($1)`, id); err != nil {
		return err
	}
	p.at(stepOrdered, i)
	if err := p.store.EnqueueTx(ctx, tx, job); err != nil {
		return err
	}
	p.at(stepEnqueued, i)
	if i%5 == 4 {
		return tx.Rollback()
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	p.at(stepCommitted, i)
	if p.cfg.DieAt == stepPushing && p.cfg.DieIn == i {
		go func() { p.at(stepPushing, i) }()
	}
	if err := p.client.Push(ctx, job); err != nil {
		return err
	}
	p.at(stepPushed, i)
	return nil
}

func (p *producer) at(s step, i int) {
	if p.cfg.DieAt == s && p.cfg.DieIn == i {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// produce starts a producer.
func (r *rig) produce(cfg producerConfig) *exec.Cmd {
	r.t.Helper()
	cfg.Redis, cfg.Database = r.fleet.base.Redis, r.fleet.base.Database
	spec, err := json.Marshal(cfg)
	require.NoError(r.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), producerEnv+"="+string(spec))
	cmd.Stderr = os.Stderr
	require.NoError(r.t, cmd.Start())
	r.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// Producers are killed at every step of a transactional enqueue, and at random moments. Whatever was committed is run,
// once, and nothing that was rolled back is.
func TestKilledProducers(t *testing.T) {
	const orders, dieIn = 20, 12
	random := size(6, 30)
	r, _ := newDatabaseRig(t, workerConfig{Concurrency: 10})
	_, err := r.db.Exec(`CREATE TABLE orders (id text PRIMARY KEY)`)
	require.NoError(t, err)
	r.fleet.start()
	for _, s := range steps {
		for _, in := range []int{dieIn, dieIn + 2} { // the second is rolled back
			name := fmt.Sprintf("%s-%d", s, in)
			err := r.produce(producerConfig{Name: name, Orders: orders, DieAt: s, DieIn: in}).Wait()
			if in%5 == 4 && (s == stepCommitted || s == stepPushing || s == stepPushed) {
				require.NoError(t, err, "this step is not taken")
				continue
			}
			require.ErrorContains(t, err, "killed", name)
		}
	}
	for i := range random {
		name := fmt.Sprint("random-", i)
		cmd := r.produce(producerConfig{Name: name, Orders: 1 << 30})
		r.await("orders", func() bool { return r.number(`SELECT count(*) FROM orders WHERE id LIKE $1`, name+"%") > 50 })
		time.Sleep(time.Duration(i%10) * 1237 * time.Microsecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}
	r.acceptOrders()
	r.awaitEnded()
	r.verify()
	require.Equal(t, len(r.checker.accepted), r.countState(worker.StateSucceeded))
	r.report(fmt.Sprintf("%d producers killed in transactions", 2*len(steps)+random))
}

// acceptOrders accepts the jobs of all committed orders. A producer that was killed may have a commit under way: the lock
// waits for it.
func (r *rig) acceptOrders() {
	r.t.Helper()
	tx, err := r.db.Begin()
	require.NoError(r.t, err)
	defer func() { _ = tx.Rollback() }() // it only read
	_, err = tx.Exec(`LOCK TABLE orders IN SHARE MODE`)
	require.NoError(r.t, err)
	rows, err := tx.Query(`SELECT id FROM orders`)
	require.NoError(r.t, err)
	defer rows.Close()
	for rows.Next() {
		var id, name string
		var i int
		require.NoError(r.t, rows.Scan(&id))
		name, i = id[:len(id)-6], 0
		_, err := fmt.Sscanf(id[len(name):], "-%d", &i)
		require.NoError(r.t, err)
		r.accept(r.job(id, nap(1, 5)(i)))
	}
	require.NoError(r.t, rows.Err())
}
