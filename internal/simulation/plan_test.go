package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// faultKind is what a fault does. Those that last have an end, after which all is as before.
type faultKind string

const (
	kill    faultKind = "kill"    // the process dies; another takes its place when the fault ends
	stop    faultKind = "stop"    // a deploy: the process is stopped, another takes its place
	pause   faultKind = "pause"   // the process stands still
	cut     faultKind = "cut"     // its connections end; what is on its way is lost
	lose    faultKind = "lose"    // the next reply to a step is lost: it was executed
	hole    faultKind = "hole"    // nothing gets through to Redis or back; what is held arrives late
	deaf    faultKind = "deaf"    // requests don't get through
	mute    faultKind = "mute"    // replies don't get through
	lag     faultKind = "lag"     // each command takes a while longer
	outage  faultKind = "outage"  // nobody gets through to Redis
	crash   faultKind = "crash"   // Redis ends all connections, and is back later with all its data
	refuse  faultKind = "refuse"  // Redis answers an error and executes nothing
	clock   faultKind = "clock"   // Redis's clock is off
	flush   faultKind = "flush"   // Redis forgets its scripts
	storing faultKind = "store"   // the status store fails
	silence faultKind = "silence" // the notifier fails
	closed  faultKind = "closed"  // the queue is paused
)

var faultKinds = []faultKind{
	kill, stop, pause, cut, lose, hole, deaf, mute, lag, outage, crash, refuse, clock, flush, storing, silence,
	closed,
}

// fault is one thing that goes wrong: at a time, or when a process takes a step for the nth time.
type fault struct {
	kind  faultKind
	slot  string        // whom it concerns; empty for what concerns all
	lasts time.Duration // zero: it is over at once
	text  string        // the error that Redis answers, the step whose reply is lost, or how the store fails
	off   time.Duration // of Redis's clock

	at   time.Duration // since the beginning, unless there is a step
	step string
	when moment
	nth  int
}

func (f *fault) String() string {
	var b strings.Builder
	if f.step == "" {
		fmt.Fprintf(&b, "at %v: ", f.at)
	} else {
		fmt.Fprintf(&b, "%s %s no. %d of %s: ", f.when, f.step, f.nth, f.slot)
	}
	fmt.Fprintf(&b, "%s %s", f.kind, f.slot)
	if f.text != "" {
		fmt.Fprintf(&b, " %q", f.text)
	}
	if f.off != 0 {
		fmt.Fprintf(&b, " by %v", f.off)
	}
	if f.lasts > 0 {
		fmt.Fprintf(&b, " for %v", f.lasts)
	}
	return b.String()
}

// plan is all that a seed decides.
type plan struct {
	seed       uint64
	lease      time.Duration
	sweep      time.Duration
	maxCrashes int
	pools      []int // their concurrency
	orders     []*order
	faults     []*fault
	oneByOne   bool     // the faults are
	ticking    bool     // the workers have a schedule
	viewed     []string // jobs that somebody watches
	bulks      []bulk   // what is done to all jobs of a kind
}

const producers = 2

func workerSlot(i int) string   { return fmt.Sprintf("w%d", i+1) }
func producerSlot(i int) string { return fmt.Sprintf("p%d", i+1) }

// newPlan draws a plan for n jobs.
func newPlan(seed uint64, n int) *plan {
	dice := rand.New(rand.NewPCG(seed, 4))
	p := &plan{seed: seed, lease: 10 * time.Second, sweep: 10 * time.Second, maxCrashes: 100, ticking: true}
	if dice.IntN(3) == 0 {
		p.lease = 3 * time.Second
	}
	p.pools = []int{6 + dice.IntN(8)}
	for range 1 + dice.IntN(3) {
		p.pools = append(p.pools, 1+dice.IntN(12))
	}
	for i := range n {
		p.orders = append(p.orders, newOrder(dice, i))
	}
	slices.SortStableFunc(p.orders, func(a, b *order) int { return cmp.Compare(a.at, b.at) })
	p.bulks = newBulks(dice)
	for range 3 {
		p.viewed = append(p.viewed, p.orders[dice.IntN(n)].id)
	}
	if p.oneByOne = dice.IntN(3) == 0; p.oneByOne {
		p.faults = p.apart(dice)
		return p
	}
	for range 10 + dice.IntN(11) {
		p.faults = append(p.faults, p.newFault(dice))
	}
	return p
}

// apart draws faults that come one at a time, each so long after the last that what it brought about must be over: times
// are judged to the second there.
func (p *plan) apart(dice *rand.Rand) (faults []*fault) {
	pause := 5 * p.lease / 2
	for at := 3 * time.Second; at < 40*time.Second; at += pause {
		f := &fault{slot: workerSlot(dice.IntN(len(p.pools))), at: at + between(dice, 0, p.lease/5)}
		f.kind = pick(dice, []faultKind{kill, kill, kill, kill, cut, lag})
		p.detail(f, dice, workerSteps)
		f.lasts = min(f.lasts, p.lease)
		faults = append(faults, f)
	}
	return faults
}

// between returns a time from low to high.
func between(dice *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(dice.Int64N(int64(high-low)+1)).Round(time.Millisecond)
}

// share is how many of a thousand jobs are of a kind. All others are quick.
var share = []struct {
	kind kind
	n    int
}{
	{slow, 60}, {flaky, 60}, {hopeless, 20}, {bad, 20}, {declined, 20}, {sleepy, 40}, {stepwise, 40}, {delayed, 60},
	{unwanted, 30}, {postponed, 30}, {reopened, 40}, {duplicated, 40},
	{sole, 60}, {fresh, 40}, {seldom, 30}, {bounced, 60},
	{edited, 30}, {hastened, 20}, {deleted, 30}, {purged, 20}, {buried, 20}, {revived, 30}, {handled, 30},
}

func newOrder(dice *rand.Rand, i int) *order {
	o := &order{
		kind: quick, producer: producerSlot(dice.IntN(producers)), forgets: dice.IntN(4) == 0,
		at: between(dice, 0, 45*time.Second), takes: between(dice, 0, 20*time.Millisecond),
	}
	if dice.IntN(3) == 0 { // some come in bursts
		o.at = o.at.Truncate(10 * time.Second)
	}
	for roll, k := dice.IntN(1000), 0; k < len(share); k++ {
		if roll -= share[k].n; roll < 0 {
			o.kind = share[k].kind
			break
		}
	}
	o.id = fmt.Sprintf("%s-%03d", o.kind, i)
	switch o.kind {
	case slow, unwanted, stepwise:
		o.takes = between(dice, time.Second, 25*time.Second)
	case sleepy:
		o.takes = between(dice, 100*time.Millisecond, 5*time.Second)
	case delayed, postponed:
		o.delay = between(dice, 100*time.Millisecond, 30*time.Second)
	}
	o.delay = cmp.Or(o.delay, newDelay(dice, o.kind))
	o.deeds = newDeeds(dice, o)
	o.cancelAt = between(dice, 0, 20*time.Second)
	o.unique = newUnique(dice, o)
	return o
}

// period is for how long a job that comes seldom has its key.
const period = 20 * time.Second

// newUnique draws the unique key of an order, nil for most. What isn't there to meet others has one of its own.
func newUnique(dice *rand.Rand, o *order) *worker.Unique {
	key := fmt.Sprintf("%s-%d", o.kind, dice.IntN(3))
	switch o.kind {
	case sole:
		o.takes = between(dice, 0, 5*time.Second)
		return &worker.Unique{Key: key}
	case fresh:
		o.takes = between(dice, 0, 5*time.Second)
		return &worker.Unique{Key: key, UniquePolicy: worker.UniquePolicy{Until: worker.UntilStarted}}
	case seldom:
		return &worker.Unique{Key: key, UniquePolicy: worker.UniquePolicy{Until: worker.ForPeriod, For: period}}
	case bounced:
		o.takes, o.delay = time.Second, between(dice, time.Second, 6*time.Second)
		return &worker.Unique{Key: key, UniquePolicy: worker.UniquePolicy{Replace: true}}
	}
	if dice.IntN(3) > 0 {
		return nil
	}
	until := pick(dice, []worker.UniqueUntil{worker.UntilFinal, worker.UntilStarted})
	return &worker.Unique{Key: "own-" + o.id, UniquePolicy: worker.UniquePolicy{Until: until}}
}

// steps are where faults strike, as wire, store and handlers name them.
var (
	workerSteps = []string{
		"claim", "save-running", "handler", "save-outcome", "settle", "heartbeat", "retire", "checkpoint", "register",
		"blpop", "notify", "sweep-list", "know", "enqueue", "unlock",
	}
	producerSteps = []string{
		"save-queued", "enqueue", "cancel_mark", "save-final", "cancel_remove", "requeue_draw", "requeue_move", "holders",
		"replace", "find", "edit", "forget", "list_sorted", "list_waiting",
	}
	refusals = []string{
		"LOADING Redis is loading the dataset in memory", "READONLY You can't write against a read only replica.",
		"CLUSTERDOWN The cluster is down", "MASTERDOWN Link with MASTER is down", "NOREPLICAS Not enough good replicas to write.",
	}
)

// usual is how often a step is taken at least in most runs, where that is less than mostNth. A worker's are counted over
// all of them: who comes to it is who is struck.
var (
	usualWorkers   = map[string]int{"register": 5, "retire": 3, "know": 6, "sweep-list": 6, "enqueue": 1, "unlock": 6}
	usualProducers = map[string]int{"save-final": 4, "replace": 2, "list_waiting": 1, "list_sorted": 4}
)

const mostNth = 12

// anyWorker is the slot of a fault that strikes whichever worker takes a step.
const anyWorker = "any worker"

func pick[T any](dice *rand.Rand, from []T) T { return from[dice.IntN(len(from))] }

// newFault draws a fault: one in two strikes at a step.
func (p *plan) newFault(dice *rand.Rand) *fault {
	f := &fault{slot: workerSlot(dice.IntN(len(p.pools))), at: between(dice, 2*time.Second, 50*time.Second)}
	steps, usual := workerSteps, usualWorkers
	if dice.IntN(4) == 0 {
		f.slot, steps, usual = producerSlot(dice.IntN(producers)), producerSteps, usualProducers
	}
	strikes := dice.IntN(2) == 0
	if strikes {
		f.step, f.when, f.at = pick(dice, steps), pick(dice, []moment{before, after}), 0
		f.nth = 1 + dice.IntN(cmp.Or(usual[f.step], mostNth))
		if usualWorkers[f.step] > 0 && f.slot[0] == 'w' {
			f.slot = anyWorker
		}
		f.kind = pick(dice, []faultKind{kill, kill, pause, cut, hole, mute, deaf})
	} else {
		f.kind = pick(dice, []faultKind{
			kill, stop, pause, cut, lose, lose, hole, deaf, mute, lag, refuse, refuse, outage, crash, clock, flush, storing, storing, silence,
			closed,
		})
	}
	p.detail(f, dice, steps)
	return f
}

// detail draws what a kind of fault needs to be known.
func (p *plan) detail(f *fault, dice *rand.Rand, steps []string) {
	f.lasts = between(dice, 500*time.Millisecond, 3*p.lease)
	switch f.kind {
	case cut, flush:
		f.lasts = 0
	case kill, stop:
		f.lasts = between(dice, 0, 20*time.Second)
	case lose:
		f.lasts, f.text = 0, pick(dice, steps)
	case pause: // about half of them are longer than lease and grace
		f.lasts = between(dice, p.lease/2, 3*p.lease)
	case refuse:
		f.text = pick(dice, refusals)
		if dice.IntN(3) == 0 {
			f.text, f.slot = outOfMemory, ""
		}
	case clock:
		f.slot, f.off = "", pick(dice, []time.Duration{time.Hour, -time.Hour, 3 * time.Second, -3 * time.Second})
	case storing:
		f.slot, f.lasts, f.text = "", 30*time.Second, string(pick(dice, []storeFault{refuses, forgets, dawdles, flickers}))
	case outage, crash, closed:
		f.slot = ""
	case silence:
		f.slot = ""
	}
}

// outOfMemory concerns enqueue alone: all other scripts begin with a write that needs no memory.
const outOfMemory = "OOM command not allowed when used memory > 'maxmemory'."
