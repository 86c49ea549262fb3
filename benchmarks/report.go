package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// writeReport writes a set as a page of Markdown.
func writeReport(out io.Writer, set *results.Set) error {
	p := &page{set: set}
	p.preamble()
	for _, group := range groups() {
		p.group(group)
	}
	p.statuses()
	p.costs()
	p.memory()
	p.systems()
	_, err := io.WriteString(out, p.text.String())
	return err
}

// groups are the groups of the scenarios in their order.
func groups() (names []string) {
	for _, sc := range scenarios {
		if !slices.Contains(names, sc.group) {
			names = append(names, sc.group)
		}
	}
	return names
}

// page is a report that is being written.
type page struct {
	set  *results.Set
	text strings.Builder
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

func (p *page) preamble() {
	m := p.set.Machine
	p.printf("# Measurements\n\n")
	p.printf("Written by `%s` in `benchmarks/` on %s; do not edit, run `make bench-full` instead.\n\n",
		p.set.Command, m.Date.Format("2006-01-02"))
	p.printf("%s, %d cores, %d GiB, %s; Go %s, Redis %s, Postgres %s. Client and servers share the machine.\n\n",
		m.CPU, m.Cores, m.RAMBytes>>30, m.Kernel, m.Go, orDash(m.Redis), orDash(m.Postgres))
	p.printf("Each measurement is a process of its own on emptied servers. Rounds take all systems of a scenario in turn; a " +
		"cell is the median of the rounds and, in brackets, their least and greatest. Ratios are taken within a round. " +
		"Payloads are JSON of about 210 bytes unless a table says otherwise; every handler decodes its one. A drain " +
		"begins with the start of the workers and ends when the last handler was called; for this library it ends " +
		"later, when `Stop` has returned and every job is settled. “–”: not measured, or there is no such thing.\n\n")
}

func orDash(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// columns are a group's scenarios that were measured.
func (p *page) columns(group string) (list []scenario) {
	for _, sc := range scenarios {
		if sc.group == group && p.set.Has(sc.name) {
			list = append(list, sc)
		}
	}
	return list
}

// group writes the tables of a group, if it was measured.
func (p *page) group(group string) {
	columns := p.columns(group)
	if len(columns) == 0 {
		return
	}
	p.printf("## %s\n\n", group)
	switch group {
	case pickupGroup:
		p.pickup(columns[0].name)
	case idleGroup:
		p.idle(columns[0].name)
	default:
		p.printf("Jobs a second:\n\n")
		p.table(columns, p.rows(columns), func(sc, system string) string {
			cell := spread(p.set.Metric(sc, system, results.JobsPerSecond), results.Thousands)
			if k, err := kindOf(system); err == nil && k.bulk == 0 && sc == "enqueue-bulk" && cell != "–" {
				cell += " †"
			}
			return cell
		})
		if group == enqueueGroup {
			p.printf("† It has no bulk call: one job a call from %d goroutines, its best.\n\n", producers)
		}
		p.ratios(columns, p.rows(columns), "asynq")
	}
	if group == poolsGroup {
		p.printf("Redis commands that clients sent per job:\n\n")
		p.table(columns, p.rows(columns), func(sc, system string) string {
			return spread(p.set.Metric(sc, system, results.Commands), decimals)
		})
	}
}

// statuses compares the systems that write each job's state to a database.
func (p *page) statuses() {
	columns := slices.Concat(p.columns(enqueueGroup), p.columns(drainGroup))
	rows := slices.DeleteFunc(p.rows(columns), func(name string) bool { return !slices.Contains(withPostgres, name) })
	if len(rows) < 2 {
		return
	}
	p.printf("## States in Postgres\n\nThe systems above whose jobs can be asked for in Postgres.\n\n")
	p.ratios(columns, rows, "river")
}

// ratios writes how many times as fast as base each system was.
func (p *page) ratios(columns []scenario, rows []string, base string) {
	if !slices.Contains(rows, base) {
		return
	}
	p.printf("Times %s, in the same round:\n\n", base)
	p.table(columns, rows, func(sc, system string) string {
		return spread(p.set.Ratio(sc, system, base, results.JobsPerSecond), decimals)
	})
}

// rows are the systems that were measured in any of the columns.
func (p *page) rows(columns []scenario) (names []string) {
	for _, k := range kinds {
		if slices.ContainsFunc(columns, func(sc scenario) bool { return p.measured(sc.name, k.name) }) {
			names = append(names, k.name)
		}
	}
	return names
}

func (p *page) measured(scenario, system string) bool {
	return slices.ContainsFunc(p.set.Measurements, func(m results.Measurement) bool {
		return m.Scenario == scenario && m.System == system
	})
}

// table writes one row for each system, one column for each scenario.
func (p *page) table(columns []scenario, rows []string, cell func(scenario, system string) string) {
	head := []string{"system"}
	for _, sc := range columns {
		head = append(head, sc.title)
	}
	p.head(head...)
	for _, system := range rows {
		cells := []string{system}
		for _, sc := range columns {
			cells = append(cells, cell(sc.name, system))
		}
		p.row(cells...)
	}
	p.printf("\n")
}

func (p *page) head(cells ...string) {
	p.row(cells...)
	p.printf("|---%s|\n", strings.Repeat("|---:", len(cells)-1))
}

func (p *page) row(cells ...string) { p.printf("| %s |\n", strings.Join(cells, " | ")) }

// metricsTable writes one row for each system of a scenario, one column for each metric.
func (p *page) metricsTable(name string, titles, metrics []string) {
	p.head(append([]string{"system"}, titles...)...)
	for _, k := range kinds {
		if !p.measured(name, k.name) {
			continue
		}
		cells := []string{k.name}
		for _, metric := range metrics {
			cells = append(cells, spread(p.set.Metric(name, k.name, metric), decimals))
		}
		p.row(cells...)
	}
	p.printf("\n")
}

func (p *page) pickup(name string) {
	p.printf("Milliseconds from the call of enqueue to the start of the handler, by workers idle for 3 ms or more:\n\n")
	p.metricsTable(name, []string{"p50", "p99"}, []string{results.PickupP50, results.PickupP99})
}

func (p *page) idle(name string) {
	p.printf("What workers with 100 slots and nothing to do cost per second:\n\n")
	p.metricsTable(name, []string{"Redis commands sent", "Postgres transactions", "their own CPU ms", "Postgres CPU ms"},
		[]string{results.IdleCommands, results.IdleTransactions, results.IdleCPUMillis, results.IdlePostgresMillis})
}

// costs writes what a job used in each scenario.
func (p *page) costs() {
	metrics := []string{results.CPUMicros, results.Allocs, results.AllocBytes, results.RedisMicros, results.PostgresMicros,
		results.Commands, results.PeakRSS}
	p.printf("## What a job costs\n\nPer job, medians: CPU time of the measured process and of the servers (user and " +
		"system), allocations, and the commands that clients sent to Redis, those called by scripts not among them; and " +
		"the greatest size in memory of the process.\n\n")
	p.head("scenario", "system", "CPU µs", "allocations", "bytes", "Redis µs", "Postgres µs", "commands", "peak RSS MiB")
	for _, sc := range scenarios {
		for _, k := range kinds {
			if p.set.Metric(sc.name, k.name, results.JobsPerSecond).Rounds == 0 {
				continue
			}
			cells := []string{sc.name, k.name}
			for _, metric := range metrics {
				cells = append(cells, p.cost(sc.name, k.name, metric))
			}
			p.row(cells...)
		}
	}
	p.printf("\n")
}

func (p *page) cost(scenario, system, metric string) string {
	s := p.set.Metric(scenario, system, metric)
	switch {
	case s.Rounds == 0:
		return "–"
	case metric == results.PeakRSS:
		return results.Thousands(s.Median / (1 << 20))
	}
	return decimals(s.Median)
}

// memory writes what a waiting job takes in the stores.
func (p *page) memory() {
	for _, name := range []string{"enqueue-bulk", "enqueue-4k", "enqueue-64k"} {
		sc, err := scenarioOf(name)
		if err != nil || !p.set.Has(name) {
			continue
		}
		p.printf("## Bytes of a waiting job (%s)\n\nIts payload included.\n\n", sc.name)
		p.metricsTable(name, []string{"Redis", "Postgres"}, []string{results.RedisBytes, results.PostgresBytes})
	}
}

func (p *page) systems() {
	p.printf("## The systems\n\n")
	p.printf("| system | how it is set up |\n|---|---|\n")
	for _, k := range kinds {
		p.row(k.name, k.note)
	}
}

// spread writes a summary as a cell: median (least–greatest), or the median alone when there was one round.
func spread(s results.Summary, number func(float64) string) string {
	switch s.Rounds {
	case 0:
		return "–"
	case 1:
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Min), number(s.Max))
}

// decimals writes a number with about three digits.
func decimals(f float64) string {
	switch a := math.Abs(f); {
	case a >= 100:
		return results.Thousands(f)
	case a >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}
