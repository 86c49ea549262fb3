package results_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

func set(entries ...results.Measurement) *results.Set { return &results.Set{Measurements: entries} }

func measured(round int, system string, jobs float64) results.Measurement {
	return results.Measurement{Round: round, Scenario: "drain", System: system, Jobs: 10,
		Metrics: map[string]float64{results.JobsPerSecond: jobs}}
}

func TestOver(t *testing.T) {
	require.Equal(t, results.Summary{}, results.Over(nil))
	require.Equal(t, results.Summary{Median: 5, Min: 5, Max: 5, Rounds: 1}, results.Over([]float64{5}))
	require.Equal(t, results.Summary{Median: 2, Min: 1, Max: 9, Rounds: 3}, results.Over([]float64{9, 1, 2}))
	require.Equal(t, results.Summary{Median: 3, Min: 1, Max: 9, Rounds: 4}, results.Over([]float64{9, 1, 2, 4}))
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	s := set(measured(1, "a", 100), measured(1, "b", 10), // the machine is fast in the first round
		measured(2, "a", 20), measured(2, "b", 4), measured(3, "a", 30), // and b was not measured in the third
		measured(3, "c", 1))
	require.Equal(t, results.Summary{Median: 7.5, Min: 5, Max: 10, Rounds: 2}, s.Ratio("drain", "a", "b", results.JobsPerSecond))
	require.Zero(t, s.Ratio("drain", "a", "d", results.JobsPerSecond).Rounds)
}

func TestMetricsThatWereNotMeasuredAreNotZeros(t *testing.T) {
	s := set(measured(1, "a", 100), measured(2, "a", 20))
	require.Equal(t, results.Summary{Median: 60, Min: 20, Max: 100, Rounds: 2}, s.Metric("drain", "a", results.JobsPerSecond))
	require.Zero(t, s.Metric("drain", "a", results.RedisMicros).Rounds)
	require.Zero(t, s.Metric("enqueue", "a", results.JobsPerSecond).Rounds)
	require.True(t, s.Has("drain"))
	require.False(t, s.Has("enqueue"))
}

func TestSavedSetsAreLoaded(t *testing.T) {
	s := set(measured(1, "a", 100))
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, s.Save(path))
	loaded, err := results.Load(path)
	require.NoError(t, err)
	require.Equal(t, s, loaded)
}
