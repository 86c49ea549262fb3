package simulation

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// tableEnv is the environment variable that names the file of the table of figures, as `make soak` sets it.
const tableEnv = "WORKER_SOAK_TABLE"

// tally sums up the figures of all seeds.
type tally struct {
	mu    sync.Mutex
	seeds int
	sum   history.Figures
	heard heard
	met   meetings
	done  controls

	drawn int               // faults of all plans
	kinds map[faultKind]int // of the faults that struck
	steps map[string]int    // that faults struck at, by stepOf
}

// sums counts things over all seeds, which run beside each other.
type sums[K comparable] struct {
	mu     sync.Mutex
	counts map[K]int
}

func (s *sums[K]) add(counts map[K]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[K]int)
	}
	for what, n := range counts {
		s.counts[what] += n
	}
}

func (y *tally) add(f history.Figures, drawn, struck []*fault) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.drawn += len(drawn)
	y.count(struck)
	if y.seeds++; y.seeds == 1 {
		y.sum = f
		return
	}
	y.sum = y.sum.Plus(f)
}

func (y *tally) count(struck []*fault) {
	if y.kinds == nil {
		y.kinds, y.steps = make(map[faultKind]int), make(map[string]int)
	}
	for _, f := range struck {
		y.kinds[f.kind]++
		if f.step != "" {
			y.steps[stepOf(f.slot, f.step)]++
		}
	}
}

// stepOf names a step by who takes it.
func stepOf(slot, step string) string {
	if slot[0] == 'p' {
		return "producer " + step
	}
	return "worker " + step
}

// complete requires that faults of each kind struck and, of enough seeds, that some struck at each step.
func (y *tally) complete(t *testing.T) {
	y.mu.Lock()
	defer y.mu.Unlock()
	t.Logf("struck, of %d faults: %s; at steps: %v", y.drawn, y.struck(), y.steps)
	for _, kind := range faultKinds {
		if y.kinds[kind] == 0 {
			t.Errorf("no fault %s struck in %d seeds", kind, y.seeds)
		}
	}
	if y.seeds < 100 { // the rarest steps are drawn twice in fifty
		return
	}
	for slot, steps := range map[string][]string{anyWorker: workerSteps, producerSlot(0): producerSteps} {
		for _, step := range steps {
			if name := stepOf(slot, step); y.steps[name] == 0 {
				t.Errorf("no fault struck at %s in %d seeds", name, y.seeds)
			}
		}
	}
}

// struck tells how often faults of each kind struck.
func (y *tally) struck() string {
	var counts []string
	for _, kind := range faultKinds {
		counts = append(counts, fmt.Sprintf("%s %d", kind, y.kinds[kind]))
	}
	return strings.Join(counts, ", ")
}

// report adds a row to the table, if there is one, and says so there when the test has failed.
func (y *tally) report(t *testing.T) {
	path := os.Getenv(tableEnv)
	if path == "" {
		return
	}
	faults := fmt.Sprintf("%d seeds of all faults at once, in fake time: %s", y.seeds, y.struck())
	if t.Failed() {
		faults = "FAILED"
	}
	if err := history.AppendRow(path, t.Name(), faults, y.sum); err != nil {
		t.Error(err)
	}
}
