package history

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// Each figure counts jobs, or starts, and is zero when all went well.
func TestFigures(t *testing.T) {
	good := Figures{Jobs: 1, ExtraStarts: 1, LongestRecovery: 15 * time.Second}
	for _, c := range []struct {
		name  string
		spoil func(*Checker)
		want  func(*Figures)
	}{
		{"all went well", func(*Checker) {}, func(*Figures) {}},
		{"lost", func(c *Checker) { c.leave(); c.Rows = nil }, func(f *Figures) { f.Lost, f.Disagreeing = 1, -1 }},
		{"settled twice, found in two ways", func(c *Checker) {
			c.also(44, Event{Op: OpFinal, Job: "j", Token: 102, State: worker.StateSucceeded})
			c.also(45, Event{Op: OpSettle, Job: "j", Token: 101, Text: "retry"})
			c.Rows["j"] = Row{State: worker.StateSucceeded, Token: 102}
		}, func(f *Figures) { f.DoubleSettled = 1 }},
		{"stuck", func(c *Checker) {
			c.leave("pending", "jobs")
		}, func(f *Figures) { f.Stuck = 1 }},
		{"disagreeing", func(c *Checker) { delete(c.Rows, "j") }, func(f *Figures) { f.Disagreeing = 1 }},
		{"a retry is no extra start", func(c *Checker) {
			c.finishA(20, OutcomeRetry)
			c.Events[startsB].Attempt = 2
		}, func(f *Figures) { f.ExtraStarts, f.LongestRecovery = 0, 0 }},
		{"a snooze is none", func(c *Checker) { c.finishA(20, OutcomeSnooze) }, func(f *Figures) {
			f.ExtraStarts, f.LongestRecovery = 0, 0
		}},
		{"stood still when it began", func(c *Checker) {
			c.pauseA(5, 12)
			c.also(13, Event{Proc: "a", Op: OpLost, Job: "j", Token: 100})
		}, func(f *Figures) { f.LongestRecovery = 25 * time.Second }},
		{"stood still, finished too late and ran again afterwards", func(c *Checker) {
			c.pauseA(20, 30)
			c.also(31, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeLost})
		}, func(*Figures) {}},
		{"put off before it stood still", func(c *Checker) {
			c.pauseA(20, 30)
			c.also(15, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSnooze})
			c.Events[startsB].Crashes = 0
		}, func(f *Figures) { f.ExtraStarts, f.LongestRecovery = 0, 0 }},
		{"put off before its worker died", func(c *Checker) {
			c.also(15, Event{Proc: "a", Op: OpFinish, Job: "j", Token: 100, Outcome: OutcomeSnooze})
			c.Events[startsB].Crashes = 0
		}, func(f *Figures) { f.ExtraStarts, f.LongestRecovery = 0, 0 }},
		{"stood still twice", func(c *Checker) {
			c.pauseA(1, 2)
			c.also(25, Event{Proc: "a", Op: OpPause, Until: seconds(38)})
			c.also(39, Event{Proc: "a", Op: OpLost, Job: "j", Token: 100})
		}, func(f *Figures) { f.LongestRecovery = 10 * time.Second }},
		{"a give-back is one", func(c *Checker) { c.finishA(20, OutcomeGiveBack) }, func(f *Figures) { f.LongestRecovery = 0 }},
		{"a round is none", func(c *Checker) { c.requeue(110) }, func(*Figures) {}},
		{"stood still", func(c *Checker) {
			c.pauseA(25, 38)
			c.also(39, Event{Proc: "a", Op: OpLost, Job: "j", Token: 100})
		}, func(f *Figures) { f.LongestRecovery = 10 * time.Second }},
		{"perhaps accepted", func(c *Checker) { c.Events[accepts].Result = ResultUnknown }, func(f *Figures) { f.Jobs = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			run, want := plot(), good
			c.spoil(run)
			c.want(&want)
			require.Equal(t, want, run.Check().Figures)
		})
	}
}

func TestFiguresAddUp(t *testing.T) {
	a := Figures{Jobs: 1, Lost: 2, DoubleSettled: 3, Stuck: 4, ExtraStarts: 5, LongestRecovery: 6, Disagreeing: 7}
	b := Figures{Jobs: 10, Lost: 20, DoubleSettled: 30, Stuck: 40, ExtraStarts: 50, LongestRecovery: 2, Disagreeing: 70}
	sum := Figures{Jobs: 11, Lost: 22, DoubleSettled: 33, Stuck: 44, ExtraStarts: 55, LongestRecovery: 6, Disagreeing: 77}
	require.Equal(t, sum, a.Plus(b))
	none := Figures{Disagreeing: -1}
	require.Equal(t, a, a.Plus(none))
	require.Equal(t, a, none.Plus(a))
	require.Equal(t, none, none.Plus(none))
}

// The table begins with its head, once.
func TestTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.md")
	require.NoError(t, AppendRow(path, "TestA", "a | b", Figures{Jobs: 1, LongestRecovery: 1260 * time.Millisecond}))
	require.NoError(t, AppendRow(path, "TestB", "none", Figures{Disagreeing: -1}))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `| test | faults | jobs | lost | double-settled | stuck | extra starts | longest recovery | rows that disagree |
| --- | --- | --: | --: | --: | --: | --: | --: | --: |
| TestA | a \| b | 1 | 0 | 0 | 0 | 0 | 1.3 s | 0 |
| TestB | none | 0 | 0 | 0 | 0 | 0 | – | – |
`, string(text))
	require.Error(t, AppendRow(filepath.Dir(path), "TestC", "", Figures{}))
}
