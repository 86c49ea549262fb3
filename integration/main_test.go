package integration

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker/internal/pgtest"
)

// TestMain runs the tests, or, in the processes that the tests start, a worker, a producer or an audience.
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
	goleak.VerifyTestMain(withServers{m})
}

// withServers are the tests and the end of the servers that they share.
type withServers struct{ *testing.M }

// Run implements goleak.TestingM.
func (w withServers) Run() int {
	defer pgtest.StopShared()
	return w.M.Run()
}
