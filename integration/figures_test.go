package integration

import (
	"fmt"
	"os"
	"regexp"
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

// apartEnv is the environment variable that matches the tests whose runs need no row, as they judge them themselves.
const apartEnv = "WORKER_SOAK_APART"

// reportAnyway puts a run into the table whose test failed first, or forgot to have it judged or to report it, so that
// nobody takes the table for complete.
func (r *rig) reportAnyway() {
	path := os.Getenv(tableEnv)
	if path == "" || r.reported || r.apart() && !r.t.Failed() {
		return
	}
	why, figures := "NOT REPORTED", history.Figures{}
	switch {
	case r.t.Failed():
		why = "FAILED"
	case r.checker.verdict == nil:
		why = "NOT JUDGED"
	}
	if r.checker.verdict != nil {
		figures = r.checker.verdict.Figures
	}
	if err := history.AppendRow(path, r.t.Name(), why, figures); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) apart() bool {
	tests, err := regexp.Compile(os.Getenv(apartEnv))
	require.NoError(r.t, err)
	top, _, _ := strings.Cut(r.t.Name(), "/")
	return tests.String() != "" && tests.MatchString(top)
}
