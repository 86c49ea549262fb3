package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// kind is what a job is like.
type kind string

const (
	quick      kind = "quick"      // succeeds at once
	slow       kind = "slow"       // takes its time, and reports progress
	flaky      kind = "flaky"      // succeeds at its third attempt
	hopeless   kind = "hopeless"   // fails for good at its second attempt
	bad        kind = "bad"        // fails for good at its first
	declined   kind = "declined"   // is ended as canceled by its handler
	sleepy     kind = "sleepy"     // snoozes twice
	stepwise   kind = "stepwise"   // keeps checkpoints
	delayed    kind = "delayed"    // is due later
	unwanted   kind = "unwanted"   // is slow, and canceled by a client
	postponed  kind = "postponed"  // is due later, and canceled by a client
	reopened   kind = "reopened"   // fails for good, is requeued, and succeeds
	duplicated kind = "duplicated" // is enqueued by two producers
	sole       kind = "sole"       // one of a few with its key
	fresh      kind = "fresh"      // the same, until it starts
	seldom     kind = "seldom"     // the same, for a period
	bounced    kind = "bounced"    // is due later, and takes the place of the one with its key
	edited     kind = "edited"     // is edited while it waits, and fails once
	hastened   kind = "hastened"   // is due in a long time, and made to run now
	deleted    kind = "deleted"    // is deleted, canceled first if it runs
	purged     kind = "purged"     // goes in a purge, if it has not run before
	buried     kind = "buried"     // fails for good, and goes in a purge of the dead
	revived    kind = "revived"    // fails for good, and is requeued with all others of its kind
	handled    kind = "handled"    // has all of that done to it
	poisonous  kind = "poisonous"  // kills its process
	directed   kind = "directed"   // does what it is told at its turn
)

// ends are the states that jobs must end in. One that is canceled may have succeeded before.
var ends = map[kind]worker.State{
	quick: worker.StateSucceeded, slow: worker.StateSucceeded, flaky: worker.StateSucceeded, hopeless: worker.StateFailed,
	bad: worker.StateFailed, declined: worker.StateCanceled, sleepy: worker.StateSucceeded, stepwise: worker.StateSucceeded,
	delayed: worker.StateSucceeded, reopened: worker.StateSucceeded, duplicated: worker.StateSucceeded,
	sole: worker.StateSucceeded, fresh: worker.StateSucceeded, seldom: worker.StateSucceeded, bounced: worker.StateSucceeded,
	edited: worker.StateSucceeded, hastened: worker.StateSucceeded, buried: worker.StateFailed, revived: worker.StateSucceeded,
	poisonous: worker.StateFailed,
}

// task is the payload of all jobs.
type task struct {
	Kind kind   `json:"kind"`
	Ms   int    `json:"ms"` // how long it takes
	Pad  string `json:"pad"`
	// Edits are those that it has gone through.
	Edits []int `json:"edits,omitempty"`
}

func (task) JobType() string { return "simulation:task" }

// order is a job that the plan wants enqueued.
type order struct {
	id       string
	kind     kind
	producer string
	at       time.Duration // since the beginning
	takes    time.Duration
	delay    time.Duration
	cancelAt time.Duration // after it was enqueued
	forgets  bool          // the producer doesn't repeat what it had no clear answer to
	unique   *worker.Unique
	deeds    []deed // what is done to it
}

// job makes the job of an order, whose payload no encoder would write like this.
func (o *order) job() *worker.Job {
	job, err := worker.NewJob(task{}, worker.WithID(o.id), worker.WithRetry(worker.Exponential(5, time.Second, 4*time.Second)))
	if err != nil {
		panic(err)
	}
	if o.kind == hopeless {
		job.Retry.MaxAttempts = 2
	}
	job.Delay, job.Unique = o.delay, o.unique
	job.Payload = o.payload()
	return job
}

// payload is what the job of an order says after some edits.
func (o *order) payload(edits ...int) json.RawMessage {
	pad, more := o.id, ""
	if o.kind == bounced { // all of a key are the same, so that it doesn't matter which one is in the other's place
		pad = o.unique.Key
	}
	if len(edits) > 0 {
		more = ", \"edits\":\t" + strings.ReplaceAll(fmt.Sprint(edits), " ", ",\n")
	}
	return json.RawMessage(fmt.Sprintf("{ \"kind\":%q,\n\"ms\" : %d, \"pad\":\"<&>\\u00e9 %s\"%s }",
		o.kind, o.takes.Milliseconds(), pad, more))
}

var errTask = errors.New("simulation: the task failed")

// handle is the handler of all jobs.
func (p *process) handle(ctx context.Context, job *worker.Job, do task) error {
	p.at("handler", before)
	if !p.pass() {
		return errDead
	}
	p.world.whole(job, do)
	return p.scribe.Handler(func(ctx context.Context, job *worker.Job) error {
		err := p.perform(ctx, job, do)
		p.at("handler", after)
		if !p.pass() {
			return errDead
		}
		return err
	})(ctx, job)
}

func (p *process) perform(ctx context.Context, job *worker.Job, do task) error {
	takes := time.Duration(do.Ms) * time.Millisecond
	switch do.Kind {
	case slow, unwanted:
		for i := range 4 {
			job.Progress(float64(i)/4, fmt.Sprintf("part %d", i))
			if err := p.sleep(ctx, takes/4); err != nil {
				return err
			}
		}
		return nil
	case stepwise:
		return p.steps(ctx, job, takes)
	case poisonous:
		if err := p.sleep(ctx, takes); err != nil {
			return err
		}
		p.world.killed()
		p.kill()
		return errDead
	case directed:
		return p.directed(ctx, job)
	case edited, handled:
		if job.Attempt < 2 {
			return errTask
		}
	case flaky:
		if job.Attempt < 3 {
			return errTask
		}
	case hopeless:
		return errTask
	case bad, buried:
		return worker.Permanent(errTask)
	case declined:
		return worker.Cancel(errTask)
	case sleepy:
		if p.world.again(job.ID) < 2 {
			return worker.Snooze(takes)
		}
	case reopened, revived:
		if p.world.round(job.ID) == 0 {
			return worker.Permanent(errTask)
		}
	}
	return p.sleep(ctx, takes)
}

// steps goes on after the last checkpoint, which must be the last one that was durable.
func (p *process) steps(ctx context.Context, job *worker.Job, takes time.Duration) error {
	done := 0
	if _, err := job.LastCheckpoint(&done); err != nil {
		return err
	}
	p.world.resumed(job, done)
	for ; done < 3; done++ {
		if err := p.sleep(ctx, takes/3); err != nil {
			return err
		}
		for {
			err := job.Checkpoint(ctx, done+1)
			if err == nil {
				p.world.checkpointed(job, done+1)
				break
			}
			if errors.Is(err, worker.ErrLeaseLost) || ctx.Err() != nil {
				return err
			}
			if err := p.sleep(ctx, time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}
