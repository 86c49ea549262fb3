package integration

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// task is the payload of all jobs here.
type task struct {
	Do     deed   `json:"do"`
	Millis int    `json:"ms,omitempty"`
	Times  int    `json:"n,omitempty"`
	Pad    string `json:"pad,omitempty"`
}

// deed is what a handler does.
type deed string

const (
	deedSleep  deed = "sleep"  // takes Millis
	deedHold   deed = "hold"   // lasts until the test opens the worker's gate
	deedCling  deed = "cling"  // the same, unless its job was taken from a worker before: then it ends at once
	deedDeaf   deed = "deaf"   // the same as hold, but it does not hear that it is to stop
	deedPoison deed = "poison" // kills its own process after Millis
	deedFlaky  deed = "flaky"  // fails, to be tried again after Millis, until the test opens the worker's gate
	deedFail   deed = "fail"   // fails Times times, to be tried again after Millis each, then succeeds
	deedSnooze deed = "snooze" // puts itself off for Millis, Times times in all, which it counts in its checkpoint
	deedSteps  deed = "steps"  // takes Times steps of Millis, each with a checkpoint, and goes on after the last one
	deedRefuse deed = "refuse" // fails for good, unless it finds the checkpoint that says that it has done so
)

// What a job of steps says of its checkpoints: the number of steps done is the event's Attempt.
const (
	opGoOn op = "go-on" // it goes on after so many steps
	opStep op = "step"  // the checkpoint of one more is kept
)

var (
	errFlaky   = errors.New("the gate is closed")
	errFailed  = errors.New("it was to fail")
	errRefused = errors.New("it was to fail for good")
)

func (task) JobType() string { return "integration:task" }

// deeds is what the handlers of a worker process do, and what it writes about it.
type deeds struct {
	scribe *scribe
	gate   <-chan struct{}
}

func (d *deeds) do(ctx context.Context, job *worker.Job, t task) error {
	pause := time.Duration(t.Millis) * time.Millisecond
	switch t.Do {
	case deedHold:
		return wait(ctx, d.gate, nil)
	case deedCling:
		if job.Crashes > 0 {
			return nil
		}
		return wait(ctx, d.gate, nil)
	case deedDeaf:
		return wait(context.WithoutCancel(ctx), d.gate, nil)
	case deedPoison:
		if err := wait(ctx, nil, time.After(pause)); err != nil {
			return err
		}
		d.die()
	case deedFlaky:
		if ctx.Err() == nil && !d.opened() {
			return worker.RetryAfter(pause, errFlaky)
		}
		return context.Cause(ctx)
	case deedFail:
		if job.Attempt <= t.Times {
			return worker.RetryAfter(pause, errFailed)
		}
		return nil
	case deedSnooze:
		return d.snooze(ctx, job, t.Times, pause)
	case deedSteps:
		return d.steps(ctx, job, t.Times, pause)
	case deedRefuse:
		return d.refuse(ctx, job)
	}
	return wait(ctx, nil, time.After(pause))
}

// wait returns when either channel says so, or with the cause of the end of ctx.
func wait(ctx context.Context, gate <-chan struct{}, slept <-chan time.Time) error {
	select {
	case <-gate:
		return nil
	case <-slept:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// opened reports whether the test has opened the gate.
func (d *deeds) opened() bool {
	select {
	case <-d.gate:
		return true
	default:
		return false
	}
}

func (d *deeds) snooze(ctx context.Context, job *worker.Job, times int, pause time.Duration) error {
	n := 0
	if _, err := job.LastCheckpoint(&n); err != nil || n >= times {
		return err
	}
	if err := job.Checkpoint(ctx, n+1); err != nil {
		return err
	}
	return worker.Snooze(pause)
}

func (d *deeds) steps(ctx context.Context, job *worker.Job, times int, pause time.Duration) error {
	n := 0
	if _, err := job.LastCheckpoint(&n); err != nil {
		return err
	}
	d.scribe.write(event{Op: opGoOn, Job: job.ID, Token: job.Token, Attempt: n})
	for ; n < times; n++ {
		if err := wait(ctx, nil, time.After(pause)); err != nil {
			return err
		}
		if err := job.Checkpoint(ctx, n+1); err != nil {
			return err
		}
		d.scribe.write(event{Op: opStep, Job: job.ID, Token: job.Token, Attempt: n + 1})
	}
	return nil
}

func (d *deeds) refuse(ctx context.Context, job *worker.Job) error {
	done := false
	if _, err := job.LastCheckpoint(&done); err != nil || done {
		return err
	}
	if err := job.Checkpoint(ctx, true); err != nil {
		return err
	}
	return worker.Permanent(errRefused)
}

func (d *deeds) die() {
	d.scribe.End()
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// hear writes the final states that the pool announces.
func (d *deeds) hear(_ context.Context, statuses ...worker.Status) error {
	for _, st := range statuses {
		if st.State.Final() {
			d.scribe.write(event{Op: opFinal, Job: st.JobID, Token: st.Token(), State: st.State,
				Crashes: st.Crashes, Text: st.Error})
		}
	}
	return nil
}
