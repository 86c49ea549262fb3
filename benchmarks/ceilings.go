package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// ceiling is what a job may cost in one scenario: counts, which a busy machine hardly changes, and no times. Each is what
// was measured when it was recorded and a little more. Who makes something cheaper lowers it; who makes something dearer
// says in the commit what it is worth.
type ceiling struct {
	scenario, system string
	most             map[string]float64 // by metric
}

// The allocations of drains include 9 to decode the payload (TestDecodingAllocates).
var ceilings = []ceiling{
	{"enqueue-1", "go-worker", most(19, 1.01)},
	{"enqueue-64", "go-worker", most(17, 0.2)}, // some 0.06 commands on a quiet machine
	{"enqueue-bulk", "go-worker", most(7.5, 0.003)},
	{"drain-10", "go-worker", most(28, 0.06)},
	{"drain-100", "go-worker", most(28, 0.04)},
	{"drain-1000", "go-worker", most(28, 0.02)},
	{"drain-100", "go-worker+postgres", most(75, 0.15)},
	{"idle", "go-worker", map[string]float64{results.IdleCommands: 2}},
}

func most(allocs, commands float64) map[string]float64 {
	return map[string]float64{results.Allocs: allocs, results.Commands: commands}
}

// hold measures what has a ceiling, once, and returns an error that lists what is over it.
func hold(ctx context.Context, out, progress io.Writer) error {
	set := &results.Set{Machine: thisMachine()}
	p := plan{rounds: 1, full: true, match: withCeiling(), scale: 1, say: progress}
	if err := p.run(ctx, set); err != nil {
		return err
	}
	return compare(set, out)
}

// withCeiling matches the scenarios and systems that have one.
func withCeiling() *regexp.Regexp {
	var names []string
	for _, c := range ceilings {
		names = append(names, regexp.QuoteMeta(c.scenario+"/"+c.system))
	}
	return regexp.MustCompile("^(" + strings.Join(names, "|") + ")$")
}

// compare writes what was measured beside its ceilings.
func compare(set *results.Set, out io.Writer) error {
	var over []error
	for _, c := range ceilings {
		for metric, limit := range c.most {
			found := set.Metric(c.scenario, c.system, metric)
			fmt.Fprintf(out, "%-12s %-18s %-31s %8.3f of %g\n", c.scenario, c.system, metric, found.Median, limit)
			switch {
			case found.Rounds == 0:
				over = append(over, fmt.Errorf("%s/%s: %s was not measured", c.scenario, c.system, metric))
			case found.Median > limit:
				over = append(over, fmt.Errorf("%s/%s: %s is %.3f, over %g", c.scenario, c.system, metric, found.Median, limit))
			}
		}
	}
	return errors.Join(over...)
}
