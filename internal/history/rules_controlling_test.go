package history

import (
	"time"

	"github.com/real-staging-ai/go-worker"
)

// controlled are plots about edits, deletes, calls to run now, and rounds.
var controlled = []scene{
	{"edited before it was tried again", func(c *Checker) { c.edit(100, 8) }, ""},
	{"edited twice, told in another order", func(c *Checker) {
		c.edit(100, 9)
		c.edit(95, 8)
		c.Events[startsB].Sum = 9
	}, ""},
	{"edited, and run as it was", func(c *Checker) {
		c.edit(100, 8)
		c.Events[startsB].Sum = 7
	}, "b ran it with a payload that it had no longer"},
	{"run as it was to be after an edit that came later", func(c *Checker) {
		c.edit(100, 8)
		c.Events[startsA].Sum = 8
	}, "its payload changed on the way"},
	{"an edit that was confirmed and never made", func(c *Checker) {
		c.edit(100, 8)
		c.also(22, Event{Op: OpEdit, Proc: "p", Job: "j", Sum: 9, Result: ResultOK})
	}, "p was told that it is edited, which it never was"},
	{"an edit that was confirmed before it was made", func(c *Checker) {
		c.edit(100, 8)
		c.Events[len(c.Events)-1].At = seconds(20)
	}, "p was told that it is edited, which it never was"},
	{"an edit that failed, and was made", func(c *Checker) {
		c.edit(100, 8)
		c.Events[len(c.Events)-1].Result = ResultFailed
	}, "p was told that it is not edited, which it was"},
	{"an edit that failed", func(c *Checker) {
		c.edit(100, 8)
		c.also(22, Event{Op: OpEdit, Proc: "p", Job: "j", Sum: 9, Result: ResultFailed})
	}, ""},
	{"an edit of unknown result that was made", func(c *Checker) {
		c.edit(100, 8)
		c.Events[len(c.Events)-1].Result = ResultUnknown
	}, ""},
	{"confirmed edits in a history that says nothing of those that were made", func(c *Checker) {
		c.also(22, Event{Op: OpEdit, Proc: "p", Job: "j", Sum: 7, Result: ResultOK})
	}, ""},
	{"a row without the edit", func(c *Checker) {
		c.edit(100, 8)
		c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 101, Sum: 7}
	}, "its row, succeeded under token 101, has another payload"},
	{"a row without an edit of unknown result", func(c *Checker) {
		c.edit(100, 8)
		c.Events[len(c.Events)-1].Result = ResultUnknown
		c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 101, Sum: 7}
	}, ""},
	{"a row of an end that the last edit came before", func(c *Checker) {
		c.edit(100, 8)
		c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 101, Sum: 8}
	}, ""},
	{"a row of before the edit", func(c *Checker) {
		c.Unfinished = true
		c.edit(100, 8)
		c.leave("pending", "jobs")
		c.drop(startsB)
		c.Rows["j"] = Row{State: worker.StateRetrying, Token: 90, Sum: 7}
	}, ""},

	{"deleted while it waited", func(c *Checker) { c.delete() }, ""},
	{"deleted when it was dead", func(c *Checker) {
		c.fail()
		c.keys()
		c.also(50, Event{Op: OpDelete, Proc: "p", Job: "j", Result: ResultOK})
	}, ""},
	{"deleted, perhaps, when it was dead", func(c *Checker) {
		c.fail()
		c.keys()
		c.also(50, Event{Op: OpDelete, Proc: "p", Job: "j", Result: ResultUnknown})
	}, ""},
	{"gone from the dead, though its delete failed", func(c *Checker) {
		c.fail()
		c.keys()
		c.also(50, Event{Op: OpDelete, Proc: "p", Job: "j", Result: ResultFailed})
	}, "it failed, but is not among the dead"},
	{"canceled, though its delete failed", func(c *Checker) {
		c.delete()
		c.Events[len(c.Events)-1].Result = ResultFailed
	}, "nothing led to canceled under token 102"},
	{"deleted, and started under an old claim", func(c *Checker) {
		c.delete()
		c.also(26, Event{Proc: "b", Op: OpStart, Job: "j", Token: 101, Attempt: 1, Sum: 7})
		c.also(27, Event{Proc: "b", Op: OpFinish, Job: "j", Token: 101, Outcome: OutcomeRetry})
	}, "b started it 1s after it was deleted"},
	{"deleted, and started under an old claim of one that had been cut off", func(c *Checker) {
		c.delete()
		c.also(15, Event{Proc: "b", Op: OpPause, Until: seconds(26)})
		c.also(26, Event{Proc: "b", Op: OpStart, Job: "j", Token: 101, Attempt: 1, Crashes: 1, Sum: 7})
		c.also(27, Event{Proc: "b", Op: OpFinish, Job: "j", Token: 101, Outcome: OutcomeLost})
	}, ""},
	{"deleted, perhaps, and started under an old claim", func(c *Checker) {
		c.delete()
		c.Events[len(c.Events)-1].Result = ResultUnknown
		c.also(26, Event{Proc: "b", Op: OpStart, Job: "j", Token: 101, Attempt: 1, Sum: 7})
		c.also(27, Event{Proc: "b", Op: OpFinish, Job: "j", Token: 101, Outcome: OutcomeRetry})
	}, ""},
	{"deleted while its enqueue was under way, and enqueued behind that", func(c *Checker) {
		c.delete()
		c.Events[accepts].At = seconds(26)
		c.keys("dead", "jobs", "history")
	}, ""},
	{"deleted, and left among the dead", func(c *Checker) {
		c.delete()
		c.keys("dead", "jobs", "history")
	}, "it was deleted, but is left in dead"},
	{"deleted, then requeued", func(c *Checker) { c.deleteAndRequeue(30) }, ""},
	{"requeued just before the delete was answered", func(c *Checker) { c.deleteAndRequeue(24.5) }, ""},
	{"deleted, and reopened by a requeue from before", func(c *Checker) { c.deleteAndRequeue(23.5) },
		"b started it 6s after it was deleted"},
	{"deleted, but kept among the dead", func(c *Checker) {
		c.delete()
		c.keys("dead", "jobs", "history")
	}, "it was deleted, but is left in dead"},
	{"deleted, but its key is kept", func(c *Checker) {
		c.delete()
		c.keys("unique:x")
	}, "it was deleted, but is left in unique:x"},
	{"deleted, and enqueued by a call that was late", func(c *Checker) {
		c.delete()
		c.keys("dead", "jobs", "history")
		c.also(0.5, Event{Op: OpEnqueue, Proc: "p", Job: "j", Result: ResultUnknown, Sum: 7})
	}, ""},
	{"deleted, but not over", func(c *Checker) {
		c.delete()
		c.Events[ends], c.Events[sawEnd] = Event{}, Event{}
		c.Rows["j"] = Row{State: worker.StateQueued}
	}, "it was deleted, but has not ended"},
	{"stopped by a delete that was refused as it ran", func(c *Checker) { c.refuse() },
		"p was told that it runs, and yet it was stopped"},
	{"stopped by a delete that was refused as it was claimed just then", func(c *Checker) {
		c.refuse()
		c.Events[len(c.Events)-1].Token = 0
	}, ""},
	{"stopped by a delete that was refused as it ran, and deleted then", func(c *Checker) {
		c.refuse()
		c.also(50, Event{Op: OpDelete, Proc: "p", Job: "j", Result: ResultOK})
	}, "p was told that it runs, and yet it was stopped"},
	{"stopped by a cancel after a delete that was refused", func(c *Checker) {
		c.refuse()
		c.also(37, Event{Proc: "p", Op: OpCancel, Job: "j", Result: ResultOK, State: worker.StateRunning})
	}, ""},

	{"made due, and run", func(c *Checker) {
		c.Events[accepts].Due = seconds(3600)
		c.also(9, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultOK})
	}, ""},
	{"made due, and deleted", func(c *Checker) {
		c.delete()
		c.Events[accepts].Due = seconds(3600)
		c.also(9, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultOK})
	}, ""},
	{"made due, and run at its time", func(c *Checker) {
		c.postpone()
		c.also(2, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultOK})
	}, "p made it due, and it waited on"},
	{"made due, perhaps, and run at its time", func(c *Checker) {
		c.postpone()
		c.also(2, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultUnknown})
	}, ""},
	{"made due shortly before its time", func(c *Checker) {
		c.postpone()
		c.also(580, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultOK})
	}, ""},
	{"made due as Redis was away until its time", func(c *Checker) {
		c.postpone()
		c.also(2, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultOK})
		c.also(3, Event{Op: OpOutage, Until: seconds(599)})
	}, ""},
	{"made due in a run that was cut short", func(c *Checker) {
		c.Unfinished = true
		c.postpone()
		c.also(2, Event{Proc: "p", Op: OpRunNow, Job: "j", Result: ResultOK})
	}, ""},

	{"a round that begins with a second attempt", func(c *Checker) {
		c.requeue(110)
		c.Events[sawEnd+2].Attempt = 2
	}, "a new round began with attempt 2"},
	{"a round of what could not be enqueued", func(c *Checker) {
		c.requeue(110)
		c.Events[accepts].Result = ResultFailed
		for i := startsA; i <= settles; i++ {
			c.drop(i)
		}
	}, ""},
	{"a round that begins with a second attempt as Redis lost data", func(c *Checker) {
		c.requeue(110)
		c.Events[sawEnd+2].Attempt = 2
		c.also(45, Event{Op: OpDataLost})
	}, ""},

	{"canceled, and ran on", func(c *Checker) { c.cancelB(36) }, "p was told that it is being stopped, and b ran it on"},
	{"canceled, and stopped just then", func(c *Checker) { c.cancelB(37) }, ""},
	{"canceled just before it started", func(c *Checker) { c.cancelB(34.9) }, ""},
	{"canceled, the answer late", func(c *Checker) { c.cancelB(40.1) }, ""},
	{"canceled, perhaps", func(c *Checker) {
		c.cancelB(36)
		c.Events[len(c.Events)-1].Result = ResultUnknown
	}, ""},
	{"canceled, and ran on, but times are not judged", func(c *Checker) {
		c.cancelB(36)
		c.Timing = Timing{Beat: time.Second}
	}, ""},
	{"canceled, and stopped late after an outage", func(c *Checker) {
		c.cancelB(36)
		c.also(36.5, Event{Op: OpOutage, Until: seconds(37)})
	}, ""},
	{"canceled, and stopped late after its worker had been cut off", func(c *Checker) {
		c.cancelB(36)
		c.also(35.5, Event{Op: OpOutage, Proc: "b", Until: seconds(36.5)})
	}, ""},
	{"canceled, and ran on while another was cut off", func(c *Checker) {
		c.cancelB(36)
		c.also(35.5, Event{Op: OpOutage, Proc: "c", Until: seconds(36.5)})
	}, "p was told that it is being stopped, and b ran it on"},
	{"canceled, and ran on after an outage that was over", func(c *Checker) {
		c.cancelB(36)
		c.also(35.1, Event{Op: OpOutage, Until: seconds(35.9)})
	}, "p was told that it is being stopped, and b ran it on"},
	{"canceled, as its worker stood still", func(c *Checker) {
		c.cancelB(36)
		c.also(35.5, Event{Op: OpPause, Proc: "b", Until: seconds(36.5)})
	}, ""},
	{"canceled in somebody else's hands, as its worker had stood still and didn't know", func(c *Checker) {
		c.cancelB(36)
		c.also(15, Event{Op: OpPause, Proc: "b", Until: seconds(34)})
	}, ""},
	{"canceled, as its worker died", func(c *Checker) {
		c.cancelB(36)
		c.also(36.5, Event{Op: OpEnd, Proc: "b"})
	}, ""},
	{"canceled, as its worker was told to stop", func(c *Checker) {
		c.cancelB(36)
		c.also(36.5, Event{Op: OpStop, Proc: "b"})
	}, ""},
	{"canceled, and given up", func(c *Checker) {
		c.cancelB(36)
		c.also(38, Event{Op: OpAbandon, Proc: "b", Job: "j", Token: 101})
	}, ""},
	{"canceled, and Redis lost that", func(c *Checker) {
		c.cancelB(36)
		c.also(36.5, Event{Op: OpDataLost})
	}, ""},
	{"canceled, as the run was cut short", func(c *Checker) {
		c.cancelB(36)
		c.leave("inflight:b", "jobs", "cancels")
		c.Unfinished = true
	}, ""},
	{"canceled in a round, and told in the next", func(c *Checker) { c.cancelSecond(45) }, ""},
	{"canceled in a second round, and ran on", func(c *Checker) { c.cancelSecond(51.2) },
		"p was told that it is being stopped, and b ran it on"},
}

// edit has j edited under a token from 91 to 100, between its two runs, and b run what came of it.
func (c *Checker) edit(token int64, sum uint32) {
	c.Events[startsA].Token = 90
	c.Events[startsB].Sum = sum
	c.also(21, Event{Op: OpEdited, Proc: "p", Job: "j", Token: token, Sum: sum})
	c.also(21, Event{Op: OpEdit, Proc: "p", Job: "j", Sum: sum, Result: ResultOK})
}

// delete makes j be given back by a, and deleted while it waits, before b gets it.
func (c *Checker) delete() {
	c.finishA(20, OutcomeGiveBack)
	c.drop(startsB, finishesB, settles)
	c.Events[ends] = Event{At: seconds(24), Proc: "p", Op: OpFinal, Job: "j", Token: 102, State: worker.StateCanceled}
	c.Events[sawEnd].State = worker.StateCanceled
	c.Rows["j"] = Row{State: worker.StateCanceled, Token: 102}
	c.also(25, Event{Op: OpDelete, Proc: "p", Job: "j", Result: ResultOK, Since: seconds(24)})
}

// deleteAndRequeue makes j be deleted, and run in another round that was opened at so many seconds.
func (c *Checker) deleteAndRequeue(at float64) {
	c.delete()
	c.also(at, Event{Proc: "p", Op: OpRequeue, Job: "j", Result: ResultOK, Token: 110})
	c.also(31, Event{Proc: "b", Op: OpStart, Job: "j", Token: 120, Attempt: 1, Sum: 7})
	c.also(32, Event{Proc: "b", Op: OpFinish, Job: "j", Token: 120, Outcome: OutcomeSuccess})
	c.also(33, Event{Proc: "s", Op: OpFinal, Job: "j", Token: 120, State: worker.StateSucceeded})
	c.also(54, Event{Proc: "v", Op: OpSeen, Job: "j", Version: 9, State: worker.StateSucceeded})
	c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 120}
}

// refuse makes j be stopped in b, after a delete that was told that b runs it.
func (c *Checker) refuse() {
	c.Events[finishesB].Outcome, c.Events[settles].Text = OutcomeCancel, "c"
	c.Events[ends].State, c.Events[sawEnd].State = worker.StateCanceled, worker.StateCanceled
	c.Rows["j"] = Row{State: worker.StateCanceled, Token: 101}
	c.also(36, Event{Op: OpDelete, Proc: "p", Job: "j", Token: 101, Result: ResultUnknown})
}

// postpone makes j due, and run, ten minutes later.
func (c *Checker) postpone() {
	for i := startsA; i < len(c.Events); i++ {
		c.Events[i].At += int64(10 * time.Minute)
	}
	c.Events[accepts].Due = seconds(600)
}

// cancelB makes a client cancel the job, which it is told at so many seconds, while b runs it until 40.
func (c *Checker) cancelB(told float64) {
	c.also(told, Event{Op: OpCancel, Proc: "p", Job: "j", Result: ResultOK, State: worker.StateRunning, Since: seconds(told - 0.1)})
}

// cancelSecond makes the job run a second time after a requeue at 50, from 51 to 56, and a client be told at 51.5 that it is
// being stopped: as an answer to a call from so many seconds on.
func (c *Checker) cancelSecond(since float64) {
	c.requeue(110)
	for i, at := range []float64{56, 57, 58} {
		c.Events[len(c.Events)-3+i].At = seconds(at)
	}
	c.also(51.5, Event{Op: OpCancel, Proc: "p", Job: "j", Result: ResultOK, State: worker.StateRunning, Since: seconds(since)})
}
