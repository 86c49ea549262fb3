package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// serversFor starts what a kind needs, or skips the test.
func serversFor(t *testing.T, k kind) endpoints {
	t.Helper()
	var at endpoints
	if k.on&onRedis != 0 {
		at.Redis = redistest.Server(t).Addr()
	}
	if k.on&onPostgres != 0 {
		at.Postgres = pgtest.Shared(t).URL()
	}
	at, err := clean(t.Context(), at)
	require.NoError(t, err)
	return at
}

// apart lets a test run beside others when it has its servers for itself: Postgres they share.
func apart(t *testing.T, k kind) {
	if k.on == onRedis {
		t.Parallel()
	}
}

// few is how many jobs the tests measure with.
const few = 200

func measureFew(t *testing.T, scenario, system string, at endpoints) results.Measurement {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // only for what hangs
	defer cancel()
	m, err := measure(ctx, spec{Scenario: scenario, System: system, Jobs: few, At: at})
	require.NoError(t, err)
	return m
}

// TestSystemsDrain takes jobs through each system: measure fails unless each is handled exactly once.
func TestSystemsDrain(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			apart(t, k)
			m := measureFew(t, "drain-10", k.name, serversFor(t, k))
			require.Equal(t, few, m.Jobs)
			for _, metric := range []string{results.JobsPerSecond, results.CPUMicros, results.Allocs} {
				require.Positive(t, m.Metrics[metric], metric)
			}
			if k.on&onRedis != 0 {
				require.Positive(t, m.Metrics[results.Commands])
			}
		})
	}
}

func TestSystemsEnqueue(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			apart(t, k)
			m := measureFew(t, "enqueue-bulk", k.name, serversFor(t, k))
			require.Equal(t, few, m.Jobs)
			if k.on&onRedis != 0 {
				require.Greater(t, m.Metrics[results.RedisBytes], 200.0, "the payload alone is more")
			}
			if k.on&onPostgres != 0 {
				require.Greater(t, m.Metrics[results.PostgresBytes], 200.0, "the payload alone is more")
			}
		})
	}
}

// TestWorkloads runs each kind of workload with this library.
func TestWorkloads(t *testing.T) {
	k, err := kindOf("go-worker")
	require.NoError(t, err)
	at := serversFor(t, k)
	for _, name := range []string{"enqueue-1", "both", "backlog-1k", "pickup", "pools-4", "storm-4", "drain-64k"} {
		t.Run(name, func(t *testing.T) {
			at, err := clean(t.Context(), at)
			require.NoError(t, err)
			m := measureFew(t, name, k.name, at)
			require.GreaterOrEqual(t, m.Jobs, few)
			require.NotEmpty(t, m.Metrics)
		})
	}
}

// TestSends compares, for each system with scripts, the commands that the gauge counts with those that MONITOR sees
// clients send. What the gauge leaves out is little: a few when workers start and stop, and a few a second.
func TestSends(t *testing.T) {
	for _, k := range kinds {
		if k.sends == nil {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			apart(t, k)
			at := serversFor(t, k)
			gauge, err := newRedisGauge(at.Redis, k.sends)
			require.NoError(t, err)
			defer gauge.client.Close()
			before, err := gauge.read(t.Context())
			require.NoError(t, err)
			seen := watchWhile(t, at.Redis, gauge.client, func() { measureFew(t, "storm-1", k.name, at) })
			after, err := gauge.read(t.Context())
			require.NoError(t, err)

			counted, others := 0, 0
			for name, n := range seen {
				if slices.Contains(k.sends, name) {
					counted += n
				} else {
					others += n
				}
			}
			require.EqualValues(t, counted, after.sent-before.sent, "scripts call some of %v", k.sends)
			require.Positive(t, counted)
			require.Less(t, others, few/5, "clients send more than %v: %v", k.sends, seen)
		})
	}
}

// watchWhile watches the commands of a server while do runs, until it has seen one that the client sends afterwards.
func watchWhile(t *testing.T, addr string, client rueidis.Client, do func()) (seen map[string]int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const last = "what comes after all"
	watching, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		seen, err = watch(ctx, addr, func(line string) {
			switch {
			case line == "":
				close(watching)
			case strings.Contains(line, last):
				cancel()
			}
		})
		ended <- err
	}()
	<-watching
	do()
	require.NoError(t, client.Do(t.Context(), client.B().Echo().Message(last).Build()).Error())
	require.NoError(t, <-ended)
	return seen
}
