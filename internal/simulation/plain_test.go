//go:build !race

package simulation

// What a test run takes.
const (
	defaultSeeds  = 200 // of TestSimulation
	defaultOrders = 60  // of each race
)
