package history

// swept are plots about jobs that sweeps bring back.
var swept = []scene{
	{"swept after its enqueue was OK", func(c *Checker) {
		c.also(5, Event{Op: OpMissing, Proc: "b", Job: "j"})
	}, "the queue lost it after its enqueue was OK, and b enqueued it again"},
	{"swept after it was claimed, with an unknown enqueue", func(c *Checker) {
		c.Events[accepts].Result = ResultUnknown
		c.also(25, Event{Op: OpMissing, Proc: "b", Job: "j", Token: 100})
	}, "the queue lost it after claim 100, and b enqueued it again"},
	{"swept after an unknown enqueue", func(c *Checker) {
		c.Events[accepts].Result = ResultUnknown
		c.also(5, Event{Op: OpMissing, Proc: "b", Job: "j"})
	}, ""},
	{"swept between an unknown enqueue and one that was OK", func(c *Checker) {
		c.also(0.5, Event{Op: OpEnqueue, Proc: "p", Job: "j", Result: ResultUnknown, Sum: 7})
		c.also(0.7, Event{Op: OpMissing, Proc: "b", Job: "j"})
	}, ""},
	{"swept before Redis lost data", func(c *Checker) {
		c.also(5, Event{Op: OpMissing, Proc: "b", Job: "j"})
		c.also(6, Event{Op: OpDataLost})
	}, "the queue lost it after its enqueue was OK, and b enqueued it again"},
	{"swept as Redis had lost data", func(c *Checker) {
		c.also(4, Event{Op: OpDataLost})
		c.also(5, Event{Op: OpMissing, Proc: "b", Job: "j"})
	}, ""},
}
