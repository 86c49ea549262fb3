//go:build unix

package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// migratorEnv is the environment variable that makes this binary migrate a database, as a migratorConfig in JSON says.
const migratorEnv = "WORKER_INTEGRATION_MIGRATOR"

type migratorConfig struct {
	Driver, DSN string
	Store       sqlstatus.Config
}

func runMigrator(cfg migratorConfig) error {
	db, err := sql.Open(cfg.Driver, cfg.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	return sqlstatus.Migrate(context.Background(), db, cfg.Store)
}

// Ten processes that start at once all find the tables as they must be.
func TestSQLStatusMigratesFromTenProcesses(t *testing.T) {
	onBothDatabases(t, func(t *testing.T, r *sqlRig) {
		cfg := r.cfg
		cfg.Table = "made_by_ten"
		driver := map[sqlstatus.Dialect]string{sqlstatus.Postgres: "pgx", sqlstatus.SQLite: "sqlite"}[r.dialect]
		spec, err := json.Marshal(migratorConfig{Driver: driver, DSN: r.dsn, Store: cfg})
		require.NoError(t, err)
		var migrators []*exec.Cmd
		for range 10 {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), migratorEnv+"="+string(spec))
			cmd.Stderr = os.Stderr
			require.NoError(t, cmd.Start())
			migrators = append(migrators, cmd)
		}
		for _, cmd := range migrators {
			require.NoError(t, cmd.Wait())
		}
		store, err := sqlstatus.New(r.db, cfg)
		require.NoError(t, err)
		_, err = store.Save(context.Background(), waitingFor(t, newSQLJob(t, "a")))
		require.NoError(t, err)
		row, err := store.Get(context.Background(), "a")
		require.NoError(t, err)
		require.Equal(t, worker.StateQueued, row.State)
	})
}
