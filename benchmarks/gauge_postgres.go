package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresGauge reads a Postgres server's own accounts and, from /proc, the CPU time of its processes.
type postgresGauge struct {
	conn       *pgx.Conn
	postmaster int // 0: unknown, as there is no /proc
}

// postgresReading is what a server had done at one moment.
type postgresReading struct {
	cpu          time.Duration // of all its processes
	transactions float64       // ended, of all clients; the server's sessions report theirs up to a second late
	size         float64       // bytes of the schema's tables and indexes
}

func newPostgresGauge(ctx context.Context, url string) (*postgresGauge, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to read postgres's accounts: %w", err)
	}
	g := &postgresGauge{conn: conn}
	var backend int
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return nil, fmt.Errorf("ask for postgres's process: %w", err)
	}
	if stat, err := readProcess(backend); err == nil {
		g.postmaster = stat.parent
	}
	return g, nil
}

func (g *postgresGauge) read(ctx context.Context) (r postgresReading, err error) {
	const accounts = `SELECT
		(SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()),
		(SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
			WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace)`
	var transactions, size int64
	if err := g.conn.QueryRow(ctx, accounts).Scan(&transactions, &size); err != nil {
		return r, fmt.Errorf("read postgres's accounts: %w", err)
	}
	r.transactions, r.size = float64(transactions), float64(size)
	if g.postmaster != 0 {
		r.cpu, err = familyCPU(g.postmaster)
	}
	return r, err
}

// settle brings the server to rest after jobs were enqueued: statistics as autovacuum would have made them, and no
// checkpoint due.
func (g *postgresGauge) settle(ctx context.Context) error {
	for _, command := range []string{"ANALYZE", "CHECKPOINT"} {
		if _, err := g.conn.Exec(ctx, command); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return nil
}

// processStat is what /proc/<pid>/stat says.
type processStat struct {
	parent    int
	own, past time.Duration // its CPU time, and that of its children that have ended
}

// clockTick is the unit of /proc's times, on every platform that Go's Linux runs on.
const clockTick = 10 * time.Millisecond

func readProcess(pid int) (s processStat, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return s, err
	}
	// pid (name) state ppid …, where the name may hold anything; utime is the 14th field, and state the 3rd
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 15 {
		return s, fmt.Errorf("read the CPU time of process %d: %d fields", pid, len(fields))
	}
	ticks := func(i int) time.Duration {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return time.Duration(n) * clockTick
	}
	s.parent, _ = strconv.Atoi(fields[1])
	s.own, s.past = ticks(11)+ticks(12), ticks(13)+ticks(14)
	return s, nil
}

// familyCPU returns the CPU time of a process and its children, the ended ones included.
func familyCPU(pid int) (time.Duration, error) {
	head, err := readProcess(pid)
	if err != nil {
		return 0, fmt.Errorf("read postgres's CPU time: %w", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("read postgres's CPU time: %w", err)
	}
	sum := head.own + head.past
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readProcess(child); err == nil && s.parent == pid {
			sum += s.own + s.past
		}
	}
	return sum, nil
}
