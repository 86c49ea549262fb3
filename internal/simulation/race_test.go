//go:build race

package simulation

// What a test run takes: the race detector makes everything several times as long.
const (
	defaultSeeds  = 50 // of TestSimulation
	defaultOrders = 15 // of each race
)
