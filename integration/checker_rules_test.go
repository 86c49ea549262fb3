package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// story is a run in which all went well: j was run by a, which was killed, then by b.
func story() *checker {
	return &checker{
		accepted: map[string]expectation{"j": {sum: 7, ends: worker.StateSucceeded}},
		events: []event{
			{At: 10, Proc: "a", Op: opStart, Job: "j", Token: 100, Attempt: 1, Sum: 7},
			{At: 20, Proc: "a", Op: opEnd},
			{At: 30, Proc: "b", Op: opStart, Job: "j", Token: 101, Attempt: 1, Crashes: 1, Sum: 7},
			{At: 40, Proc: "b", Op: opFinish, Job: "j", Token: 101},
			{At: 50, Proc: "b", Op: opFinal, Job: "j", Token: 101, Text: "succeeded"},
		},
	}
}

// Where the events of a story stand.
const (
	firstStart = iota
	firstEnd
	secondStart
	secondFinish
	final
)

func (c *checker) without(i int) { c.events = slices.Delete(c.events, i, i+1) }

// A history that breaks one promise is told from one that keeps all.
func TestCheckerFindsEachViolation(t *testing.T) {
	for _, c := range []struct {
		name    string
		ruin    func(*checker)
		finding string // nothing is wrong when empty
	}{
		{"all went well", func(*checker) {}, ""},
		{"unknown job", func(c *checker) { delete(c.accepted, "j") }, "nobody enqueued it"},
		{"never run", func(c *checker) { c.events = c.events[firstEnd : firstEnd+1] }, "it never ran"},
		{"still running", func(c *checker) { c.without(secondFinish) }, "its last run did not succeed"},
		{"ended in an error", func(c *checker) { c.events[secondFinish].Text = "oh" }, "its last run did not succeed"},
		{"failed", func(c *checker) { c.events[final].Text = "failed" }, "it ended as failed, not as succeeded"},
		{"settled twice", func(c *checker) { c.events = append(c.events, c.events[final]) }, "it was settled 2 times"},
		{"settled in silence by one that died", func(c *checker) { c.without(final) }, ""},
		{"not settled in the store", func(c *checker) {
			c.stored = true
			c.without(final)
		}, "it was never settled"},
		{"started after it had ended", func(c *checker) { c.events[final].Token = 100 },
			"b started it after it had succeeded"},
		{"ran again for no reason", func(c *checker) {
			c.events[firstEnd] = event{At: 20, Proc: "a", Op: opFinish, Job: "j", Token: 100}
		}, "b ran it again after a, for no reason"},
		{"ran again as it was given back", func(c *checker) {
			shut := worker.ErrShutdown.Error()
			c.events[firstEnd] = event{At: 20, Proc: "a", Op: opFinish, Job: "j", Token: 100, Text: shut}
			c.events[secondStart].Crashes = 0
		}, ""},
		{"two at once", func(c *checker) { c.events[firstEnd].At = 35 }, "b started it while a ran it"},
		{"two at once, one of them cut off", func(c *checker) { c.events[firstEnd].Op = opPause }, ""},
		{"token went back", func(c *checker) { c.events[firstStart].Token = 200 }, "token 101 came after 200"},
		{"too many crashes", func(c *checker) { c.events[secondStart].Crashes = 2 }, "it counts 2 crashes after 1 deaths"},
		{"robbed", func(c *checker) { c.without(firstEnd) }, "it counts 1 crashes after 0 deaths"},
		{"attempt burnt", func(c *checker) { c.events[secondStart].Attempt = 2 }, "attempt 2 began"},
		{"other payload", func(c *checker) { c.events[secondStart].Sum = 8 }, "its payload changed on the way"},
		{"left in Redis", func(c *checker) { c.left = map[string][]string{"jobs": {"j"}} }, "is left in jobs"},
		{"left with a worker", func(c *checker) { c.left = map[string][]string{"inflight:x": {"j"}} },
			"is left in inflight:x"},
		{"lost data explain a second run", func(c *checker) {
			c.lossy = true
			c.events[firstEnd] = event{At: 20, Proc: "a", Op: opFinish, Job: "j", Token: 100}
			c.events[secondStart].Crashes = 0
			c.events = append(c.events, c.events[final])
		}, ""},
		{"a job that may be lost", func(c *checker) {
			c.forgive("j")
			c.events = nil
		}, ""},
		{"lost data explain no loss", func(c *checker) {
			c.lossy = true
			c.without(secondFinish)
		}, "no run succeeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checked := story()
			c.ruin(checked)
			found := checked.violations()
			if c.finding == "" {
				require.Empty(t, found)
				return
			}
			require.True(t, slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, c.finding) }), "%q", found)
		})
	}
}

// A job that is to fail must lie among the dead with its body.
func TestCheckerWantsTheDeadKept(t *testing.T) {
	c := &checker{
		accepted: map[string]expectation{"j": {ends: worker.StateFailed}},
		events:   []event{{Op: opFinal, Job: "j", Text: "failed"}},
		left:     map[string][]string{"dead": {"j"}, "jobs": {"j"}, "history": {"j"}},
	}
	require.Empty(t, c.violations())
	c.left = map[string][]string{"dead": {"j"}}
	require.Equal(t, []string{"job j: it failed, but is not in jobs"}, c.violations())
	c.left = map[string][]string{"dead": {"j", "k"}, "jobs": {"j"}}
	require.Equal(t, []string{"job k: is left in dead"}, c.violations())
	c.events[0].Text = "succeeded"
	require.Contains(t, c.violations()[0], "it ended as succeeded, not as failed")
}
