package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every breach is one that some schedule comes to, or that is shown here.
func TestEachBreachIsFound(t *testing.T) {
	all, err := Schedules()
	require.NoError(t, err)
	shown := map[string]bool{bodiless.String(): true, goesRound.String(): true}
	for _, s := range all {
		shown[s.Breach] = true
	}
	for b := sound + 1; int(b) < len(breachTexts); b++ {
		assert.Truef(t, shown[b.String()], "nothing shows: %s", b)
	}
}

func TestAPlaceNeedsABody(t *testing.T) {
	m := machine{world: worldNamed(t, "takeover")}
	s := m.world.begin()
	require.Equal(t, sound, m.judge(&s))
	s.jobs[0].body = false
	assert.Equal(t, bodiless, m.judge(&s))
}

// A job that a failing script has doubled can go round: what is not judged there is seen all the same.
func TestCirclesAreFound(t *testing.T) {
	e := newExplorer(worldNamed(t, "cut scripts"), AllRules)
	require.NoError(t, e.search())
	e.findEndless()
	require.Equal(t, -1, e.found)
	e.findCircles()
	found := e.result().Found
	require.NotNil(t, found)
	assert.Equal(t, goesRound.String(), found.Breach)
	assert.NotZero(t, found.Loop)
}
