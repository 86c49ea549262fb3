// Package simulation runs whole systems of the library in one process and under fake time, and breaks them on purpose:
// several pools, producers and viewers over a Redis in memory, each process with a wire of its own to it.
//
// Its tests, TestSimulation first of all, draw a plan of faults from a seed: connections end, hang or answer errors,
// processes die or stand still between any two steps, the status store and the notifier fail, Redis's clock jumps. When
// the faults are over everything has to drain, and package history judges what was done and what is left. A failing seed
// is printed with the command that runs it again.
//
// The seed fixes the plan: the jobs, the faults and when they strike, by fake time or by how often a step was taken.
// Which of several goroutines that could go on goes first is up to Go's scheduler, and the library rolls dice of its own
// for its pauses. So a seed that failed fails again mostly, not always: run it several times, with -count.
//
// A process that is killed in a simulation is cut off from everything for good, and then unwound: nothing that it does
// afterwards reaches Redis, the store, the notifier or the history. One that is paused stands still wherever it touches
// the outside; the timers inside go on, which is harder on it than a real pause would be.
package simulation
