//go:build unix

package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
	"github.com/real-staging-ai/go-worker/internal/redistest"
)

// An API and two workers share a Redis server, a directory and a database, whoever comes first.
func TestRoles(t *testing.T) {
	for name, database := range map[string]func(*testing.T) string{
		"sqlite":   func(*testing.T) string { return "" },
		"postgres": func(t *testing.T) string { return pgtest.Server(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			env := surroundings{"REDIS_URL": "redis://" + redistest.Server(t).Addr(), "DATABASE_URL": database(t)}
			dir := t.TempDir()
			workers := []*program{launch(t, env, "-role", "worker", "-data", dir), launch(t, env, "-role", "worker", "-data", dir)}
			api := begin(t, env, "-role", "api", "-data", dir)
			for _, w := range workers {
				w.await(t, "waiting for pictures")
			}
			assert.Empty(t, api.list(t), "the api stages nothing by itself")

			var jobs []job
			for range 5 {
				jobs = append(jobs, api.order(t, form{"image": string(emptyRoom(t))}))
			}
			for _, j := range jobs {
				events := api.follow(t, j.EventsURL, "")
				require.NotEmpty(t, events)
				last := events[len(events)-1].status
				require.Equal(t, worker.StateSucceeded, last.State, last.Error)
				_, header, _ := api.get(t, resultOf(t, &last).StagedURL)
				assert.Equal(t, "image/jpeg", header.Get("Content-Type"))
			}
			require.Equal(t, 0, api.end(t))

			api = begin(t, env, "-role", "api", "-data", dir)
			after := api.list(t)
			require.Len(t, after, len(jobs))
			assert.Equal(t, jobs[4].ID, after[0].ID, "the newest comes first")
			for _, p := range append(workers, api) {
				assert.Equal(t, 0, p.end(t))
				assert.Empty(t, p.stderr.String())
			}
			assert.Contains(t, workers[0].tape.String()+workers[1].tape.String(), "succeeded  100%  /images/staged/")
		})
	}
}

// Without a directory, nothing is left in Postgres either.
func TestTemporaryInPostgres(t *testing.T) {
	url := pgtest.Server(t).URL()
	p := begin(t, surroundings{"DATABASE_URL": url})
	require.Len(t, p.list(t), 1)
	require.Equal(t, 0, p.end(t))

	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer db.Close()
	var schemas int
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT COUNT(*) FROM pg_namespace WHERE nspname LIKE 'staging%'").Scan(&schemas))
	assert.Zero(t, schemas)
}

// A directory that cannot be had is told of, with the flag's name.
func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	p := launch(t, nil, "-addr", "127.0.0.1:0", "-data", file)
	assert.Equal(t, 1, p.end(t))
	assert.Contains(t, p.stderr.String(), "-data")
}
