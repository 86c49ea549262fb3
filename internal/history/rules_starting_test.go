package history

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// started are plots about invariants 3, 4 and 9.
var started = []scene{
	{"ran again for no reason", func(c *Checker) { c.finishA(20, OutcomeSuccess) }, "b ran it again after a, for no reason"},
	{"ran again though it had failed for good", func(c *Checker) { c.finishA(20, OutcomeFailure) }, "for no reason"},
	{"ran again though nothing had happened to a", func(c *Checker) {
		c.drop(endA)
		c.Events[startsB].Crashes = 0
	}, "b ran it again after a, for no reason"},
	{"was given back", func(c *Checker) { c.finishA(20, OutcomeGiveBack) }, ""},
	{"snoozed", func(c *Checker) { c.finishA(20, OutcomeSnooze) }, ""},
	{"tried again", func(c *Checker) {
		c.finishA(20, OutcomeRetry)
		c.Events[startsB].Attempt = 2
	}, ""},
	{"a failure that was not counted", func(c *Checker) { c.finishA(20, OutcomeRetry) }, "which had failed"},
	{"a failure that nobody recorded", func(c *Checker) {
		c.also(19, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeRetry})
	}, ""},
	{"a give-back that was counted", func(c *Checker) {
		c.finishA(20, OutcomeGiveBack)
		c.Events[startsB].Attempt = 2
	}, "attempt 2 followed attempt 1, though no handler failed"},
	{"a crash that was counted", func(c *Checker) { c.Events[startsB].Attempt = 2 }, "attempt 2 followed attempt 1"},
	{"a first attempt that is the second", func(c *Checker) {
		c.Events[startsA].Attempt, c.Events[startsB].Attempt = 2, 2
	}, "its first run was attempt 2"},
	{"abandoned", func(c *Checker) {
		c.Events[endA] = Event{At: seconds(20), Proc: "a", Op: OpAbandon, Job: "j", Token: 100}
		c.Events[startsB].Crashes, c.Events[startsB].Attempt = 0, 2
	}, ""},
	{"given back while its handler ran on", func(c *Checker) {
		c.Events[endA] = Event{At: seconds(20), Proc: "a", Op: OpStop}
		c.Events[startsB].Crashes = 0
	}, ""},
	{"ran again though it had succeeded in one that was told to stop", func(c *Checker) {
		c.finishA(20, OutcomeSuccess)
		c.also(15, Event{Op: OpStop, Proc: "a"})
	}, "b ran it again after a, for no reason"},
	{"ran again before its worker died", func(c *Checker) {
		c.Events[endA].At, c.Events[startsB].Crashes = seconds(38), 0
	}, "b ran it again after a, for no reason"},
	{"ran again before its worker stood still", func(c *Checker) {
		c.pauseA(38, 60)
		c.Events[startsB].Crashes = 0
		c.also(39, Event{Proc: "a", Op: OpLost, Job: "j", Token: 100})
	}, "b ran it again after a, for no reason"},
	{"ran again before it was requeued", func(c *Checker) { c.requeue(130) }, "b ran it again after b, for no reason"},
	{"a failure that was forgotten as Redis lost data", func(c *Checker) {
		c.finishA(20, OutcomeRetry)
		c.also(25, Event{Op: OpDataLost})
	}, ""},
	{"attempts went back as Redis lost data", func(c *Checker) {
		c.finishA(12, OutcomeRetry)
		c.also(13, Event{Proc: "c", Op: OpStart, Job: "j", Token: 100, Attempt: 2, Sum: 7})
		c.also(14, Event{Proc: "c", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeRetry})
		c.Events[startsA].Token, c.Events[endA].Token = 99, 99
		c.also(25, Event{Op: OpDataLost})
	}, ""},
	{"a give-back counted though a failure was not", func(c *Checker) {
		c.finishA(20, OutcomeRetry)
		c.Events[startsB].Attempt = 3
	}, "attempt 3 followed attempt 1"},
	{"started long after it had stood still, and ran again, though times are not judged", func(c *Checker) {
		c.pauseA(1.5, 2.5)
		c.Timing, c.Notice, c.Events[startsB].Crashes = Timing{}, 3*time.Second, 0
		c.also(20, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
	}, "b ran it again after a, for no reason"},
	{"started soon after it had stood still, and ran again, though times are not judged", func(c *Checker) {
		c.pauseA(1.5, 8)
		c.Timing, c.Notice, c.Events[startsB].Crashes = Timing{}, 3*time.Second, 0
		c.also(20, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
	}, ""},
	{"started within the default lease of having stood still, and ran again", func(c *Checker) {
		c.pauseA(0.5, 1)
		c.Timing, c.Events[startsB].Crashes = Timing{}, 0
		c.also(20, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
	}, ""},
	{"ran again before Redis lost data", func(c *Checker) {
		c.finishA(20, OutcomeSuccess)
		c.also(36, Event{Op: OpDataLost})
	}, "b ran it again after a, for no reason"},
	{"attempts went back before Redis lost data", func(c *Checker) {
		c.finishA(20, OutcomeRetry)
		c.also(36, Event{Op: OpDataLost})
	}, "which had failed"},
	{"two at once", func(c *Checker) { c.finishA(36, OutcomeGiveBack) }, "b started it while a ran it"},
	{"one claim, two starts", func(c *Checker) { c.Events[startsA].Token = 101 }, "claim 101 was started by a and by b"},
	{"token went back", func(c *Checker) { c.Events[startsA].Token = 200 }, "token 101 came after 200"},
	{"token went back in one that stood still", func(c *Checker) {
		c.pauseA(5, 30)
		c.Events[startsA].At, c.Timing = seconds(36), Timing{}
		c.also(37, Event{Proc: "a", Op: OpLost, Job: "j", Token: 100})
	}, ""},
	{"token went back beside one that was left with an old master", func(c *Checker) {
		c.pauseA(5, 30)
		c.also(4, Event{Op: OpDataLost})
		c.Events[startsA].Token, c.Events[ends].Token = 200, 200
		c.also(39, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 200, Outcome: OutcomeSuccess})
		c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 200}
	}, ""},
	{"token went back beside one that stood still", func(c *Checker) {
		c.pauseA(5, 30)
		c.Events[startsA].Token = 200
	}, "token 101 came after 200"},
	{"other payload", func(c *Checker) { c.Events[startsB].Sum = 8 }, "its payload changed on the way"},
	{"in order", func(c *Checker) { c.second(45, 0) }, ""},
	{"out of order", func(c *Checker) { c.second(5, 0) }, "k, which was enqueued later, started before it"},
	{"out of order, as it was delayed", func(c *Checker) { c.second(5, seconds(5)) }, ""},
	{"taken over while another ran", func(c *Checker) { c.second(30, 0) }, ""},
	{"returned, but not first", func(c *Checker) {
		c.second(30, 0)
		c.finishA(20, OutcomeGiveBack)
	}, "it was returned to its queue, but k started first"},
	{"returned, and first", func(c *Checker) {
		c.second(50, 0)
		c.finishA(20, OutcomeGiveBack)
	}, ""},
	{"put off, and so not first", func(c *Checker) {
		c.second(30, 0)
		c.finishA(20, OutcomeSnooze)
	}, ""},
}

// second adds a job k, enqueued after j, that starts at a time; due, unless 0, is when it was to.
func (c *Checker) second(starts float64, due int64) {
	c.OneSlot, c.Rows["k"] = true, Row{State: worker.StateSucceeded, Token: 99}
	c.also(1.5, Event{Op: OpEnqueue, Job: "k", Result: ResultOK, Due: due})
	c.also(starts, Event{Op: OpStart, Proc: "c", Job: "k", Token: 99, Attempt: 1})
	c.also(starts+1, Event{Op: OpFinish, Proc: "c", Job: "k", Token: 99, Outcome: OutcomeSuccess})
	c.also(starts+2, Event{Op: OpFinal, Job: "k", Token: 99, State: worker.StateSucceeded})
}
