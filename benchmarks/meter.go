package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker/benchmarks/results"
)

// meter reads, at the ends of the timed part of a measurement, what this process and its servers have used so far.
type meter struct {
	redis    *redisGauge    // nil: the system uses none
	postgres *postgresGauge // nil: the system uses none
}

// reading is what had been used at one moment.
type reading struct {
	at       time.Time
	cpu      time.Duration // of this process, user and system
	mallocs  uint64
	bytes    uint64
	redis    redisReading
	postgres postgresReading
}

// begin reads the servers first and this process last, so that what reading costs is outside of the timed part. What was
// used before is collected, and the peak of the memory starts anew.
func (m *meter) begin(ctx context.Context) (r reading, err error) {
	runtime.GC()
	if err := m.readServers(ctx, &r); err != nil {
		return r, err
	}
	resetPeak()
	return r, r.readProcess()
}

// end is begin in reverse order.
func (m *meter) end(ctx context.Context) (r reading, err error) {
	if err := r.readProcess(); err != nil {
		return r, err
	}
	return r, m.readServers(ctx, &r)
}

func (m *meter) readServers(ctx context.Context, r *reading) (err error) {
	if m.redis != nil {
		if r.redis, err = m.redis.read(ctx); err != nil {
			return err
		}
	}
	if m.postgres != nil {
		r.postgres, err = m.postgres.read(ctx)
	}
	return err
}

func (r *reading) readProcess() error {
	var stats runtime.MemStats
	var usage syscall.Rusage
	r.at = time.Now()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("read this process's CPU time: %w", err)
	}
	runtime.ReadMemStats(&stats)
	r.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	r.mallocs, r.bytes = stats.Mallocs, stats.TotalAlloc
	return nil
}

// perJob puts into out what n jobs used between two readings.
func (m *meter) perJob(out map[string]float64, from, to reading, n int) {
	jobs := float64(n)
	out[results.JobsPerSecond] = jobs / to.at.Sub(from.at).Seconds()
	out[results.CPUMicros] = micros(to.cpu-from.cpu) / jobs
	out[results.Allocs] = float64(to.mallocs-from.mallocs) / jobs
	out[results.AllocBytes] = float64(to.bytes-from.bytes) / jobs
	if peak := peakRSS(); peak > 0 {
		out[results.PeakRSS] = peak
	}
	if m.redis != nil {
		out[results.RedisMicros] = micros(to.redis.cpu-from.redis.cpu) / jobs
		out[results.Commands] = (to.redis.sent - from.redis.sent) / jobs
	}
	if m.postgres != nil {
		out[results.PostgresMicros] = micros(to.postgres.cpu-from.postgres.cpu) / jobs
	}
}

// perWaiting puts into out what n jobs that wait take in the stores.
func (m *meter) perWaiting(out map[string]float64, from, to reading, n int) {
	if m.redis != nil {
		out[results.RedisBytes] = (to.redis.memory - from.redis.memory) / float64(n)
	}
	if m.postgres != nil {
		out[results.PostgresBytes] = (to.postgres.size - from.postgres.size) / float64(n)
	}
}

// perSecond puts into out what idle workers used in each second between two readings; sent are the commands that they sent
// to Redis in all.
func (m *meter) perSecond(out map[string]float64, from, to reading, sent int) {
	seconds := to.at.Sub(from.at).Seconds()
	out[results.IdleCPUMillis] = micros(to.cpu-from.cpu) / 1e3 / seconds
	if m.redis != nil {
		out[results.IdleCommands] = float64(sent) / seconds
	}
	if m.postgres != nil {
		out[results.IdleTransactions] = (to.postgres.transactions - from.postgres.transactions) / seconds
		out[results.IdlePostgresMillis] = micros(to.postgres.cpu-from.postgres.cpu) / 1e3 / seconds
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// resetPeak makes the kernel forget the greatest size that this process had. Where there is no /proc nothing happens.
func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peakRSS returns this process's greatest size in memory, in bytes, or 0 where there is no /proc.
func peakRSS() float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024
		}
	}
	return 0
}
