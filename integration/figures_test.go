package integration

import "os"

// soakEnv is the environment variable that makes tests run at their full size, as `make soak` does.
const soakEnv = "WORKER_SOAK"

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
	jobs := len(r.checker.accepted)
	r.t.Logf("%s: %d jobs, %d extra starts", faults, jobs, r.starts()-jobs)
}
