package integration

import (
	"fmt"
	"os"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// soakEnv is the environment variable that makes tests run at their full size, as `make soak` does.
const soakEnv = "WORKER_SOAK"

// tableEnv is the environment variable that names the file of the table of figures. Without it they are logged.
const tableEnv = "WORKER_SOAK_TABLE"

// size chooses between the quick size of a fault test, which CI has time for, and the full one.
func size[V any](quick, full V) V {
	if os.Getenv(soakEnv) == "1" {
		return full
	}
	return quick
}

// report tells the figures of a run that verify has judged, as a row of the table of docs/reliability.md: faults says
// what was done to it.
func (r *rig) report(faults string) {
	r.t.Helper()
	require.NotNil(r.t, r.checker.verdict, "verify first")
	figures := r.checker.verdict.Figures
	r.reported = true
	if path := os.Getenv(tableEnv); path != "" {
		require.NoError(r.t, history.AppendRow(path, r.t.Name(), faults, figures))
	}
	var text []string
	for i, cell := range figures.Cells() {
		text = append(text, fmt.Sprintf("%s: %s", history.Columns()[i], cell))
	}
	r.t.Logf("%s: %s", faults, strings.Join(text, ", "))
}

// reportAnyway puts a run into the table whose test failed first, or forgot to report it, so that nobody takes the table
// for complete.
func (r *rig) reportAnyway() {
	path := os.Getenv(tableEnv)
	if path == "" || r.reported || r.checker.verdict == nil && !r.t.Failed() {
		return
	}
	why, figures := "NOT REPORTED", history.Figures{}
	if r.t.Failed() {
		why = "FAILED"
	}
	if r.checker.verdict != nil {
		figures = r.checker.verdict.Figures
	}
	if err := history.AppendRow(path, r.t.Name(), why, figures); err != nil {
		r.t.Error(err)
	}
}
