// Command benchmarks measures this library beside its peers on servers that it starts for itself: the same scenarios,
// each measurement in a process of its own, in rounds that take all systems in turn. Figures are comparable within one
// run only. It needs redis-server and Postgres, and a Unix.
//
//	GOWORK=off go run .                                # the main scenarios, three rounds, tables to standard output
//	GOWORK=off go run . -full -out results.json        # all of them, the raw numbers to a file
//	GOWORK=off go run . -run '^drain-100/(go-worker|asynq)$' -rounds 5
//	GOWORK=off go run . -against ../../older/benchmarks/benchmarks -run '^drain-100/go-worker$' -rounds 40
//	GOWORK=off go run . -ceilings                      # allocations and commands a job; an error when they have risen
//	GOWORK=off go run . -report results.json > RESULTS.md
//	GOWORK=off go run ./plot results.json > throughput.svg
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// options are what the arguments say.
type options struct {
	plan
	match  string // of plan.match
	format string
	out    string // a file for the raw numbers
	report string // a file to report on, instead of measuring
	hold   bool   // to compare with the ceilings, instead of reporting
	here   string // a spec: one measurement in this process
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 3, "how many `times` to measure each")
	flags.BoolVar(&o.full, "full", false, "all scenarios and systems, not only the main ones")
	flags.StringVar(&o.match, "run", "", "only what matches this `regexp` of scenario/system")
	flags.Float64Var(&o.scale, "scale", 1, "multiply the numbers of jobs by this `factor`")
	flags.StringVar(&o.against, "against", "", "let this `program`, an older build of this one, measure all in turn, and compare")
	flags.StringVar(&o.format, "format", "markdown", "of the output: markdown, json or none")
	flags.StringVar(&o.out, "out", "", "write the raw numbers to this `file`, too")
	flags.StringVar(&o.report, "report", "", "measure nothing, write the report of this `file`")
	flags.BoolVar(&o.hold, "ceilings", false, "measure what a job costs, and fail when it is more than was recorded")
	flags.StringVar(&o.here, "measure", "", "do the one measurement of this `spec`: what the program starts itself with")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if !slices.Contains([]string{"markdown", "json", "none"}, o.format) {
		return o, fmt.Errorf("-format is %q: it must be markdown, json or none", o.format)
	}
	if o.match != "" {
		if o.plan.match, err = regexp.Compile(o.match); err != nil {
			return o, fmt.Errorf("read -run: %w", err)
		}
	}
	return o, nil
}

// command does what the arguments ask for.
func command(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case o.here != "":
		return measureHere(ctx, o.here, out)
	case o.hold:
		return hold(ctx, out, progress)
	case o.report != "":
		set, err := results.Load(o.report)
		if err != nil {
			return err
		}
		return writeReport(out, set)
	}
	o.say = progress
	return o.measure(ctx, strings.Join(append([]string{"go run ."}, args...), " "), out)
}

// measure measures and writes what was found. The raw numbers are written also when a measurement fails; then the rest
// is missing.
func (o *options) measure(ctx context.Context, asked string, out io.Writer) error {
	set := &results.Set{Machine: thisMachine(), Command: asked}
	err := o.run(ctx, set)
	if o.out != "" {
		err = errors.Join(err, set.Save(o.out))
	}
	if err != nil {
		return err
	}
	switch {
	case o.against != "" && o.format == "markdown":
		return writeComparison(out, set)
	case o.format == "markdown":
		return writeReport(out, set)
	case o.format == "json":
		return json.NewEncoder(out).Encode(set)
	}
	return nil
}
