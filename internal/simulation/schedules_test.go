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
	for _, schedule := range all {
		t.Run(strings.ReplaceAll(schedule.Rule.String(), " ", "-"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { replay(t, schedule) })
		})
	}
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
	for _, step := range steps {
		taken := s.take(step)
		w.tell(nil, "STEP %v: %v", step, taken)
		if !taken {
			t.Logf("not taken: %v", step)
		}
	}
	s.finish()
	wrong := w.judge()
	for _, how := range wrong {
		t.Error(how)
	}
	if len(wrong) > 0 {
		w.explain(strings.Join(wrong, "\n"))
	}
}
