package history

import (
	"fmt"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// recovered are plots about invariants 5, 6 and 7.
var recovered = []scene{
	{"a lost claim that was found", func(c *Checker) {
		c.also(4, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 100})
	}, ""},
	{"a lost claim that was found late", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 100})
	}, "its claim's reply was lost, and it started 8s later"},
	{"a lost claim that went back in time, to start late", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 90})
		c.also(4, Event{Op: OpSettle, Proc: "a", Job: "j", Token: 90, Text: "release"})
	}, ""},
	{"a lost claim whose job was claimed again and put back in time, to start late", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 90})
		c.also(4, Event{Op: OpSettle, Proc: "b", Job: "j", Token: 95, Text: "release"})
	}, ""},
	{"a lost claim that an earlier one had come before", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 90})
		c.also(4, Event{Op: OpSettle, Proc: "b", Job: "j", Token: 85, Text: "release"})
	}, "its claim's reply was lost, and it started 8s later"},
	{"a lost claim that went back late", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 90})
		c.also(9.9, Event{Op: OpSettle, Proc: "a", Job: "j", Token: 90, Text: "release"})
	}, "its claim's reply was lost, and it started 8s later"},
	{"a lost claim that was found late after an outage", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 100})
		c.also(3, Event{Op: OpOutage, Until: seconds(7)})
	}, ""},
	{"a lost claim that was found late, but times are not judged", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 100})
		c.Timing = Timing{Beat: time.Second}
	}, ""},
	{"a lost claim that was found late, long after an outage", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "a", Job: "j", Token: 100})
		c.also(0.5, Event{Op: OpOutage, Until: seconds(1)})
	}, "its claim's reply was lost, and it started 8s later"},
	{"a lost claim of one that died", func(c *Checker) {
		c.also(2, Event{Op: OpClaimLost, Proc: "c", Job: "j", Token: 90})
		c.also(5, Event{Op: OpEnd, Proc: "c"})
		c.Timing.Lease = 5 * time.Second
		c.also(34, Event{Op: OpOutage, Until: seconds(35)})
		c.also(29, Event{Op: OpOutage, Until: seconds(30)})
	}, ""},
	{"recovered late, but it had ended in the moment of the death", func(c *Checker) {
		c.Timing.Lease = 5 * time.Second
		c.also(20, Event{Op: OpFinish, Proc: "a", Job: "j", Token: 100, Outcome: OutcomeSnooze})
	}, ""},
	{"recovered late", func(c *Checker) { c.Timing.Lease = 5 * time.Second }, "its worker died, and it started again 15s later"},
	{"recovered late, as others died", func(c *Checker) {
		c.Timing.Lease = 5 * time.Second
		c.also(26, Event{Op: OpEnd, Proc: "c"})
	}, ""},
	{"recovered late, as it was put off meanwhile", func(c *Checker) {
		c.Timing.Lease = 5 * time.Second
		c.also(25, Event{Op: OpEnqueue, Proc: "p", Job: "j", Result: ResultOK, Sum: 7, Due: seconds(34)})
	}, ""},
	{"recovered late, as it was put off for a moment, where all slots may be taken", func(c *Checker) {
		c.Timing.Lease, c.Timing.Busy = 5*time.Second, true
		c.also(21, Event{Op: OpEnqueue, Proc: "p", Job: "j", Result: ResultOK, Sum: 7, Due: seconds(22)})
		c.also(30, Event{Op: OpEnqueue, Proc: "p", Job: "k", Result: ResultOK})
		c.also(33.2, Event{Op: OpStart, Proc: "b", Job: "k", Token: 90, Attempt: 1})
		c.also(33.4, Event{Op: OpFinish, Proc: "b", Job: "k", Token: 90, Outcome: OutcomeSuccess})
		c.also(33.6, Event{Op: OpFinal, Proc: "b", Job: "k", Token: 90, State: worker.StateSucceeded})
		c.Rows["k"] = Row{State: worker.StateSucceeded, Token: 90}
	}, ""},
	{"recovered late, though it was put off for a moment", func(c *Checker) {
		c.Timing.Lease = 5 * time.Second
		c.also(21, Event{Op: OpEnqueue, Proc: "p", Job: "j", Result: ResultOK, Sum: 7, Due: seconds(22)})
	}, "its worker died, and it started again 15s later"},
	{"recovered late, a suspect", func(c *Checker) {
		c.Timing.Lease, c.Events[startsB].Crashes = 5*time.Second, 2
		c.also(0.5, Event{Op: OpEnd, Proc: "c"})
	}, ""},
	{"recovered late, but times are not judged", func(c *Checker) { c.Timing = Timing{Beat: time.Second} }, ""},
	{"recovered late, as all slots were taken", func(c *Checker) { c.Timing.Lease, c.Timing.Busy = 5*time.Second, true }, ""},
	{"recovered late, though a slot was free", func(c *Checker) {
		c.Timing.Lease, c.Timing.Busy = 5*time.Second, true
		c.another(32, 0)
	}, "its worker died, and it started again 15s later"},
	{"recovered late, as a slot was free before and after", func(c *Checker) {
		c.Timing.Lease, c.Timing.Busy = 5*time.Second, true
		c.another(29, 0)
		c.another(36, 0)
	}, ""},
	{"recovered late, as others of its worker came first", func(c *Checker) {
		c.Timing.Lease, c.Timing.Busy = 5*time.Second, true
		c.another(32, 1)
		c.also(15, Event{Op: OpStart, Proc: "a", Job: "k32", Token: 102, Attempt: 1})
	}, ""},
	{"recovered late, as the slot that was free was cut off", func(c *Checker) {
		c.Timing.Lease, c.Timing.Busy = 5*time.Second, true
		c.another(32, 0)
		c.also(32.5, Event{Op: OpOutage, Proc: "b", Until: seconds(33)})
	}, ""},
	{"recovered early", func(c *Checker) { c.Events[startsB].At = seconds(31) }, "b started it only 11s after a had died"},
	{"recovered early, as it had been cut off", func(c *Checker) {
		c.Events[startsB].At = seconds(31)
		c.also(15, Event{Op: OpOutage, Proc: "a", Until: seconds(20)})
	}, ""},
	{"recovered early, as Redis's clock went ahead after it had died", func(c *Checker) {
		c.Events[startsB].At = seconds(31)
		c.also(25, Event{Op: OpOutage, Until: seconds(26)})
	}, ""},
	{"recovered early, after another had stood still", func(c *Checker) {
		c.Events[startsB].At = seconds(31)
		c.also(15, Event{Op: OpPause, Proc: "c", Until: seconds(16)})
	}, "b started it only 11s after a had died"},
	{"recovered early, as Redis had lost data", func(c *Checker) {
		c.Events[startsB].At = seconds(31)
		c.also(15, Event{Op: OpDataLost})
	}, ""},
	{"recovered early, before Redis lost data", func(c *Checker) {
		c.Events[startsB].At = seconds(31)
		c.also(32, Event{Op: OpDataLost})
	}, "b started it only 11s after a had died"},
	{"died after it had failed", func(c *Checker) {
		c.also(15, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeRetry})
		c.Events[startsB].At, c.Events[startsB].Attempt, c.Events[startsB].Crashes = seconds(21), 2, 0
	}, ""},
	{"died after it had given back", func(c *Checker) {
		c.also(15, Event{Proc: "a", Op: OpStop})
		c.Events[startsB].At, c.Events[startsB].Crashes = seconds(21), 0
	}, ""},
	{"its death told twice", func(c *Checker) { c.also(33, Event{Op: OpEnd, Proc: "a"}) }, ""},
	{"a death told twice is one", func(c *Checker) {
		c.also(33, Event{Op: OpEnd, Proc: "a"})
		c.Events[startsB].Crashes = 2
	}, "it counts 2 crashes after 1 deaths"},
	{"too many crashes", func(c *Checker) { c.Events[startsB].Crashes = 2 }, "it counts 2 crashes after 1 deaths"},
	{"robbed", func(c *Checker) { c.drop(endA) }, "it counts 1 crashes after 0 deaths"},
	{"stood still, and gave up", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(39, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
	}, ""},
	{"stood still, and saw its lease lost", func(c *Checker) {
		c.pauseA(20, 0)
		c.also(38, Event{Proc: "a", Op: OpResume})
		c.also(39, Event{Proc: "a", Op: OpLost, Job: "j", Token: 100})
	}, ""},
	{"cut off, and finished before it knew", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(39, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, ""},
	{"stood still, and gave up slowly", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(60, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
	}, ""},
	{"stood still, and its handler was abandoned", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(45, Event{Proc: "a", Op: OpAbandon, Job: "j", Token: 100})
	}, ""},
	{"stood still, and then died", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(39, Event{Op: OpEnd, Proc: "a"})
	}, ""},
	{"stood still, and then was told to stop", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(39, Event{Op: OpStop, Proc: "a"})
	}, ""},
	{"stood still, and finished before it was taken", func(c *Checker) {
		c.pauseA(5, 8)
		c.also(34, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, ""},
	{"stood still until it went on, and ran on", func(c *Checker) {
		c.pauseA(20, 0)
		c.also(38, Event{Proc: "a", Op: OpResume})
		c.also(60, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, "a ran it to its end, though b had it"},
	{"stood still twice, and ran on", func(c *Checker) {
		c.pauseA(20, 30)
		c.also(50, Event{Proc: "a", Op: OpPause, Until: seconds(60)})
		c.also(61, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, "a ran it to its end, though b had it"},
	{"stood still, and ran on as Redis lost data", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(15, Event{Op: OpDataLost})
		c.also(60, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, ""},
	{"stood still, and ran on before Redis lost data", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(37, Event{Op: OpDataLost})
		c.also(60, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, "a ran it to its end, though b had it"},
	{"stood still, and never gave up", func(c *Checker) { c.pauseA(20, 38) }, "a never stopped it, though b had it"},
	{"stood still, and ran on", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(60, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
	}, "a ran it to its end, though b had it"},
	{"stood still before it began", func(c *Checker) {
		c.pauseA(1.5, 2.5)
		c.also(39, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
	}, "b ran it again after a, for no reason"},
	{"stood still, and recorded", func(c *Checker) {
		c.pauseA(20, 38)
		c.also(39, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSuccess})
		c.also(40, Event{Proc: "s", Op: OpFinal, Job: "j", Token: 100, State: worker.StateSucceeded})
	}, "a made it succeeded, though b had it"},
}

// another makes another job start at so many seconds, after so many crashes, and succeed.
func (c *Checker) another(at float64, crashes int) {
	id, token := fmt.Sprintf("k%v", at), 200+int64(at)
	c.also(2, Event{Op: OpEnqueue, Proc: "p", Job: id, Result: ResultOK})
	c.also(at, Event{Op: OpStart, Proc: "c", Job: id, Token: token, Attempt: 1, Crashes: crashes})
	c.also(at+0.1, Event{Op: OpFinish, Proc: "c", Job: id, Token: token, Outcome: OutcomeSuccess})
	c.also(at+0.2, Event{Op: OpFinal, Proc: "s", Job: id, Token: token, State: worker.StateSucceeded})
	c.Rows[id] = Row{State: worker.StateSucceeded, Token: token}
}
