package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

func exampleSet() *results.Set {
	set := &results.Set{Machine: results.Machine{CPU: `A <fast> & "cheap" one`, Cores: 2}}
	for _, p := range panels {
		for i, s := range systems {
			for round := 1; round <= 3; round++ {
				set.Measurements = append(set.Measurements, results.Measurement{
					Round: round, Scenario: p.scenario, System: s.name, Jobs: 1,
					Metrics: map[string]float64{results.JobsPerSecond: float64(1000*(i+1) + round)},
				})
			}
		}
	}
	return set
}

func TestDrawingIsWellFormedAndSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, exampleSet().Save(path))
	var out bytes.Buffer
	require.NoError(t, run(path, &out))
	require.Less(t, out.Len(), 50_000)
	requireXML(t, out.String())
	require.NotContains(t, out.String(), "%!", "a format went wrong")
	require.Equal(t, len(panels)*len(systems)+1, strings.Count(out.String(), "<rect"), "the background and each bar")
}

func TestDrawingOfNothingIsWellFormed(t *testing.T) { requireXML(t, draw(chartOf(new(results.Set)))) }

func requireXML(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
	}
}

func TestScaleIsLogarithmic(t *testing.T) {
	s := scale{low: 100, high: 10_000}
	require.InDelta(t, (s.x(100)+s.x(10_000))/2, s.x(1000), 1e-9)
	require.Equal(t, s.x(100), s.x(0))
}
