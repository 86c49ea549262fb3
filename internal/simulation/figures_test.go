package simulation

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// tableEnv is the environment variable that names the file of the table of figures, as `make soak` sets it.
const tableEnv = "WORKER_SOAK_TABLE"

// tally sums up the figures of all seeds.
type tally struct {
	mu    sync.Mutex
	seeds int
	sum   history.Figures
	heard heard
}

func (y *tally) add(f history.Figures) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.seeds++; y.seeds == 1 {
		y.sum = f
		return
	}
	y.sum = y.sum.Plus(f)
}

// report adds a row to the table, if there is one, and says so there when the test has failed.
func (y *tally) report(t *testing.T) {
	path := os.Getenv(tableEnv)
	if path == "" {
		return
	}
	faults := fmt.Sprintf("%d seeds of all faults at once, in fake time", y.seeds)
	if t.Failed() {
		faults = "FAILED"
	}
	if err := history.AppendRow(path, t.Name(), faults, y.sum); err != nil {
		t.Error(err)
	}
}
