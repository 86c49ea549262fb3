package simulation

import (
	"context"
	"encoding/json"
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
	w.scribe.Write(history.Event{Proc: p.name, Op: history.OpEnqueue, Job: idOfTick(tick), Result: history.ResultUnknown,
		Sum: history.Sum(payload)})
	return do
}

// idOfTick is the id of a tick's job.
func idOfTick(tick time.Time) string { return tickName + "@" + tick.UTC().Format(time.RFC3339) }

// unfinishedTicks returns the ids of the jobs of ticks that are not at rest by the store, and of those that are yet to come: no
// simulation ends before its schedule.
func (w *world) unfinishedTicks() (ids []string) {
	_, ids = w.ticks()
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

// ticks returns the rows of the ticks that somebody made a job of, which then ran, and the ids of those that nobody did: from
// the first one to the last of the schedule each must have its own, whoever died. The first is the one after a worker reached
// Redis; where no tick has come the last one is missing.
func (w *world) ticks() (came []*worker.Status, missing []string) {
	if !w.plan.ticking {
		return nil, nil
	}
	s, last := clockwork{w.began.Add(tickUntil)}, ""
	for tick := s.Next(w.began); !tick.IsZero(); tick = s.Next(tick) {
		last = idOfTick(tick)
		if row := w.rowOf(last); row != nil && row.Token() > 0 {
			came = append(came, row)
		} else if len(came) > 0 {
			missing = append(missing, last)
		}
	}
	if len(came) == 0 {
		missing = append(missing, last)
	}
	return came, missing
}

// judgeTicks tells the checker of the jobs of ticks, and returns what is wrong: a tick that nobody made a job of.
func (w *world) judgeTicks(c *history.Checker) (wrong []string) {
	came, missing := w.ticks()
	for _, row := range came {
		c.Rows[row.JobID], c.Ends[row.JobID] = history.Row{State: row.State, Token: row.Token()}, worker.StateSucceeded
	}
	for _, id := range missing {
		wrong = append(wrong, id+" was not enqueued")
	}
	return wrong
}
