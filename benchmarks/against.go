package main

import (
	"fmt"
	"io"
	"os"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// asBefore ends, in a set, the name of a system that was measured by the program of plan.against.
const asBefore = "@before"

// build is a program that measures, and what the names of its systems end with.
type build struct{ program, suffix string }

// builds are the programs that measure each entry of a round: this one and, if there is one, that before it, which comes
// first in every other round.
func (p *plan) builds(round int) ([]build, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	now, before := build{program: self}, build{program: p.against, suffix: asBefore}
	switch {
	case p.against == "":
		return []build{now}, nil
	case round%2 == 0:
		return []build{before, now}, nil
	}
	return []build{now, before}, nil
}

// writeComparison writes what became of each metric since the build before.
func writeComparison(out io.Writer, set *results.Set) error {
	p := &page{set: set}
	for _, sc := range scenarios {
		for _, k := range kinds {
			if p.measured(sc.name, k.name+asBefore) {
				p.comparison(sc.name, k.name)
			}
		}
	}
	_, err := io.WriteString(out, p.text.String())
	return err
}

func (p *page) comparison(scenario, system string) {
	p.printf("%s/%s, medians, and of the ratio within a round also the least and the greatest:\n\n", scenario, system)
	p.head("", "before", "now", "now ÷ before", "rounds")
	for _, row := range []struct{ metric, title string }{
		{results.JobsPerSecond, "jobs/s"},
		{results.PickupP50, "pick-up p50, ms"},
		{results.PickupP99, "pick-up p99, ms"},
		{results.CPUMicros, "CPU µs a job"},
		{results.RedisMicros, "Redis µs a job"},
		{results.PostgresMicros, "Postgres µs a job"},
		{results.Allocs, "allocations a job"},
		{results.AllocBytes, "bytes a job"},
		{results.Commands, "commands a job"},
		{results.PeakRSS, "peak RSS, bytes"},
		{results.IdleCommands, "idle commands/s"},
		{results.IdleCPUMillis, "idle CPU ms/s"},
	} {
		ratio := p.set.Ratio(scenario, system, system+asBefore, row.metric)
		if ratio.Rounds > 0 {
			before, now := p.set.Metric(scenario, system+asBefore, row.metric), p.set.Metric(scenario, system, row.metric)
			p.row(row.title, decimals(before.Median), decimals(now.Median), spread(ratio, thousandths), fmt.Sprint(ratio.Rounds))
		}
	}
	p.printf("\n")
}

func thousandths(f float64) string { return fmt.Sprintf("%.3f", f) }
