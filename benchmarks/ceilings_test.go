package main

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

func TestCeilingsNameWhatIsMeasured(t *testing.T) {
	p := plan{full: true, match: withCeiling(), scale: 1}
	require.Len(t, p.round(1), len(ceilings))
}

func TestWhatIsOverItsCeilingOrMissingIsAnError(t *testing.T) {
	set := &results.Set{}
	for _, c := range ceilings {
		metrics := make(map[string]float64)
		for metric, limit := range c.most {
			metrics[metric] = limit
		}
		set.Measurements = append(set.Measurements,
			results.Measurement{Round: 1, Scenario: c.scenario, System: c.system, Metrics: metrics})
	}
	require.NoError(t, compare(set, io.Discard))
	set.Measurements[0].Metrics[results.Allocs] += 0.5
	delete(set.Measurements[1].Metrics, results.Commands)
	err := compare(set, io.Discard)
	require.ErrorContains(t, err, "enqueue-1/go-worker: allocs_per_job is 19.500, over 19")
	require.ErrorContains(t, err, "enqueue-64/go-worker: redis_commands_per_job was not measured")
}

// What a handler pays for its payload is no cost of the library's.
func TestDecodingAllocates(t *testing.T) {
	text, err := json.Marshal(payload(1, 0))
	require.NoError(t, err)
	allocs := testing.AllocsPerRun(1000, func() {
		var p staging
		if err := json.Unmarshal(text, &p); err != nil {
			t.Error(err)
		}
	})
	require.InDelta(t, 9, allocs, 1)
}
