package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
	"github.com/real-staging-ai/go-worker/internal/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.StopShared()
	os.Exit(code)
}

func TestScenariosAreWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	for _, sc := range scenarios {
		require.Regexp(t, `^[a-z0-9-]+$`, sc.name)
		require.False(t, seen[sc.name], "%s is there twice", sc.name)
		seen[sc.name] = true
		require.NotEmpty(t, sc.group, sc.name)
		require.NotEmpty(t, sc.title, sc.name)
		require.NotNil(t, sc.run, sc.name)
		require.Contains(t, sc.jobs, "go-worker", sc.name)
		require.LessOrEqual(t, 210+sc.extra, 64<<10, sc.name)
		for system, jobs := range sc.jobs {
			_, err := kindOf(system)
			require.NoError(t, err, sc.name)
			require.Positive(t, jobs, "%s/%s", sc.name, system)
		}
	}
}

func TestKindsAreWellFormed(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range kinds {
		require.False(t, seen[k.name], "%s is there twice", k.name)
		seen[k.name] = true
		require.NotEmpty(t, k.note, k.name)
		require.NotZero(t, k.on, k.name)
		require.NotNil(t, k.open, k.name)
	}
}

func TestRoundTakesSystemsInTurn(t *testing.T) {
	p := plan{rounds: 2, scale: 0.5, match: regexp.MustCompile(`^(drain-100|idle)/(asynq|go-worker|gue)$`)}
	names := func(list []measurement) (names []string) {
		for _, m := range list {
			names = append(names, m.scenario.name+"/"+m.kind.name)
		}
		return names
	}
	require.Equal(t, []string{"drain-100/go-worker", "drain-100/asynq", "idle/go-worker", "idle/asynq"}, names(p.round(1)))
	require.Equal(t, drain["go-worker"]/2, p.round(1)[0].jobs)
	require.Equal(t, []string{"drain-100/go-worker", "drain-100/asynq"}, names(p.round(2)), "idle is measured once")
	p.full = true
	require.Contains(t, names(p.round(2)), "drain-100/gue")
}

func TestPayloads(t *testing.T) {
	require.Len(t, payload(1, to4KiB).Note, 4<<10-210)
	require.Len(t, payload(1, to64KiB).Note, 64<<10-210)
	require.NotEqual(t, payload(1, 10), payload(2, 10))
}

func TestReportRenders(t *testing.T) {
	set := &results.Set{Command: "go run .", Machine: results.Machine{CPU: "A CPU", Cores: 2, Redis: "7.0"}}
	for round := 1; round <= 2; round++ {
		for _, sc := range scenarios {
			for i, k := range kinds {
				if sc.jobs[k.name] == 0 {
					continue
				}
				set.Measurements = append(set.Measurements, results.Measurement{Round: round, Scenario: sc.name, System: k.name,
					Metrics: map[string]float64{results.JobsPerSecond: float64(1000 * (i + round)), results.PickupP50: 0.25}})
			}
		}
	}
	var out bytes.Buffer
	require.NoError(t, writeReport(&out, set))
	for _, group := range groups() {
		require.Contains(t, out.String(), "\n## "+group+"\n")
	}
	require.NotContains(t, out.String(), "%!", "a format went wrong")
	require.Contains(t, out.String(), "| go-worker | 1,500 (1,000–2,000) |")
	require.Contains(t, out.String(), "| asynq | 1.00 (1.00–1.00) |")
	require.Contains(t, out.String(), "| 0.25 (0.25–0.25) | – |", "p99 was not measured")
}

func TestReportOfLittleHasNoEmptyTables(t *testing.T) {
	set := &results.Set{Measurements: []results.Measurement{{Scenario: "pickup", System: "river",
		Metrics: map[string]float64{results.PickupP50: 1}}}}
	var out bytes.Buffer
	require.NoError(t, writeReport(&out, set))
	require.Contains(t, out.String(), "## Idle pick-up")
	require.NotContains(t, out.String(), "## Drain")
	require.NotContains(t, out.String(), "## Bytes")
}

func TestBuildsTakeTurns(t *testing.T) {
	p := plan{}
	alone, err := p.builds(1)
	require.NoError(t, err)
	require.Len(t, alone, 1)
	p.against = "older"
	first, err := p.builds(1)
	require.NoError(t, err)
	second, err := p.builds(2)
	require.NoError(t, err)
	require.Equal(t, []build{alone[0], {program: "older", suffix: asBefore}}, first)
	require.Equal(t, []build{{program: "older", suffix: asBefore}, alone[0]}, second)
}

func TestComparisonTakesRatiosWithinRounds(t *testing.T) {
	set := new(results.Set)
	for round, speeds := range [][2]float64{{1000, 1100}, {2000, 1000}, {4000, 4000}} {
		for i, system := range []string{"go-worker" + asBefore, "go-worker"} {
			set.Measurements = append(set.Measurements, results.Measurement{Round: round, Scenario: "drain-100", System: system,
				Metrics: map[string]float64{results.JobsPerSecond: speeds[i]}})
		}
	}
	var out bytes.Buffer
	require.NoError(t, writeComparison(&out, set))
	require.Contains(t, out.String(), "| jobs/s | 2,000 | 1,100 | 1.000 (0.500–1.100) | 3 |")
	require.NotContains(t, out.String(), "commands", "they were not measured")
}

func TestNumbers(t *testing.T) {
	require.Equal(t, "0", results.Thousands(0))
	require.Equal(t, "999", results.Thousands(999))
	require.Equal(t, "1,234,568", results.Thousands(1234567.8))
	require.Equal(t, "-1,000", results.Thousands(-1000))
	require.Equal(t, "1.23", decimals(1.234))
	require.Equal(t, "12.3", decimals(12.34))
	require.Equal(t, "1,235", decimals(1234.6))
	require.Equal(t, "–", spread(results.Summary{}, results.Thousands))
	require.Equal(t, "5", spread(results.Over([]float64{5}), results.Thousands))
	require.Equal(t, "5 (4–6)", spread(results.Over([]float64{5, 4, 6}), results.Thousands))
}

func TestSentCommandsAreToldFromThoseOfScripts(t *testing.T) {
	for line, want := range map[string]string{
		"+OK\r\n": "",
		`+1339518083.107412 [0 127.0.0.1:60866] "EVALSHA" "6b1b" "2"`: "evalsha",
		`+1339518083.107412 [0 lua] "lpush" "list" "x"`:               "",
		`+1339518083.107412 [0 127.0.0.1:60866] "client" "setinfo"`:   "",
		`+1339518083.107412 [0 127.0.0.1:60866] "BLPOP" "[0 lua] "`:   "blpop",
	} {
		require.Equal(t, want, sentCommand(line), line)
	}
}
