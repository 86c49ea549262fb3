package history

// viewed are plots about invariant 14.
var viewed = []scene{
	{"seen twice", func(c *Checker) { c.Events = append(c.Events, c.Events[sawEnd]) }, ""},
	{"seen backwards", func(c *Checker) { c.Events[sawRun].Version = 3 }, "v saw succeeded after running, which is later"},
	{"the end is not seen", func(c *Checker) { c.drop(sawEnd) }, "v saw it as running last, not as succeeded"},
	{"nothing is seen", func(c *Checker) { c.drop(sawRun, sawEnd) }, "v saw nothing of it"},
	{"went away", func(c *Checker) {
		c.drop(sawEnd)
		c.also(30, Event{Op: OpEnd, Proc: "v"})
	}, ""},
	{"seen without a store", func(c *Checker) { c.Rows = nil }, ""},
	{"the end is not seen without a store", func(c *Checker) {
		c.Rows = nil
		c.drop(sawEnd)
	}, "v saw it as running last, not as succeeded"},
}
