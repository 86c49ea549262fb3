package model

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the schedules that are found to their files")

// Each rule is needed: without it there is a schedule that loses, hangs or doubles a job or breaks another invariant. The
// shortest one is kept in a file, for the simulation to replay on the real code.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.String(), func(t *testing.T) {
			require.NotEmpty(t, r.Text())
			found, err := Explore(worldNamed(t, r.World()), r)
			require.NoError(t, err)
			require.NotNilf(t, found.Found, "nothing breaks in world %q without: %s", r.World(), r.Text())
			text := found.Found.String()
			t.Logf("%s\n\n%s", r.Text(), text)
			file := filepath.Join("schedules", strings.NewReplacer(" ", "-", "'", "").Replace(r.String())+".txt")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
				return
			}
			kept, err := os.ReadFile(file)
			require.NoError(t, err, "run the test with -update")
			require.Equal(t, string(kept), text, "run the test with -update and look at what has changed")
		})
	}
}

func worldNamed(t *testing.T, name string) World {
	t.Helper()
	i := slices.IndexFunc(Worlds(), func(w World) bool { return w.Name == name })
	require.GreaterOrEqualf(t, i, 0, "there is no world %q", name)
	return Worlds()[i]
}

// The files hold one schedule for each rule and no other.
func TestSchedulesAreRead(t *testing.T) {
	all, err := Schedules()
	require.NoError(t, err)
	found := make([]Rule, 0, len(all))
	for _, s := range all {
		found = append(found, s.Rule)
		again, err := ParseSchedule(s.String())
		require.NoError(t, err)
		assert.Equal(t, s, *again)
	}
	assert.Equal(t, Rules(), found)
}

func TestWhatIsNoScheduleIsRefused(t *testing.T) {
	for _, text := range []string{
		"", "world: work\n", "world: work\nwithout: manners\n\n", "weather: fine\n\n", "world: work\n\nw1 beat job\n",
		"world: work\n\nw1 beat job=one\n", "world: work\n\nw1 beat fault=\"slow\n", "world: work\n\nw1 beat speed=9\n",
	} {
		_, err := ParseSchedule(text)
		assert.Errorf(t, err, "%q", text)
	}
}

// What a spare rule guards against, another one stops as well: turning it off alone breaks nothing. Each says what it is
// there for all the same.
func TestSpareRules(t *testing.T) {
	for _, r := range SpareRules() {
		t.Run(r.String(), func(t *testing.T) {
			require.NotEmpty(t, r.Text())
			require.NotEmpty(t, r.Reason())
			found, err := Explore(worldNamed(t, r.World()), r)
			require.NoError(t, err)
			require.Nilf(t, found.Found, "it is needed after all:\n%s", found.Found)
		})
	}
}
