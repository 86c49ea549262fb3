// Command plot draws the main figures of a results file as an SVG: jobs a second by system, on a logarithmic scale.
//
//	GOWORK=off go run ./plot results.json > throughput.svg
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: plot results.json > throughput.svg")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(path string, out io.Writer) error {
	set, err := results.Load(path)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, draw(chartOf(set)))
	return err
}

// panels are the scenarios that are drawn, and how they are headed.
var panels = []struct{ scenario, title string }{
	{"drain-10", "Drain, concurrency 10"},
	{"drain-100", "Drain, concurrency 100"},
	{"drain-1000", "Drain, concurrency 1000"},
	{"enqueue-64", "Enqueue, 64 goroutines, one job a call"},
	{"enqueue-bulk", "Enqueue, bulk (or the best without)"},
}

// systems are those that are drawn, in this order: first those that keep jobs in Redis alone, then those that keep them,
// or their states, in Postgres. Colors tell the library from its peers and from bare Redis.
var systems = []struct{ name, color string }{
	{"go-worker", ours}, {"asynq", peer}, {"watermill", peer}, {"raw-lpop", raw}, {"raw-lmove", raw},
	{"go-worker+postgres", ours}, {"river", peer}, {"gue", peer},
}

const (
	ours = "#0969da"
	peer = "#8c959f"
	raw  = "#d0d7de"
)

// chart is what is drawn.
type chart struct {
	title  string
	source string // of the figures
	groups []group
}

type group struct {
	title string
	bars  []bar
}

type bar struct {
	label, color     string
	value, low, high float64 // jobs a second: the median, the least, the greatest
}

// chartOf picks the main figures of a set. What was not measured is left out.
func chartOf(set *results.Set) chart {
	m := set.Machine
	c := chart{
		title: "Jobs per second",
		source: fmt.Sprintf("%s, %d cores, client and servers on it; Redis %s, Postgres %s, Go %s; %s. Median, least and greatest round.",
			m.CPU, m.Cores, m.Redis, m.Postgres, m.Go, m.Date.Format("2006-01-02")),
	}
	for _, p := range panels {
		g := group{title: p.title}
		for _, s := range systems {
			v := set.Metric(p.scenario, s.name, results.JobsPerSecond)
			if v.Rounds > 0 {
				g.bars = append(g.bars, bar{label: s.name, color: s.color, value: v.Median, low: v.Min, high: v.Max})
			}
		}
		if len(g.bars) > 0 {
			c.groups = append(c.groups, g)
		}
	}
	return c
}
