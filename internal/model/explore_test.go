package model

import (
	"testing"
	"time"
)

func TestWorlds(t *testing.T) {
	for _, w := range Worlds() {
		t.Run(w.Name, func(t *testing.T) {
			start := time.Now()
			r, err := Explore(w, AllRules)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d states, %d ends, depth %d, %v", r.States, r.Ends, r.Depth, time.Since(start).Round(time.Millisecond))
			if r.Found != nil {
				t.Errorf("%s", r.Found)
			}
		})
	}
}
