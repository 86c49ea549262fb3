package history

import (
	"github.com/real-staging-ai/go-worker"
)

// accounted are plots about invariant 1 and the rows.
var accounted = []scene{
	{"all went well", func(*Checker) {}, ""},
	{"run, but never enqueued", func(c *Checker) { c.drop(accepts) }, "a ran it, but nobody enqueued it"},
	{"run, though its enqueue had failed", func(c *Checker) { c.Events[accepts].Result = ResultFailed }, "nobody enqueued it"},
	{"ended, but never enqueued", func(c *Checker) {
		c.drop(accepts, startsA, startsB, finishesB)
	}, "it has succeeded, but nobody enqueued it"},
	{"deleted, though its enqueue had failed", func(c *Checker) {
		c.delete()
		c.drop(startsA, endA)
		c.Events[accepts].Result = ResultFailed
	}, ""},
	{"left, but never enqueued", func(c *Checker) {
		c.Events, c.Rows = nil, nil
		c.keys("pending", "jobs")
	}, "it is left in pending, but nobody enqueued it"},
	{"an unknown enqueue that was executed", func(c *Checker) { c.Events[accepts].Result = ResultUnknown }, ""},
	{"an unknown enqueue that was not", func(c *Checker) {
		c.Events, c.Rows = c.Events[:1], map[string]Row{}
		c.Events[accepts].Result = ResultUnknown
	}, ""},
	{"an unknown enqueue that was executed, and lost", func(c *Checker) {
		c.leave()
		c.Events[accepts].Result, c.Rows = ResultUnknown, nil
	}, "its last run did not finish, and it is nowhere"},
	{"an unknown enqueue that was executed, and lost as Redis lost data", func(c *Checker) {
		c.leave()
		c.Events[accepts].Result, c.Announced, c.Rows = ResultUnknown, true, nil
		c.also(37, Event{Op: OpDataLost})
	}, ""},
	{"an unknown enqueue that was executed, and lost though there is a store", func(c *Checker) {
		c.leave()
		c.Events[accepts].Result, c.Rows = ResultUnknown, nil
		c.also(37, Event{Op: OpDataLost})
	}, "its last run did not finish, and it is nowhere"},
	{"never run", func(c *Checker) { c.Events, c.Rows = c.Events[:1], nil }, "it never ran, and is nowhere"},
	{"run to no end", func(c *Checker) { c.leave() }, "its last run did not finish, and it is nowhere"},
	{"run, but no end stored", func(c *Checker) { c.drop(ends) }, "it was never settled, and is nowhere"},
	{"lost by a requeue", func(c *Checker) {
		c.requeue(110)
		c.Events = c.Events[:sawEnd+2]
		c.Rows["j"] = Row{State: worker.StateQueued, Token: 110}
	}, "it was requeued, and is nowhere"},
	{"lost by a requeue of unknown token", func(c *Checker) {
		c.requeue(0)
		c.Events = c.Events[:sawEnd+2]
	}, "it was requeued, and is nowhere"},
	{"ended in silence", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.drop(ends)
	}, ""},
	{"silence of those who live", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.drop(startsA, endA, ends)
		c.Events[startsB].Crashes = 0
	}, "it was never settled, and is nowhere"},
	{"silence before the end", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.Events[finishesB].Outcome = OutcomeRetry
		c.drop(ends)
	}, "it was never settled, and is nowhere"},
	{"still running", func(c *Checker) { c.leave("inflight:b", "jobs") }, "it has not ended, and is left in inflight:b"},
	{"still running when the run was cut short", func(c *Checker) {
		c.Unfinished = true
		c.leave("inflight:b", "jobs")
	}, ""},
	{"ended, but still held", func(c *Checker) { c.keys("inflight:b", "jobs") }, "it has succeeded, but is left in inflight:b"},
	{"ended, but still waiting in the row of the dead", func(c *Checker) { c.keys("dead", "jobs") },
		"it has succeeded, but is among the dead"},
	{"ended otherwise", func(c *Checker) { c.Ends = map[string]worker.State{"j": worker.StateFailed} },
		"it ended as succeeded, not as failed"},
	{"in two places", func(c *Checker) {
		c.Unfinished = true
		c.leave("inflight:b", "pending", "jobs")
	}, "it is in inflight:b and pending at once"},
	{"twice in one", func(c *Checker) {
		c.Unfinished = true
		c.leave("pending", "jobs")
		c.Redis.Keys["pending"] = []string{"j", "j"}
	}, "it is in pending and pending at once"},
	{"in two places, one of them void", func(c *Checker) {
		c.Unfinished = true
		c.leave("inflight:b", "pending", "jobs", "void")
		c.Redis.Void = map[string]int{"j": 1}
	}, ""},
	{"without a body", func(c *Checker) {
		c.Unfinished = true
		c.leave("pending")
	}, "it is in pending without a body"},
	{"nothing but a body", func(c *Checker) { c.keys("jobs") }, "it is over, but is left in jobs"},
	{"failed", (*Checker).fail, ""},
	{"failed, but not kept", func(c *Checker) {
		c.fail()
		c.keys()
	}, "it failed, but is not among the dead"},
	{"something left", func(c *Checker) { c.keys("cancels") }, "it is over, but is left in cancels"},
	{"void left", func(c *Checker) { c.keys("void") }, "it is over, but is left in void"},
	{"checkpoint left", func(c *Checker) { c.keys("checkpoints") }, "it is over, but is left in checkpoints"},
	{"unique left", func(c *Checker) { c.keys("unique:x") }, "it is over, but is left in unique:x"},
	{"something left of a dead one", func(c *Checker) {
		c.fail()
		c.Redis.Keys["cancels"] = []string{"j"}
	}, "it is over, but is left in cancels"},
	{"no row", func(c *Checker) { delete(c.Rows, "j") }, "it has no row"},
	{"no rows at all", func(c *Checker) { c.Rows = nil }, ""},
	{"row goes on", func(c *Checker) { c.Rows["j"] = Row{State: worker.StateRunning} },
		"its row says running, but the queue does not know it"},
	{"row goes on, of an unknown enqueue", func(c *Checker) {
		c.Events, c.Rows["j"] = c.Events[:1], Row{State: worker.StateQueued}
		c.Events[accepts].Result = ResultUnknown
	}, ""},
	{"row goes on, though swept", func(c *Checker) {
		c.Events, c.Rows["j"] = c.Events[:1], Row{State: worker.StateQueued}
		c.Events[accepts].Result, c.Swept = ResultUnknown, true
	}, "its row says queued, but the queue does not know it"},
	{"row is final, but the job waits", func(c *Checker) { c.keys("pending", "jobs") },
		"its row says succeeded, but it is in pending"},
	{"row goes on, but the job is dead", func(c *Checker) {
		c.fail()
		c.Rows["j"] = Row{State: worker.StateRetrying}
	}, "its row says retrying, but it is dead"},
	{"row of another end", func(c *Checker) { c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 100} },
		"its row says succeeded under token 100, but it was stored as succeeded under token 101"},
	{"one of two entries void", func(c *Checker) {
		c.Unfinished = true
		c.leave("jobs", "void")
		c.Redis.Keys["pending"], c.Redis.Void = []string{"j", "j"}, map[string]int{"j": 1}
	}, ""},
	{"silence, though it is still held", func(c *Checker) {
		c.leave("inflight:b", "jobs")
		c.Announced, c.Rows = true, nil
		c.also(40, Event{Proc: "b", Op: OpFinish, Job: "j", Token: 101, Outcome: OutcomeSuccess})
	}, "it has not ended, and is left in inflight:b"},
	{"silence of one that finished, but nobody noted it", func(c *Checker) {
		c.leave()
		c.Announced, c.Rows = true, nil
		c.also(19, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, "its last run did not finish, and it is nowhere"},
	{"the same, but Redis lost data", func(c *Checker) {
		c.leave()
		c.Announced, c.Rows = true, nil
		c.also(19, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
		c.also(30, Event{Op: OpDataLost})
	}, ""},
	{"silence as Redis lost data", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.drop(startsA, endA, ends)
		c.Events[startsB].Crashes = 0
		c.also(30, Event{Op: OpDataLost})
	}, ""},
	{"failed, but Redis lost it", func(c *Checker) {
		c.fail()
		c.keys()
		c.also(50, Event{Op: OpDataLost})
	}, ""},
	{"dead, with a void entry to come", func(c *Checker) {
		c.fail()
		c.Unfinished = true
		c.keys("dead", "jobs", "pending", "void")
		c.Redis.Void = map[string]int{"j": 1}
	}, ""},
	{"ended, but held when the run was cut short", func(c *Checker) {
		c.Unfinished = true
		c.keys("inflight:b", "jobs")
	}, ""},
	{"a row that nobody asked for", func(c *Checker) {
		c.Events, c.Rows["j"] = nil, Row{State: worker.StateQueued}
	}, "its row says queued, but the queue does not know it"},
	{"a row of success among the dead", func(c *Checker) { c.keys("dead", "jobs") },
		"its row says succeeded, but it is in dead"},
	{"a row that went back", func(c *Checker) {
		c.Unfinished, c.Rows["j"] = true, Row{State: worker.StateRunning, Token: 102}
		c.keys("pending", "jobs")
	}, "its row says running, but it was stored as succeeded"},
	{"refused, with a row that says so", func(c *Checker) {
		c.Events, c.Rows["j"] = c.Events[:1], Row{State: worker.StateFailed}
		c.Events[accepts].Result = ResultFailed
		c.also(2, Event{Op: OpFinal, Job: "j", State: worker.StateFailed})
	}, ""},
}
