package simulation

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

const (
	tickEvery = 3 * time.Second
	tickUntil = 50 * time.Second // when most faults are over, too
	tickName  = "tick"
)

// clockwork is the schedule of all workers of a plan. It ends, so that a simulation does.
type clockwork struct{ end time.Time }

// Next implements worker.Schedule.
func (c clockwork) Next(t time.Time) time.Time {
	if t = t.Truncate(tickEvery).Add(tickEvery); t.After(c.end) {
		return time.Time{}
	}
	return t
}

// periodic is what a worker's pool enqueues by itself: nothing where every job is one of the plan's orders.
func (p *process) periodic() []worker.Periodic {
	w := p.world
	if !w.plan.ticking {
		return nil
	}
	return []worker.Periodic{{
		Name: tickName, Schedule: clockwork{w.began.Add(tickUntil)}, Missed: worker.MissedAll,
		PayloadAt: func(tick time.Time) (worker.Payload, error) { return w.tick(p, tick), nil },
	}}
}

// tick makes the payload of a tick. The process may enqueue it, and nobody hears whether it did.
func (w *world) tick(p *process, tick time.Time) worker.Payload {
	do := task{Kind: quick, Ms: int(tick.Sub(w.began)/time.Second) * 10}
	payload, err := json.Marshal(do)
	if err != nil {
		panic(err)
	}
	id := tickName + "@" + tick.UTC().Format(time.RFC3339)
	w.scribe.Write(history.Event{Proc: p.name, Op: history.OpEnqueue, Job: id, Result: history.ResultUnknown,
		Sum: history.Sum(payload)})
	return do
}

// unfinishedTicks returns the ids of the jobs of ticks that are not at rest by the store.
func (w *world) unfinishedTicks() (ids []string) {
	rows, _, err := w.rows.Unfinished(context.Background(), 0, "", 1000)
	if err != nil {
		w.blame("inspect: %v", err)
	}
	for i := range rows {
		if strings.HasPrefix(rows[i].JobID, tickName+"@") {
			ids = append(ids, rows[i].JobID)
		}
	}
	return ids
}

// judgeTicks tells the checker of the jobs of ticks, and returns those ticks that nobody made a job of: from the first one to
// the last each must have its own, whoever died. The last may be due yet: a pool that found Redis's clock far behind looks
// again a minute later.
func (w *world) judgeTicks(c *history.Checker) (wrong []string) {
	if !w.plan.ticking {
		return nil
	}
	var missing []string // since the last one that is there
	begun := false
	s := clockwork{w.began.Add(tickUntil)}
	for tick := s.Next(w.began); !tick.IsZero(); tick = s.Next(tick) {
		id := tickName + "@" + tick.UTC().Format(time.RFC3339)
		row := w.rowOf(id)
		switch {
		case row != nil && row.Token() > 0:
			c.Rows[id], c.Ends[id] = history.Row{State: row.State, Token: row.Token()}, worker.StateSucceeded
			wrong, missing, begun = append(wrong, missing...), nil, true
		case begun:
			missing = append(missing, fmt.Sprintf("tick %s was not enqueued", id))
		}
	}
	if !begun {
		wrong = append(wrong, "no tick was enqueued")
	}
	return wrong
}
