package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// thisMachine describes the machine as far as /proc does.
func thisMachine() results.Machine {
	return results.Machine{
		CPU: procField("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), RAMBytes: ram(), Kernel: kernel(),
		Go: strings.TrimPrefix(runtime.Version(), "go"), Date: time.Now().UTC().Truncate(time.Second),
	}
}

// procField returns the first value of a name in a file of "name : value" lines.
func procField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func ram() int64 {
	var kib int64
	_, _ = fmt.Sscanf(procField("/proc/meminfo", "MemTotal"), "%d kB", &kib)
	return kib * 1024
}

func kernel() string {
	out, err := exec.Command("uname", "-sr").Output()
	if err != nil {
		return runtime.GOOS
	}
	return strings.TrimSpace(string(out))
}

// describe adds the versions of the servers that run.
func (s *servers) describe(ctx context.Context, m *results.Machine) error {
	if s.plain != nil {
		redis, err := newRueidis(s.plain.Addr())
		if err != nil {
			return err
		}
		defer redis.Close()
		text, err := redis.Do(ctx, redis.B().Info().Section("server").Build()).ToString()
		if err != nil {
			return fmt.Errorf("ask redis for its version: %w", err)
		}
		_, rest, _ := strings.Cut(text, "redis_version:")
		m.Redis, _, _ = strings.Cut(rest, "\r\n")
	}
	if s.postgres != nil {
		conn, err := pgx.Connect(ctx, s.postgres.URL())
		if err != nil {
			return fmt.Errorf("ask postgres for its version: %w", err)
		}
		defer conn.Close(ctx)
		m.Postgres, _, _ = strings.Cut(conn.PgConn().ParameterStatus("server_version"), " ")
	}
	return nil
}
