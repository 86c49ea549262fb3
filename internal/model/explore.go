package model

import (
	"fmt"
	"hash/maphash"
	"slices"
)

// MaxStates is the size at which an exploration gives up. No world comes near it while all rules are on.
const MaxStates = 4_000_000

// Result is what an exploration found.
type Result struct {
	States int
	Ends   int // states in which nothing goes on but faults
	Depth  int // steps to the state that is farthest away
	// Found is the shortest schedule to a breach, nil when there is none.
	Found *Schedule
}

// Explore goes through all states of a world, with one rule off or none. Each state is judged by itself; those in which
// only faults can happen are judged as ends; from each an end must be in reach without any further fault; and none may be
// come back to by steps that are neither faults nor a sweep's, which looks again and again. States are told apart by a hash
// of 64 bits.
func Explore(w World, off Rule) (Result, error) {
	e := newExplorer(w, off)
	if err := e.search(); err != nil {
		return Result{}, err
	}
	if e.found < 0 {
		e.findEndless()
	}
	if e.found < 0 && w.Faults.Torn == 0 { // the two copies of a doubled job may overrule each other time and again
		e.findCircles()
	}
	return e.result(), nil
}

// explorer is one breadth-first search, so that the first breach has the shortest schedule.
type explorer struct {
	machine
	seed   maphash.Seed
	seen   map[uint64]int32
	states []State
	nodes  []node
	edges  []edge // of steps that are no faults
	sweeps []edge // of those that are a sweep's
	ends   []int32
	at     int // the state whose steps are made
	moves  bool
	found  int
	breach breach
	stuck  []bool // states from which only such states are gone to, for ever
}

// node is how a state was first come to.
type node struct {
	from  int32
	depth int32
	step  Step
}

type edge struct{ from, to int32 }

func newExplorer(w World, off Rule) *explorer {
	e := &explorer{
		machine: machine{world: w, off: off},
		seed:    maphash.MakeSeed(),
		seen:    make(map[uint64]int32),
		found:   -1,
	}
	e.emit = e.take
	return e
}

// search goes through all states, or until a breach is found.
func (e *explorer) search() error {
	e.add(-1, Step{}, e.world.begin())
	for e.at = 0; e.at < len(e.states) && e.found < 0; e.at++ {
		if e.at >= MaxStates {
			return fmt.Errorf("world %q without %q has more than %d states", e.world.Name, e.off, MaxStates)
		}
		e.visit()
	}
	return nil
}

func (e *explorer) visit() {
	s := e.states[e.at]
	e.moves = false
	e.steps(&s)
	if e.moves || e.found >= 0 {
		return
	}
	if b := e.judgeEnd(&s); b != sound {
		e.found, e.breach = e.at, b
		return
	}
	e.ends = append(e.ends, int32(e.at))
}

// take receives a step from the machine.
func (e *explorer) take(step Step, s State) {
	to := e.add(int32(e.at), step, s)
	if !step.faulty() {
		e.moves = true
		if step.sweeps() {
			e.sweeps = append(e.sweeps, edge{int32(e.at), to})
		} else {
			e.edges = append(e.edges, edge{int32(e.at), to})
		}
	}
}

func (e *explorer) key(s *State) uint64 { return maphash.Comparable(e.seed, *s) }

// add returns a state's number, and judges it when it is new.
func (e *explorer) add(from int32, step Step, s State) int32 {
	key := e.key(&s)
	if i, ok := e.seen[key]; ok {
		return i
	}
	i := int32(len(e.states))
	e.seen[key] = i
	depth := int32(0)
	if from >= 0 {
		depth = e.nodes[from].depth + 1
	}
	e.states = append(e.states, s)
	e.nodes = append(e.nodes, node{from, depth, step})
	if b := e.judge(&s); b != sound && e.found < 0 {
		e.found, e.breach = int(i), b
	}
	return i
}

// result says what was found, with the way to it.
func (e *explorer) result() Result {
	r := Result{States: len(e.states), Ends: len(e.ends), Depth: int(e.nodes[len(e.nodes)-1].depth)}
	if e.found < 0 {
		return r
	}
	s := &Schedule{World: e.world.Name, Rule: e.off, Breach: e.breach.String()}
	for i := int32(e.found); e.nodes[i].from >= 0; i = e.nodes[i].from {
		s.Steps = append(s.Steps, e.nodes[i].step)
	}
	slices.Reverse(s.Steps)
	if e.stuck != nil {
		e.goRound(s)
	}
	r.Found = s
	return r
}
