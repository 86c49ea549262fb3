package model

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With all rules in force no schedule of any world breaks an invariant, and every one comes to its end.
func TestAllRulesHoldEverything(t *testing.T) {
	states := 0
	for _, w := range Worlds() {
		t.Run(w.Name, func(t *testing.T) {
			if raced && w.Name != "stop" {
				t.Skip("one goroutine does it all: under the race detector one world is enough")
			}
			start := time.Now()
			r, err := Explore(w, AllRules)
			require.NoError(t, err)
			t.Logf("%d states, %d ends, %d steps deep, %v", r.States, r.Ends, r.Depth,
				time.Since(start).Round(time.Millisecond))
			states += r.States
			if r.Found != nil {
				t.Fatalf("the protocol has a hole:\n%s", r.Found)
			}
			require.NotZero(t, r.Ends)
		})
	}
	t.Logf("%d states in all", states)
}
