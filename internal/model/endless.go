package model

import (
	"cmp"
	"slices"
)

// findEndless looks for the first state from which no end can be reached without a fault.
func (e *explorer) findEndless() {
	into := byTarget(slices.Concat(e.edges, e.sweeps), len(e.states))
	stuck := make([]bool, len(e.states))
	for i := range stuck {
		stuck[i] = true
	}
	work := slices.Clone(e.ends)
	for _, i := range work {
		stuck[i] = false
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, x := range into(i) {
			if stuck[x.from] {
				stuck[x.from] = false
				work = append(work, x.from)
			}
		}
	}
	e.blame(stuck, neverEnds)
}

// findCircles looks for the first state from which steps that are neither faults nor a sweep's can go round.
func (e *explorer) findCircles() {
	into := byTarget(e.edges, len(e.states))
	out := make([]int32, len(e.states)) // steps to states that may be part of a circle
	for _, x := range e.edges {
		out[x.from]++
	}
	var work []int32
	for i, n := range out {
		if n == 0 {
			work = append(work, int32(i))
		}
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		for _, x := range into(i) {
			if out[x.from]--; out[x.from] == 0 {
				work = append(work, x.from)
			}
		}
	}
	stuck := make([]bool, len(e.states))
	for i, n := range out {
		stuck[i] = n > 0
	}
	e.blame(stuck, goesRound)
}

func (e *explorer) blame(stuck []bool, b breach) {
	if i := slices.Index(stuck, true); i >= 0 {
		e.found, e.breach, e.stuck = i, b, stuck
	}
}

// byTarget returns what finds the edges to a state. It sorts edges.
func byTarget(edges []edge, states int) func(int32) []edge {
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.to, b.to) })
	first := make([]int32, states+1) // the edges to i are first[i] to first[i+1]
	for _, x := range edges {
		first[x.to+1]++
	}
	for i := range states {
		first[i+1] += first[i]
	}
	return func(i int32) []edge { return edges[first[i]:first[i+1]] }
}

// goRound continues a schedule that ends in a stuck state until a state comes again.
func (e *explorer) goRound(s *Schedule) {
	met := make(map[int32]int) // state → how many steps lead to it
	for i := int32(e.found); ; {
		if before, again := met[i]; again {
			s.Loop = len(s.Steps) - before
			return
		}
		met[i] = len(s.Steps)
		step, to := e.stuckStep(i)
		s.Steps = append(s.Steps, step)
		i = to
	}
}

// stuckStep returns the first step from a stuck state to another.
func (e *explorer) stuckStep(i int32) (step Step, to int32) {
	from := e.states[i]
	to = -1
	e.emit = func(s Step, next State) {
		if to >= 0 || s.faulty() || e.breach == goesRound && s.sweeps() {
			return
		}
		if j := e.seen[e.key(&next)]; e.stuck[j] {
			step, to = s, j
		}
	}
	e.steps(&from)
	return step, to
}
