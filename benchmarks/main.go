// Command benchmarks measures this library beside its peers on servers that it starts for itself: the same scenarios,
// each measurement in a process of its own, in rounds that take all systems in turn. Figures are comparable within one
// run only. It needs redis-server and Postgres, and a Unix.
//
//	GOWORK=off go run .                                # the main scenarios, three rounds, tables to standard output
//	GOWORK=off go run . -full -out results.json        # all of them, the raw numbers to a file
//	GOWORK=off go run . -run '^drain-100/(go-worker|asynq)$' -rounds 5
//	GOWORK=off go run . -report results.json > RESULTS.md
//	GOWORK=off go run ./plot results.json > throughput.svg
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
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

// command does what the arguments ask for.
func command(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("benchmarks", flag.ExitOnError)
	rounds := flags.Int("rounds", 3, "how many `times` to measure each")
	full := flags.Bool("full", false, "all scenarios and systems, not only the main ones")
	match := flags.String("run", "", "only what matches this `regexp` of scenario/system")
	scale := flags.Float64("scale", 1, "multiply the numbers of jobs by this `factor`")
	format := flags.String("format", "markdown", "of the output: markdown, json or none")
	file := flags.String("out", "", "write the raw numbers to this `file`, too")
	report := flags.String("report", "", "measure nothing, write the report of this `file`")
	here := flags.String("measure", "", "do one measurement in this process (what the program starts itself with)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *here != "" {
		return measureHere(ctx, *here, out)
	}
	if *report != "" {
		set, err := results.Load(*report)
		if err != nil {
			return err
		}
		return writeReport(out, set)
	}
	p := plan{rounds: *rounds, full: *full, scale: *scale, say: progress}
	if *match != "" {
		var err error
		if p.match, err = regexp.Compile(*match); err != nil {
			return fmt.Errorf("read -run: %w", err)
		}
	}
	return p.report(ctx, strings.Join(append([]string{"go run ."}, args...), " "), *format, *file, out)
}

// report measures and writes what was found, also when a measurement fails: then the rest is missing.
func (p *plan) report(ctx context.Context, asked, format, file string, out io.Writer) error {
	set := &results.Set{Machine: thisMachine(), Command: asked}
	err := p.run(ctx, set)
	if file != "" {
		if err := set.Save(file); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	switch format {
	case "markdown":
		return writeReport(out, set)
	case "json":
		return json.NewEncoder(out).Encode(set)
	}
	return nil
}
