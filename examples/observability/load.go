package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// quickly retries sooner than a service would, so that there is something to see.
var quickly = worker.RetryPolicy{MaxAttempts: 3, Base: 500 * time.Millisecond, Max: 2 * time.Second}

// Chore is the payload of all jobs here: it says what is to happen to them.
type Chore struct {
	Kind  string        `json:"kind"`            // the job's type: mail, thumbnail, import or stubborn
	Takes time.Duration `json:"takes"`           // by each attempt
	Fails int           `json:"fails,omitempty"` // as many attempts fail
	Fatal bool          `json:"fatal,omitempty"` // the first one fails for good
}

// JobType names the type.
func (c Chore) JobType() string { return c.Kind }

var errNoAnswer = errors.New("the other side does not answer")

func handlers() *worker.Registry {
	registry := worker.NewRegistry()
	for _, kind := range []string{"mail", "thumbnail", "import"} {
		registry.Handle(kind, do(perform))
	}
	registry.Handle("stubborn", do(func(_ context.Context, _ *worker.Job, c Chore) error {
		time.Sleep(c.Takes) // as a handler does that never looks at its context
		return nil
	}))
	return registry
}

// do decodes the payload for handlers that share it among several types.
func do(h func(context.Context, *worker.Job, Chore) error) worker.Handler {
	return func(ctx context.Context, job *worker.Job) error {
		c, err := worker.DecodePayload[Chore](job)
		if err != nil {
			return err
		}
		return h(ctx, job, c)
	}
}

func perform(ctx context.Context, job *worker.Job, c Chore) error {
	select {
	case <-time.After(c.Takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case c.Fatal:
		return worker.Permanent(fmt.Errorf("row 17: %w", errNoAnswer))
	case job.Attempt <= c.Fails:
		return errNoAnswer
	}
	return nil
}

// burst is how many imports come at once, each time that as many other jobs have come.
const burst = 1000

// chore is the n-th of the load: of ten jobs one is retried and succeeds, one in twenty fails, and one in ten is for later.
func chore(n int) (Chore, []worker.JobOption) {
	switch {
	case n%20 == 7:
		return Chore{Kind: "import", Takes: 300 * time.Millisecond, Fatal: true}, nil
	case n%10 == 3:
		return Chore{Kind: "thumbnail", Takes: 60 * time.Millisecond, Fails: 1}, nil
	case n%10 == 9:
		return Chore{Kind: "mail", Takes: 10 * time.Millisecond}, []worker.JobOption{worker.After(10 * time.Second)}
	case n%3 == 0:
		return Chore{Kind: "import", Takes: 150 * time.Millisecond}, nil
	case n%3 == 1:
		return Chore{Kind: "thumbnail", Takes: 60 * time.Millisecond}, nil
	}
	return Chore{Kind: "mail", Takes: 10 * time.Millisecond}, nil
}

// load enqueues jobs until ctx ends. That it fails is told once, until it works again; what failed is not tried again.
func (a *app) load(ctx context.Context) error {
	if a.settings.rate <= 0 {
		<-ctx.Done()
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(a.pause(n))
		err := a.enqueue(ctx, n)
		if err != nil && !failing && ctx.Err() == nil {
			slog.Warn("jobs cannot be enqueued", "error", err)
		}
		failing = err != nil
	}
}

// pause is the time to the job after the n-th. The rate swings by half, in some 30 s at the default one.
func (a *app) pause(n int) time.Duration {
	rate := a.settings.rate * (1 + math.Sin(float64(n)/100)/2)
	return time.Duration(float64(time.Second) / rate)
}

func (a *app) enqueue(ctx context.Context, n int) error {
	if n%burst != burst-1 {
		c, options := chore(n)
		_, err := a.pool.Client().Enqueue(ctx, c, options...)
		return err
	}
	jobs := make([]*worker.Job, burst)
	for i := range jobs {
		job, err := worker.NewJob(Chore{Kind: "import", Takes: 150 * time.Millisecond})
		if err != nil {
			return err
		}
		jobs[i] = job
	}
	return a.pool.Client().EnqueueMany(ctx, jobs...)
}
