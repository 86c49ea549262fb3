package worker

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The tests of shares run the slots as a pool would, on a clock that jumps from event to event.

// crowd is one queue of such a pool.
type crowd struct {
	weight, limit int
	lasts         func() time.Duration // of the next job
	empty         bool
	share         *share
	asleep        bool          // its feed waits for something to claim
	used          time.Duration // slot time of this measurement
	began         time.Duration // when its last job did
	longest       time.Duration // between two that began
}

// lasting is a queue with more jobs than can be run, each of which takes as long.
func lasting(weight int, d time.Duration) *crowd {
	return &crowd{weight: weight, lasts: func() time.Duration { return d }}
}

// mixed is one whose jobs take between least and most, most of them little.
func mixed(weight int, least, most time.Duration) *crowd {
	dice := rand.New(rand.NewPCG(1, uint64(weight)))
	return &crowd{weight: weight, lasts: func() time.Duration {
		x := dice.Float64()
		return least + time.Duration(x*x*x*x*float64(most-least))
	}}
}

func limited(c *crowd, limit int) *crowd {
	c.limit = limit
	return c
}

const ms = time.Millisecond

// play is a pool of which there is nothing but the slots.
type play struct {
	slots     *slots
	crowds    []*crowd
	roundTrip time.Duration // of a claim
	cpus      int
	now       time.Duration
	since     time.Duration // when the measurement began
	queue     events
	runs      map[*attempt]job
	seated    []*attempt    // those of them that have no CPU yet
	most      int           // jobs that ran at once
	waited    time.Duration // by a job that was claimed, for its slot, at most
}

// job is one that runs.
type job struct {
	crowd *crowd
	began time.Duration
}

type event struct {
	at  time.Duration
	run func()
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newPlay(size int, strict bool, crowds ...*crowd) *play {
	p := &play{slots: newSlots(size, strict), crowds: crowds, roundTrip: ms, cpus: size, runs: make(map[*attempt]job)}
	p.slots.now = func() time.Time { return p.slots.epoch.Add(p.now) }
	for _, c := range crowds {
		c.share = p.slots.addShare(c.weight, c.limit)
		p.feed(c)
	}
	return p
}

func (p *play) after(d time.Duration, run func()) { heap.Push(&p.queue, event{p.now + d, run}) }

// feed claims, if it may.
func (p *play) feed(c *crowd) {
	n := p.slots.take(c.share)
	if n > 0 {
		p.after(p.roundTrip, func() { p.claimed(c, n) })
	}
}

func (p *play) claimed(c *crowd, asked int) {
	n := asked
	if c.empty {
		n = 0
	}
	jobs := line(c.share, n)
	for _, a := range jobs {
		a.claimed = p.slots.now()
	}
	p.start(p.slots.claimed(c.share, asked, jobs, p.roundTrip, false))
	if n > 0 {
		p.feed(c)
		return
	}
	c.asleep = true
}

// fill and drain say that a queue has jobs, and that it has none.
func (p *play) fill(c *crowd) {
	c.empty = false
	if c.asleep {
		c.asleep = false
		p.feed(c)
	}
}

func (p *play) drain(c *crowd) { c.empty = true }

func (p *play) start(attempts []*attempt) {
	for _, a := range attempts {
		c := p.of(a)
		p.waited = max(p.waited, p.slots.now().Sub(a.claimed))
		p.runs[a] = job{c, p.now}
		c.longest, c.began = max(c.longest, p.now-c.began), p.now
	}
	p.most = max(p.most, p.slots.inUse())
	p.seated = append(p.seated, attempts...)
	for len(p.seated) > 0 && len(p.runs)-len(p.seated) < p.cpus {
		a := p.seated[0]
		p.seated = p.seated[1:]
		a.taken = p.slots.now()
		p.after(p.of(a).lasts(), func() { p.finish(a) })
	}
}

func (p *play) of(a *attempt) *crowd {
	for _, c := range p.crowds {
		if c.share == a.share() {
			return c
		}
	}
	return nil
}

func (p *play) finish(a *attempt) {
	j := p.runs[a]
	j.crowd.used += p.now - max(j.began, p.since)
	delete(p.runs, a)
	next, more := p.slots.finish(a)
	p.slots.settled(a.share(), 1)
	if next != nil {
		more = append(more, next)
	}
	p.start(more)
}

// pass lets time pass.
func (p *play) pass(d time.Duration) {
	end := p.now + d
	for len(p.queue) > 0 && p.queue[0].at <= end {
		e := heap.Pop(&p.queue).(event)
		p.now = e.at
		e.run()
		for _, c := range p.crowds {
			select {
			case <-c.share.wake:
				if !c.asleep && c.share.claiming == 0 {
					p.feed(c)
				}
			default:
			}
		}
	}
	p.now = end
}

// measure lets time pass and returns what part of the slots that were used each queue had.
func (p *play) measure(d time.Duration) (shares []float64) {
	p.since = p.now
	for _, c := range p.crowds {
		c.used, c.longest, c.began = 0, 0, p.now
	}
	p.pass(d)
	for _, j := range p.runs {
		j.crowd.used += p.now - max(j.began, p.since)
	}
	var all time.Duration
	for _, c := range p.crowds {
		all += c.used
	}
	for _, c := range p.crowds {
		shares = append(shares, c.used.Seconds()/all.Seconds())
	}
	return shares
}

// near asserts that shares are within a tenth of what is wanted.
func near(t *testing.T, want, got []float64, when string) {
	t.Helper()
	for i := range want {
		assert.InEpsilon(t, want[i], got[i], .1, "%s: share %d of %v", when, i, got)
	}
}
