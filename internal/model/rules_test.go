package model

import (
	"testing"
	"time"
)

func TestRules(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.String(), func(t *testing.T) {
			start := time.Now()
			for _, w := range Worlds() {
				if w.Name != r.World() {
					continue
				}
				res, err := Explore(w, r)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d states %v", res.States, time.Since(start).Round(time.Millisecond))
				if res.Found == nil {
					t.Errorf("nothing found in %s", w.Name)
					for _, w := range Worlds() {
						if res, _ := Explore(w, r); res.Found != nil {
							t.Logf("but in %q: %s", w.Name, res.Found)
						}
					}
				} else {
					t.Logf("%s", res.Found)
				}
			}
		})
	}
}
