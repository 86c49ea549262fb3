package cron_test

import (
	"context"
	"fmt"
	"time"
	_ "time/tzdata" // where the system has no database of time zones

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/cron"
	"github.com/real-staging-ai/go-worker/workertest"
)

// Report is the payload of a nightly job.
type Report struct {
	Day string `json:"day"`
}

// JobType names the type of job.
func (Report) JobType() string { return "report" }

// Each replica of a service has the same pool; each night has one report.
func Example() {
	nights, err := cron.Parse("30 2 * * *", must(time.LoadLocation("Europe/Berlin")))
	if err != nil {
		fmt.Println(err)
		return
	}
	registry := worker.NewRegistry()
	worker.Handle(registry, func(_ context.Context, _ *worker.Job, r Report) error {
		fmt.Println("report of", r.Day)
		return nil
	})
	pool, err := worker.NewPool(worker.Config{
		Backend:  worker.Backend{Queue: workertest.NewQueue()}, // redisqueue.New in a program
		Registry: registry,
		Periodic: []worker.Periodic{{
			Name: "report", Schedule: nights, Missed: worker.MissedOnce,
			PayloadAt: func(tick time.Time) (worker.Payload, error) {
				return Report{Day: tick.In(time.UTC).AddDate(0, 0, -1).Format(time.DateOnly)}, nil
			},
		}},
	})
	fmt.Println(pool != nil, err)
	// Output: true <nil>
}

// A clock that is put forward skips half past two, and one that is put back shows it twice: the job runs once each night.
func ExampleParse() {
	s, err := cron.Parse("CRON_TZ=Europe/Berlin 30 2 * * *", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, night := range []string{"2026-03-28", "2026-10-24"} {
		tick := must(time.Parse(time.DateOnly, night))
		for range 3 {
			tick = s.Next(tick)
			fmt.Println(tick.Format(time.RFC3339))
		}
	}
	// Output:
	// 2026-03-28T02:30:00+01:00
	// 2026-03-29T03:00:00+02:00
	// 2026-03-30T02:30:00+02:00
	// 2026-10-24T02:30:00+02:00
	// 2026-10-25T02:30:00+02:00
	// 2026-10-26T02:30:00+01:00
}

// Times of day are UTC's where nothing else is said; schedules of each hour go by time that passes.
func ExampleSchedule_Next() {
	s, err := cron.Parse("0 * * * *", must(time.LoadLocation("America/New_York")))
	if err != nil {
		fmt.Println(err)
		return
	}
	tick := time.Date(2026, 11, 1, 4, 30, 0, 0, time.UTC)
	for range 3 {
		tick = s.Next(tick)
		fmt.Println(tick.Format(time.RFC3339))
	}
	// Output:
	// 2026-11-01T01:00:00-04:00
	// 2026-11-01T01:00:00-05:00
	// 2026-11-01T02:00:00-05:00
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}
