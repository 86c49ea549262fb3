package integration

import (
	"testing"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

// The conformance suite on both databases.
func TestSQLStatusConforms(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		workertest.TestStatusStore(t, func(t *testing.T) worker.StatusStore { return onSQLite(t).Store })
	})
	for name, settings := range map[string]string{
		"postgres": "",
		// as behind a pooler that lends connections by the transaction
		"postgres without prepared statements": "&default_query_exec_mode=simple_protocol",
		"postgres, serializable":               "&default_transaction_isolation=serializable",
	} {
		t.Run(name, func(t *testing.T) {
			r := onPostgresWith(t, settings)
			workertest.TestStatusStore(t, func(*testing.T) worker.StatusStore { return r.Store })
		})
	}
}
