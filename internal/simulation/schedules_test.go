package simulation

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker/internal/model"
)

// What the model needs each rule for is replayed on the real code, which has them all: nothing breaks.
func TestSchedules(t *testing.T) {
	all, err := model.Schedules()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for name := range untaken {
		require.True(t, slices.ContainsFunc(all, func(s model.Schedule) bool { return s.Rule.String() == name }), "untaken: %s", name)
	}
	for _, schedule := range all {
		t.Run(strings.ReplaceAll(schedule.Rule.String(), " ", "-"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { replay(t, schedule) })
		})
	}
}

// takenOver returns the steps with each takeover before the resumption of the worker that it is of: who has resumed would
// else renew its lease first. One whose beat comes first in the schedule, too, stays.
func takenOver(steps []model.Step) []model.Step {
	steps = slices.Clone(steps)
	for i := range steps {
		if steps[i].Op != model.Takeover {
			continue
		}
		for j := i - 1; j >= 0 && steps[j].Op != model.Beat; j-- {
			if steps[j].Op == model.WorkerResume {
				takeover := steps[i]
				steps = slices.Insert(slices.Delete(steps, i, i+1), j, takeover)
				break
			}
		}
	}
	return steps
}

func worldNamed(t *testing.T, name string) model.World {
	t.Helper()
	worlds := model.Worlds()
	i := slices.IndexFunc(worlds, func(w model.World) bool { return w.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return worlds[i]
}

// replay takes a schedule's steps as far as the real code comes to them, then lets everything end, and judges.
func replay(t *testing.T, schedule model.Schedule) {
	m := worldNamed(t, schedule.World)
	w := newWorld(t, planOf(m))
	s := newStage(w, m)
	s.prepare()
	steps := schedule.Steps
	if schedule.Loop > 0 {
		steps = append(slices.Clone(steps), steps[len(steps)-schedule.Loop:]...)
	}
	s.turns.singly = true
	var missing []string
	for _, step := range takenOver(steps) {
		taken := s.take(step)
		w.tell(nil, "STEP %v: %v", step, taken)
		if !taken {
			missing = append(missing, step.String())
		}
	}
	s.finish()
	for _, step := range unexpected(schedule.Rule, missing) {
		t.Errorf("not taken: %s", step)
	}
	wrong := w.judge()
	for _, how := range wrong {
		t.Error(how)
	}
	if len(wrong) > 0 {
		w.explain(strings.Join(wrong, "\n"))
	}
}
