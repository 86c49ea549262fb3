package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// plan says what a run measures.
type plan struct {
	rounds  int
	full    bool
	match   *regexp.Regexp // of "scenario/system"; nil: all
	scale   float64        // of the numbers of jobs
	against string         // another build of this program, which measures all that this one does; empty: none
	say     io.Writer      // progress
}

// measurement is one entry of a round.
type measurement struct {
	scenario scenario
	kind     kind
	jobs     int
}

// round lists what one round measures, in turn: for each scenario each system, so that what is compared is measured
// shortly after each other.
func (p *plan) round(number int) (list []measurement) {
	for _, sc := range scenarios {
		if (sc.full && !p.full) || (sc.once && number > 1) {
			continue
		}
		for _, k := range kinds {
			jobs, ok := sc.jobs[k.name]
			if !ok || (k.full && !p.full) || (p.match != nil && !p.match.MatchString(sc.name+"/"+k.name)) {
				continue
			}
			list = append(list, measurement{sc, k, max(int(float64(jobs)*p.scale), 1)})
		}
	}
	return list
}

// limit is how long one measurement may take, its preparation included: only a broken one takes that long.
const limit = 15 * time.Minute

// run measures all rounds. What it has when ctx ends or something breaks it returns beside the error.
func (p *plan) run(ctx context.Context, set *results.Set) error {
	servers := newServers()
	defer servers.close()
	for number := 1; number <= p.rounds; number++ {
		list := p.round(number)
		if number == 1 && len(list) == 0 {
			return errors.New("nothing matches")
		}
		builds, err := p.builds(number)
		if err != nil {
			return err
		}
		for i, m := range list {
			for _, b := range builds {
				began := time.Now()
				found, err := p.one(ctx, servers, m, b.program)
				if err != nil {
					return fmt.Errorf("%s/%s%s: %w", m.scenario.name, m.kind.name, b.suffix, err)
				}
				found.Round, found.System = number, found.System+b.suffix
				set.Measurements = append(set.Measurements, found)
				fmt.Fprintf(p.say, "round %d/%d, %d/%d  %-12s %-18s %s  (%.1f s)\n", number, p.rounds, i+1, len(list),
					m.scenario.name, found.System, headline(found.Metrics), time.Since(began).Seconds())
			}
		}
	}
	return servers.describe(ctx, &set.Machine)
}

// one measures in a process of its own, on emptied servers.
func (p *plan) one(
	ctx context.Context, servers *servers, m measurement, program string,
) (found results.Measurement, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at, err := servers.ready(ctx, m.kind, m.scenario)
	if err != nil {
		return found, fmt.Errorf("prepare the servers: %w", err)
	}
	text, err := json.Marshal(spec{Scenario: m.scenario.name, System: m.kind.name, Jobs: m.jobs, At: at})
	if err != nil {
		return found, err
	}
	cmd := exec.CommandContext(ctx, program, "-measure", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return found, fmt.Errorf("measure: %w", err)
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return found, fmt.Errorf("read what was measured: %w", err)
	}
	return found, nil
}

// measureHere is what that process does.
func measureHere(ctx context.Context, text string, out io.Writer) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read what to measure: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found, err := measure(ctx, s)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(found)
}

// headline is a measurement in a few words.
func headline(metrics map[string]float64) string {
	switch {
	case metrics[results.PickupP50] != 0:
		return fmt.Sprintf("p50 %.2f ms", metrics[results.PickupP50])
	case metrics[results.JobsPerSecond] != 0:
		return fmt.Sprintf("%8.0f jobs/s", metrics[results.JobsPerSecond])
	}
	return fmt.Sprintf("%.1f commands/s, %.1f transactions/s",
		metrics[results.IdleCommands], metrics[results.IdleTransactions])
}
