package integration

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker/internal/pgtest"
)

// TestMain runs the tests, or what the processes that the tests start are for.
func TestMain(m *testing.M) {
	if spec := os.Getenv(workerEnv); spec != "" {
		os.Exit(processMain("worker", spec, runWorker))
	}
	if spec := os.Getenv(producerEnv); spec != "" {
		os.Exit(processMain("producer", spec, runProducer))
	}
	if spec := os.Getenv(audienceEnv); spec != "" {
		os.Exit(processMain("audience", spec, runAudience))
	}
	if spec := os.Getenv(migratorEnv); spec != "" {
		os.Exit(processMain("migrator", spec, runMigrator))
	}
	goleak.VerifyTestMain(withServers{m})
}

// withServers are the tests and the end of the servers that they share.
type withServers struct{ *testing.M }

// Run implements goleak.TestingM.
func (w withServers) Run() int {
	defer pgtest.StopShared()
	return w.M.Run()
}
