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
// only faults can happen are judged as ends; and from each an end must be in reach without any further fault. States are
// told apart by a hash of 64 bits.
func Explore(w World, off Rule) (Result, error) {
	e := &explorer{
		machine: machine{world: w, off: off},
		seed:    maphash.MakeSeed(),
		seen:    make(map[uint64]int32),
		found:   -1,
	}
	e.machine.emit = e.take
	e.add(-1, Step{}, w.begin())
	for e.at = 0; e.at < len(e.states) && e.found < 0; e.at++ {
		if e.at >= MaxStates {
			return Result{}, fmt.Errorf("world %q without %q has more than %d states", w.Name, off, MaxStates)
		}
		e.visit()
	}
	if e.found < 0 {
		e.findEndless()
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
	edges  []edge // without faults
	ends   []int32
	at     int // the state whose steps are made
	moves  bool
	found  int
	breach breach
}

// node is how a state was first come to.
type node struct {
	from  int32
	depth int32
	step  Step
}

type edge struct{ from, to int32 }

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
		e.edges = append(e.edges, edge{int32(e.at), to})
	}
}

// add returns a state's number, and judges it when it is new.
func (e *explorer) add(from int32, step Step, s State) int32 {
	key := maphash.Comparable(e.seed, s)
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

// findEndless looks for the first state from which no end can be reached without a fault.
func (e *explorer) findEndless() {
	slices.SortFunc(e.edges, func(a, b edge) int { return int(a.to) - int(b.to) })
	first := make([]int32, len(e.states)+1) // the edges to i are first[i] to first[i+1]
	for _, x := range e.edges {
		first[x.to+1]++
	}
	for i := range e.states {
		first[i+1] += first[i]
	}
	ends := make([]bool, len(e.states))
	work := slices.Clone(e.ends)
	for _, i := range work {
		ends[i] = true
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, x := range e.edges[first[i]:first[i+1]] {
			if !ends[x.from] {
				ends[x.from] = true
				work = append(work, x.from)
			}
		}
	}
	if i := slices.Index(ends, false); i >= 0 {
		e.found, e.breach = i, neverEnds
	}
}

func (e *explorer) result() Result {
	r := Result{States: len(e.states), Ends: len(e.ends), Depth: int(e.nodes[len(e.nodes)-1].depth)}
	if e.found < 0 {
		return r
	}
	r.Found = &Schedule{World: e.world.Name, Rule: e.off, Breach: e.breach.String()}
	for i := int32(e.found); e.nodes[i].from >= 0; i = e.nodes[i].from {
		r.Found.Steps = append(r.Found.Steps, e.nodes[i].step)
	}
	slices.Reverse(r.Found.Steps)
	return r
}
