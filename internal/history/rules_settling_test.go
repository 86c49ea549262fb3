package history

import (
	"github.com/real-staging-ai/go-worker"
)

// settled are plots about invariants 2 and 8.
var settled = []scene{
	{"settled again after a lost reply", func(c *Checker) { c.Events = append(c.Events, c.Events[settles]) }, ""},
	{"settled as two things", func(c *Checker) {
		c.also(44, Event{Proc: "b", Op: OpSettle, Job: "j", Token: 101, Text: "retry"})
	}, "its claim 101 was settled as complete by b and as retry by b"},
	{"settled by two", func(c *Checker) {
		c.also(44, Event{Proc: "a", Op: OpSettle, Job: "j", Token: 101, Text: "complete"})
	}, "its claim 101 was settled as complete by b and as complete by a"},
	{"stored twice though Redis lost data", func(c *Checker) {
		c.Events = append(c.Events, c.Events[ends], Event{Op: OpDataLost})
	}, "it was settled 2 times"},
	{"started after its stored end though Redis lost data", func(c *Checker) {
		c.Events[ends].Token = 100
		c.also(15, Event{Op: OpDataLost})
	}, "b started it after it had succeeded"},
	{"announced twice as Redis lost data", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.Events = append(c.Events, c.Events[ends], Event{Op: OpDataLost})
	}, ""},
	{"announced twice before Redis lost data", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.Events = append(c.Events, c.Events[ends])
		c.also(60, Event{Op: OpDataLost})
	}, "it was settled 2 times"},
	{"started after its announced end, before Redis lost data", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.Events[ends].Token = 100
		c.also(36, Event{Op: OpDataLost})
	}, "b started it after it had succeeded"},
	{"started after a success, though requeued", func(c *Checker) {
		c.requeue(110)
		c.Events[ends].State = worker.StateSucceeded
	}, "b started it after it had succeeded"},
	{"stored twice", func(c *Checker) { c.Events = append(c.Events, c.Events[ends]) }, "it was settled 2 times"},
	{"requeued", func(c *Checker) { c.requeue(110) }, ""},
	{"requeued, the token unknown", func(c *Checker) { c.requeue(0) }, ""},
	{"two rounds without a requeue", func(c *Checker) {
		c.requeue(110)
		c.drop(sawEnd + 1)
	}, "it was settled 2 times"},
	{"two ends of one round", func(c *Checker) { c.requeue(130) }, "it was settled 2 times"},
	{"more rounds than requeues", func(c *Checker) {
		c.requeue(0)
		c.Events[ends+0].State = worker.StateFailed
		c.also(45, Event{Proc: "s", Op: OpFinal, Job: "j", Token: 105, State: worker.StateFailed, Text: "job expired"})
	}, "it was settled 3 times in 2 rounds"},
	{"reopened after success", func(c *Checker) {
		c.requeue(110)
		c.Events[ends].State = worker.StateSucceeded
	}, "it was settled 2 times"},
	{"started after it had ended", func(c *Checker) { c.Events[ends].Token = 100 }, "b started it after it had succeeded"},
	{"lost data explain a second run", func(c *Checker) {
		c.Announced, c.Rows = true, nil
		c.also(15, Event{Op: OpDataLost})
		c.finishA(12, OutcomeSuccess)
		c.also(13, Event{Op: OpFinal, Job: "j", Token: 100, State: worker.StateSucceeded})
	}, ""},
	{"lost data explain no loss", func(c *Checker) {
		c.also(15, Event{Op: OpDataLost})
		c.leave()
		c.Announced, c.Rows = true, nil
	}, "its last run did not finish, and it is nowhere"},
	{"a success that no run had", func(c *Checker) { c.Events[finishesB].Outcome = OutcomeRetry },
		"nothing led to succeeded under token 101"},
	{"a failure that no run had", func(c *Checker) {
		c.fail()
		c.Events[finishesB].Outcome = OutcomeSuccess
	}, "nothing led to failed under token 101"},
	{"canceled for no reason", func(c *Checker) {
		c.fail()
		c.Events[finishesB].Outcome = OutcomeSuccess
		c.Events[ends].State = worker.StateCanceled
	}, "nothing led to canceled under token 101"},
	{"canceled", func(c *Checker) { c.cancel(worker.StateRunning) }, ""},
	{"canceled at once", func(c *Checker) { c.cancel(worker.StateCanceled) }, ""},
	{"canceled while it waited", func(c *Checker) {
		c.cancel(worker.StateCanceled)
		c.drop(startsA, startsB, finishesB, settles)
	}, ""},
	{"canceled while it waited, and nobody but the client said so", func(c *Checker) {
		c.cancel(worker.StateCanceled)
		c.drop(watches, startsA, endA, startsB, finishesB, ends, settles)
		c.Announced, c.Rows = true, nil
	}, ""},
	{"canceled by its handler", func(c *Checker) {
		c.cancel(worker.StateRunning)
		c.drop(len(c.Events) - 1)
		c.Events[finishesB].Outcome = OutcomeRetry
	}, ""},
	{"failed in its last attempt", func(c *Checker) {
		c.fail()
		c.Events[finishesB].Outcome = OutcomeRetry
	}, ""},
	{"failed, its handler abandoned", func(c *Checker) {
		c.fail()
		c.Events[finishesB] = Event{At: seconds(40), Proc: "b", Op: OpAbandon, Job: "j", Token: 101}
	}, ""},
	{"failed without a run after a death", func(c *Checker) {
		c.bury(0)
		c.Events[ends].Text = ""
	}, ""},
	{"failed without a run or a death", func(c *Checker) {
		c.bury(0)
		c.drop(startsA, endA)
		c.Events[ends].Text = ""
	}, "nothing led to failed under token 101"},
	{"failed in a run after a crash", func(c *Checker) {
		c.fail()
		c.Events[ends].Crashes = 1
	}, ""},
	{"a cancel came to nothing", func(c *Checker) {
		c.also(36, Event{Proc: "p", Op: OpCancel, Job: "j", Result: ResultOK, State: worker.StateCanceled})
	}, "a client was told that it is canceled, which it never was"},
	{"a cancel came too late", func(c *Checker) {
		c.also(36, Event{Proc: "p", Op: OpCancel, Job: "j", Result: ResultOK, State: worker.StateSucceeded})
	}, ""},
	{"poison runs on", func(c *Checker) { c.MaxCrashes = 1 }, "it was started after it had taken down 1 workers"},
	{"buried", func(c *Checker) { c.bury(3) }, ""},
	{"buried early", func(c *Checker) { c.bury(2) }, "it failed after it had taken down 2 workers"},
	{"buried early, as the cap says", func(c *Checker) {
		c.bury(2)
		c.MaxCrashes = 2
	}, ""},
	{"buried for something else", func(c *Checker) {
		c.bury(2)
		c.Events[ends].Text = "job expired"
	}, ""},
}

// cancel makes a client cancel the job, which answers so, and ends it.
func (c *Checker) cancel(answer worker.State) {
	c.fail()
	c.also(38, Event{Proc: "p", Op: OpCancel, Job: "j", Result: ResultOK, State: answer})
	c.Events[finishesB].Outcome = OutcomeCancel
	c.Events[ends].State, c.Events[sawEnd].State = worker.StateCanceled, worker.StateCanceled
	c.Rows["j"] = Row{State: worker.StateCanceled, Token: 101}
}

// bury makes the job fail without a second run, after so many crashes.
func (c *Checker) bury(crashes int) {
	c.fail()
	c.drop(startsB, finishesB)
	c.Events[ends].Crashes, c.Events[ends].Text = crashes, worker.ErrCrashLoop.Error()
}
