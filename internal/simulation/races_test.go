package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/real-staging-ai/go-worker/internal/history"
	"github.com/real-staging-ai/go-worker/internal/model"
)

var races = []model.World{
	{
		Name: "cancel × claim × settle", Jobs: 1, Workers: 2, Slots: 1, Waiting: []int{1},
		Clients: []model.ClientSpec{{Kind: model.Cancels, Job: 1}, {Kind: model.Cancels, Job: 1}, {Kind: model.Sweeps}},
	},
	{
		Name: "requeue × settle × requeue", Jobs: 1, Workers: 2, Slots: 1, Dead: []int{1},
		Clients: []model.ClientSpec{{Kind: model.Requeues, Job: 1}, {Kind: model.Requeues, Job: 1}, {Kind: model.Sweeps}},
	},
	{
		Name: "requeue × cancel × settle", Jobs: 1, Workers: 2, Slots: 1, Dead: []int{1},
		Clients: []model.ClientSpec{{Kind: model.Requeues, Job: 1}, {Kind: model.Cancels, Job: 1}, {Kind: model.Sweeps}},
	},
	{
		Name: "one id by two producers", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []model.ClientSpec{{Kind: model.Enqueues, Job: 1}, {Kind: model.Enqueues, Job: 1}, {Kind: model.Sweeps}},
		Faults:  model.Faults{NoMemory: 2},
	},
	{
		Name: "one id pushed and requeued", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []model.ClientSpec{{Kind: model.Pushes, Job: 1}, {Kind: model.Requeues, Job: 1}, {Kind: model.Sweeps}},
	},
	{
		Name: "removal among suspects", Jobs: 2, Workers: 2, Slots: 2, Waiting: []int{1, 2}, Suspect: true,
		Clients: []model.ClientSpec{{Kind: model.Cancels, Job: 1}, {Kind: model.Requeues, Job: 1}, {Kind: model.Sweeps}},
	},
	{
		Name: "takeover of who wakes half-way", Jobs: 2, Workers: 2, Slots: 2, Waiting: []int{1, 2},
		Clients: []model.ClientSpec{{Kind: model.Cancels, Job: 1}, {Kind: model.Sweeps}},
		Faults:  model.Faults{Pauses: 1},
	},
	{
		Name: "all at once", Jobs: 2, Workers: 2, Slots: 2, Waiting: []int{1}, Dead: []int{2},
		Clients: []model.ClientSpec{
			{Kind: model.Cancels, Job: 1}, {Kind: model.Requeues, Job: 1}, {Kind: model.Requeues, Job: 2},
			{Kind: model.Cancels, Job: 2}, {Kind: model.Enqueues, Job: 1}, {Kind: model.Sweeps},
		},
	},
}

// Whatever order the protocol's steps are taken in, and wherever somebody dies or a reply is lost, each job ends in one
// place, its row agrees, and nothing of finished jobs is left.
func TestRaces(t *testing.T) {
	for _, race := range races {
		t.Run(race.Name, func(t *testing.T) {
			t.Parallel()
			first, last := uint64(0), *orders
			if *oneSeed >= 0 { // also one beyond those that are run by default
				first, last = uint64(*oneSeed), uint64(*oneSeed)+1
			}
			for seed := first; seed < last; seed++ {
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { runRace(t, race, seed) })
				})
			}
		})
	}
}

// runRace draws which step comes next, again and again, and what becomes of it.
func runRace(t *testing.T, race model.World, seed uint64) {
	w := newWorld(t, planOf(race))
	s := newStage(w, race)
	s.prepare()
	r := &racing{stage: s, dice: rand.New(rand.NewPCG(seed, uint64(len(race.Name)))), left: 2}
	for range 40 + r.dice.IntN(40) {
		r.next()
	}
	s.finish()
	wrong := w.judge()
	for _, how := range wrong {
		t.Error(how)
	}
	if len(wrong) > 0 {
		t.Logf("again: go test ./internal/simulation -run 'TestRaces/%s' -seed %d", strings.ReplaceAll(race.Name, " ", "_"), seed)
		w.explain(strings.Join(wrong, "\n"))
	}
}

// racing is a race under way.
type racing struct {
	*stage
	dice *rand.Rand
	left int // faults that may still happen
}

// next lets one of those who wait take its step, or time pass when nobody waits.
func (r *racing) next() {
	synctest.Wait()
	ready := r.turns.ready()
	if len(ready) == 0 || r.dice.IntN(20) == 0 {
		time.Sleep(pick(r.dice, []time.Duration{time.Millisecond, 100 * time.Millisecond, 2 * time.Second}))
		return
	}
	at := pick(r.dice, ready)
	var o cue
	if at.step == "handler" {
		o.result = pick(r.dice, []string{"succeeds", "succeeds", "fails", "fails for good"})
	}
	if r.left > 0 && r.dice.IntN(8) == 0 {
		r.left--
		if !r.strike(at, &o) {
			return
		}
	}
	r.tell(at.process, "TURN %s %s %+v", at.step, at.job, o)
	r.turns.give(0, o, func(t *turn) bool { return t == at })
}

// strike lets something go wrong with a step, and reports whether it is taken all the same.
func (r *racing) strike(at *turn, o *cue) bool {
	p := at.process
	saves := strings.HasPrefix(at.step, "save-")
	switch fault := r.dice.IntN(6); {
	case fault == 0: // dies before the step
		r.die(p)
		return false
	case fault == 1: // dies after it
		r.turns.give(0, *o, func(t *turn) bool { return t == at })
		r.die(p)
		return false
	case fault == 2 && r.model.Faults.Pauses > 0 && p.slot[0] == 'w':
		r.doze(p)
		return false
	case fault <= 3 && r.model.Faults.NoMemory > 0 && at.step == "enqueue":
		r.fault(p, model.Step{Fault: model.NoMemory}, at.step)
	case saves:
		o.lost = errStore
	case at.step == "get" || at.step == "handler" || at.step == "sweep-list":
	case fault == 5: // never sent
		o.err = errCut
	default:
		p.wire.lose(at.step)
	}
	return true
}

func (r *racing) die(p *process) {
	r.tell(p, "DIES")
	p.kill()
	r.revive(p.slot)
	if r.dice.IntN(2) == 0 && p.slot[0] == 'w' { // until it is missed
		time.Sleep(r.plan.lease + r.plan.lease/2 + 3*time.Second)
	}
}

// doze makes a worker stand still until about the time that others take over from it.
func (r *racing) doze(p *process) {
	r.tell(p, "DOZES")
	r.scribe.Write(history.Event{Proc: p.name, Op: history.OpPause})
	p.halt()
	time.Sleep(between(r.dice, r.plan.lease, 2*r.plan.lease))
	p.resume()
	r.scribe.Write(history.Event{Proc: p.name, Op: history.OpResume})
}

// ready returns who waits, in an order that does not depend on who came first.
func (t *turns) ready() []*turn {
	t.take(func(*turn) bool { return false }) // sorts
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.waiting)
}
