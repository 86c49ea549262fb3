package simulation

import (
	"flag"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

var (
	oneSeed = flag.Int64("seed", -1, "the only seed to run; below 0: as many as -seeds and -orders say")
	seeds   = flag.Uint64("seeds", defaultSeeds, "how many seeds to run, from 1 on")
	jobs    = flag.Int("jobs", 500, "how many jobs each seed runs")
	orders  = flag.Uint64("orders", defaultOrders, "in how many orders of steps each race is run, by seeds from 0 on")
	logs    = flag.Bool("logs", false, "print what happens")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // miniredis makes a new Lua machine for each call: there is much to collect
	goleak.VerifyTestMain(m)
}
