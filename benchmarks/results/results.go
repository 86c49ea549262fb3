// Package results holds what measurements found, and what is worked out from them: medians over rounds, and ratios that
// are taken within a round, so that a machine that drifts from round to round doesn't enter them.
package results

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"time"
)

// The metrics of a measurement. Per job means divided by Measurement.Jobs, over the timed part only.
const (
	JobsPerSecond = "jobs_per_second"
	// CPUMicros is the user and system time of the measured process per job; so that of the servers, in the next two.
	CPUMicros          = "cpu_us_per_job"
	RedisMicros        = "redis_us_per_job"
	PostgresMicros     = "postgres_us_per_job"
	Allocs             = "allocs_per_job"
	AllocBytes         = "alloc_bytes_per_job"
	Commands           = "redis_commands_per_job" // sent by clients
	PeakRSS            = "peak_rss_bytes"         // of the measured process, in the timed part
	RedisBytes         = "redis_bytes_per_waiting_job"
	PostgresBytes      = "postgres_bytes_per_waiting_job"
	PickupP50          = "pickup_p50_ms"
	PickupP99          = "pickup_p99_ms"
	IdleCommands       = "idle_redis_commands_per_second"
	IdleTransactions   = "idle_postgres_transactions_per_second"
	IdleCPUMillis      = "idle_cpu_ms_per_second"
	IdlePostgresMillis = "idle_postgres_cpu_ms_per_second"
)

// Machine is where and with what was measured.
type Machine struct {
	CPU      string    `json:"cpu"`
	Cores    int       `json:"cores"`
	RAMBytes int64     `json:"ram_bytes"`
	Kernel   string    `json:"kernel"`
	Go       string    `json:"go"`
	Redis    string    `json:"redis"`
	Postgres string    `json:"postgres"`
	Date     time.Time `json:"date"`
}

// Measurement is one scenario with one system in one round, by a process that did nothing else.
type Measurement struct {
	Round    int                `json:"round"`
	Scenario string             `json:"scenario"`
	System   string             `json:"system"`
	Jobs     int                `json:"jobs"`
	Metrics  map[string]float64 `json:"metrics"` // without those that don't apply
}

// Set is all that one run measured.
type Set struct {
	Machine      Machine       `json:"machine"`
	Command      string        `json:"command"`
	Measurements []Measurement `json:"measurements"`
}

// Load reads a set that Save wrote.
func Load(path string) (*Set, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	set := new(Set)
	if err := json.Unmarshal(text, set); err != nil {
		return nil, fmt.Errorf("read results in %s: %w", path, err)
	}
	return set, nil
}

// Save writes the set as JSON.
func (s *Set) Save(path string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// Summary is a metric over the rounds. Rounds is 0 when no round has it: then the rest means nothing.
type Summary struct {
	Median, Min, Max float64
	Rounds           int
}

// Over summarizes values, one of each round.
func Over(values []float64) Summary {
	n := len(values)
	if n == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	median := sorted[n/2]
	if n%2 == 0 {
		median = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return Summary{Median: median, Min: sorted[0], Max: sorted[n-1], Rounds: n}
}

// Metric summarizes a metric of a system in a scenario.
func (s *Set) Metric(scenario, system, metric string) Summary {
	var values []float64
	for _, v := range s.byRound(scenario, system, metric) {
		values = append(values, v)
	}
	return Over(values)
}

// Ratio summarizes, over the rounds that have both, system's metric divided by base's in the same round.
func (s *Set) Ratio(scenario, system, base, metric string) Summary {
	var ratios []float64
	bases := s.byRound(scenario, base, metric)
	for round, v := range s.byRound(scenario, system, metric) {
		if b := bases[round]; b != 0 {
			ratios = append(ratios, v/b)
		}
	}
	return Over(ratios)
}

// byRound maps rounds to the metric's value in them.
func (s *Set) byRound(scenario, system, metric string) map[int]float64 {
	values := make(map[int]float64)
	for _, m := range s.Measurements {
		if m.Scenario != scenario || m.System != system {
			continue
		}
		if v, ok := m.Metrics[metric]; ok {
			values[m.Round] = v
		}
	}
	return values
}

// Has reports whether the set has a measurement of the scenario.
func (s *Set) Has(scenario string) bool {
	return slices.ContainsFunc(s.Measurements, func(m Measurement) bool { return m.Scenario == scenario })
}

// Thousands writes a number rounded to a whole one, with commas.
func Thousands(f float64) string {
	digits := strconv.FormatInt(int64(math.Round(f)), 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
