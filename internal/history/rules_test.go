package history

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// plot is a run in which all went well, to be spoiled: j was run by a, which died, then by b, and a viewer saw it end. All
// times are in seconds.
func plot() *Checker {
	c := &Checker{
		Rows:   map[string]Row{"j": {State: worker.StateSucceeded, Token: 101}},
		Timing: Timing{Lease: 10 * time.Second, Tolerance: time.Second},
		Events: []Event{
			{At: 1, Proc: "p", Op: OpEnqueue, Job: "j", Result: ResultOK, Sum: 7},
			{At: 2, Proc: "v", Op: OpWatch, Job: "j"},
			{At: 10, Proc: "a", Op: OpStart, Job: "j", Token: 100, Attempt: 1, Sum: 7},
			{At: 11, Proc: "v", Op: OpSeen, Job: "j", State: worker.StateRunning, Version: 1},
			{At: 20, Proc: "a", Op: OpEnd},
			{At: 35, Proc: "b", Op: OpStart, Job: "j", Token: 101, Attempt: 1, Crashes: 1, Sum: 7},
			{At: 40, Proc: "b", Op: OpFinish, Job: "j", Token: 101, Outcome: OutcomeSuccess},
			{At: 41, Proc: "s", Op: OpFinal, Job: "j", Token: 101, State: worker.StateSucceeded},
			{At: 42, Proc: "b", Op: OpSettle, Job: "j", Token: 101, Text: "complete"},
			{At: 43, Proc: "v", Op: OpSeen, Job: "j", State: worker.StateSucceeded, Version: 2},
		},
	}
	for i := range c.Events {
		c.Events[i].At *= int64(time.Second)
	}
	return c
}

// Where the events of a plot stand.
const (
	accepts = iota
	watches
	startsA
	sawRun
	endA
	startsB
	finishesB
	ends
	settles
	sawEnd
)

func seconds(n float64) int64 { return int64(n * float64(time.Second)) }

// also adds an event at so many seconds.
func (c *Checker) also(at float64, e Event) {
	e.At = seconds(at)
	c.Events = append(c.Events, e)
}

// drop makes events not have happened.
func (c *Checker) drop(which ...int) {
	for _, i := range which {
		c.Events[i] = Event{}
	}
}

// finishA makes a's run end at so many seconds, and a live on.
func (c *Checker) finishA(at float64, o Outcome) {
	c.Events[endA] = Event{At: seconds(at), Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: o}
	c.Events[startsB].Crashes = 0
}

// pauseA makes a stand still instead of dying, for so many seconds.
func (c *Checker) pauseA(from, until float64) {
	c.Events[endA] = Event{At: seconds(from), Proc: "a", Op: OpPause, Until: seconds(until)}
}

// fail makes the job fail for good, and be kept among the dead.
func (c *Checker) fail() {
	c.Events[finishesB].Outcome = OutcomeFailure
	c.Events[ends].State, c.Events[sawEnd].State = worker.StateFailed, worker.StateFailed
	c.Rows["j"] = Row{State: worker.StateFailed, Token: 101}
	c.keys("dead", "jobs", "history")
}

// keys makes Redis hold the job in some keys.
func (c *Checker) keys(names ...string) {
	c.Redis.Keys = make(map[string][]string)
	for _, name := range names {
		c.Redis.Keys[name] = []string{"j"}
	}
}

// requeue makes the job fail, and succeed in a second round under token 120; with token 0 the requeue's isn't known.
func (c *Checker) requeue(token int64) {
	c.fail()
	c.Redis.Keys = nil
	c.also(50, Event{Proc: "p", Op: OpRequeue, Job: "j", Result: ResultOK, Token: token})
	c.also(51, Event{Proc: "b", Op: OpStart, Job: "j", Token: 120, Attempt: 1, Sum: 7})
	c.also(52, Event{Proc: "b", Op: OpFinish, Job: "j", Token: 120, Outcome: OutcomeSuccess})
	c.also(53, Event{Proc: "s", Op: OpFinal, Job: "j", Token: 120, State: worker.StateSucceeded})
	c.also(54, Event{Proc: "v", Op: OpSeen, Job: "j", Version: 9, State: worker.StateSucceeded})
	c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 120}
}

// leave makes the run be cut short before b finished, with the job still in some keys.
func (c *Checker) leave(keys ...string) {
	c.drop(finishesB, ends, settles, sawEnd)
	c.Rows["j"] = Row{State: worker.StateRunning, Token: 101}
	c.keys(keys...)
}

// scene is a plot, how it is spoiled, and what the checker must say of it: nothing is wrong when that is empty.
type scene struct {
	name    string
	spoil   func(*Checker)
	finding string
}

var scenes = slices.Concat(accounted, swept, settled, started, controlled, paused, recovered, viewed)

// A history that breaks one promise is told from one that keeps all.
func TestCheckerFindsEachViolation(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			c := plot()
			s.spoil(c)
			found := c.Check().Violations
			if s.finding == "" {
				require.Empty(t, found)
				return
			}
			require.True(t, slices.ContainsFunc(found, func(v Violation) bool {
				return strings.Contains(v.How, s.finding)
			}), "%q", found)
		})
	}
}

// No rule stands there that nothing breaks.
func TestEachRuleIsBrokenBySomeHistory(t *testing.T) {
	broken := make(map[string]bool)
	for _, s := range scenes {
		c := plot()
		s.spoil(c)
		for _, v := range c.Check().Violations {
			broken[v.Promise] = true
		}
	}
	for _, r := range rules {
		require.True(t, broken[r.promise], "nothing breaks %d: %s", r.number, r.promise)
	}
}
