package history

import "time"

// paused are plots about pauses of queues. b claims the job at 34, unless it is said, and starts it at 35.
var paused = []scene{
	{"claimed while its queue was paused", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.resumeQueue(40)
	}, "b claimed it 4s after its queue was paused"},
	{"claimed while its queue was paused for ever", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
	}, "b claimed it 4s after its queue was paused"},
	{"claimed just before its queue was paused, and started meanwhile", func(c *Checker) {
		c.claimB(29.9)
		c.pauseQueue(30)
		c.resumeQueue(40)
	}, ""},
	{"claimed as its queue was paused, with many others", func(c *Checker) {
		c.claimB(30.01)
		c.pauseQueue(30)
		c.resumeQueue(40)
	}, ""},
	{"claimed while the call that paused its queue was under way", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(34.5)
	}, ""},
	{"claimed while the call that ended the pause was under way", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.resumeQueue(34.5)
	}, ""},
	{"claimed in the millisecond in which that call began", func(c *Checker) {
		c.claimB(33.5)
		c.pauseQueue(30)
		c.resumeQueue(34.5004)
	}, ""},
	{"claimed just before that call", func(c *Checker) {
		c.claimB(33.4)
		c.pauseQueue(30)
		c.resumeQueue(34.5)
	}, "b claimed it 3.4s after its queue was paused"},
	{"claimed after the end of the first of two pauses, which ended both", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(20)
		c.pauseQueue(25)
		c.resumeQueue(30)
		c.resumeQueue(40)
	}, ""},
	{"claimed in a second pause", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(20)
		c.resumeQueue(25)
		c.pauseQueue(30)
		c.resumeQueue(40)
	}, "b claimed it 4s after its queue was paused"},
	{"claimed in a pause that may have ended", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.also(25, Event{Op: OpResumeQueue, Result: ResultUnknown, Since: seconds(20)})
	}, ""},
	{"claimed in a pause whose end failed", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.also(33, Event{Op: OpResumeQueue, Result: ResultFailed, Since: seconds(32)})
	}, "b claimed it 4s after its queue was paused"},
	{"claimed after its queue was paused, perhaps", func(c *Checker) {
		c.claimB(34)
		c.also(30, Event{Op: OpPauseQueue, Result: ResultUnknown, Since: seconds(29)})
	}, ""},
	{"claimed while another queue was paused", func(c *Checker) {
		c.claimB(34)
		c.also(30, Event{Op: OpPauseQueue, Result: ResultOK, Since: seconds(29), Queue: "other"})
	}, ""},
	{"claimed while its queue was paused, and the reply was lost", func(c *Checker) {
		c.claimB(38)
		c.pauseQueue(30)
		c.resumeQueue(36)
		c.also(34, Event{Op: OpClaimLost, Proc: "c", Job: "j", Token: tokenAt(34)})
	}, "c claimed it 4s after its queue was paused"},
	{"claimed in a pause, by a clock that had been moved", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.also(10, Event{Op: OpClockMoved})
	}, ""},
	{"claimed in a pause, before the clock was moved", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.also(36, Event{Op: OpClockMoved})
	}, "b claimed it 4s after its queue was paused"},
	{"claimed in a pause that Redis lost", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.also(32, Event{Op: OpDataLost})
	}, ""},
	{"claimed in a pause, but times are not judged", func(c *Checker) {
		c.claimB(34)
		c.pauseQueue(30)
		c.Timing = Timing{Beat: time.Second}
	}, ""},
}

// tokenAt is the first token of so many seconds by Redis's clock.
func tokenAt(at float64) int64 { return int64(at*1000) * TokensPerMilli }

// claimB makes b claim the job at so many seconds.
func (c *Checker) claimB(at float64) {
	row := c.Rows["j"]
	row.Token = tokenAt(at)
	for _, i := range []int{startsB, finishesB, ends, settles} {
		c.Events[i].Token = row.Token
	}
	c.Rows["j"] = row
}

// pauseQueue makes somebody pause the queue, which takes a second until so many seconds.
func (c *Checker) pauseQueue(at float64) {
	c.also(at, Event{Op: OpPauseQueue, Result: ResultOK, Since: seconds(at - 1)})
}

// resumeQueue makes somebody end the pause, which takes a second until so many seconds.
func (c *Checker) resumeQueue(at float64) {
	c.also(at, Event{Op: OpResumeQueue, Result: ResultOK, Since: seconds(at - 1)})
}
