package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSharesUnderLoadAreThoseOfTheWeights(t *testing.T) {
	const short, long = 5 * ms, 2 * time.Second
	tests := []struct {
		name   string
		size   int
		crowds []*crowd
		takes  time.Duration
		want   []float64
	}{
		{"one slot", 1, []*crowd{lasting(9, 10*ms), lasting(1, 10*ms)}, time.Minute, []float64{.9, .1}},
		{"as many slots as weights", 10, []*crowd{lasting(9, 10*ms), lasting(1, 10*ms)}, 9 * time.Second, []float64{.9, .1}},
		{"many slots", 100, []*crowd{lasting(9, 10*ms), lasting(1, 10*ms)}, 9 * time.Second, []float64{.9, .1}},
		{"three queues", 7, []*crowd{lasting(6, 5*ms), lasting(3, 5*ms), lasting(1, 5*ms)}, 9 * time.Second, []float64{.6, .3, .1}},
		{"look-ahead", 10, []*crowd{lasting(9, ms/10), lasting(1, ms/10)}, time.Second, []float64{.9, .1}},
		{"the light one is long", 10, []*crowd{lasting(9, short), lasting(1, long)}, time.Minute, []float64{.9, .1}},
		{"the heavy one is long", 10, []*crowd{lasting(9, long), lasting(1, short)}, time.Minute, []float64{.9, .1}},
		{"the light one is long, one slot", 1, []*crowd{lasting(9, short), lasting(1, long)}, 10 * time.Minute, []float64{.9, .1}},
		{"the light one is long, few slots", 3, []*crowd{lasting(9, short), lasting(1, long)}, 5 * time.Minute, []float64{.9, .1}},
		{"all lengths", 10, []*crowd{mixed(9, ms, time.Second), mixed(1, ms, 10*time.Second)}, 20 * time.Minute, []float64{.9, .1}},
		{"the heavy one at its limit", 10, []*crowd{limited(lasting(9, 20*ms), 2), lasting(1, 20*ms)}, 9 * time.Second, []float64{.2, .8}},
		{"the heavy one at its limit, long", 10, []*crowd{limited(lasting(9, long), 2), lasting(1, 20*ms)}, time.Minute, []float64{.2, .8}},
		{"the light one at its limit", 40, []*crowd{lasting(9, 20*ms), limited(lasting(1, 20*ms), 2)}, 9 * time.Second, []float64{.95, .05}},
		{"a limit that is not reached", 10, []*crowd{lasting(9, 20*ms), limited(lasting(1, 20*ms), 5)}, 9 * time.Second, []float64{.9, .1}},
	}
	for _, tt := range tests {
		p := newPlay(tt.size, false, tt.crowds...)
		near(t, tt.want, p.measure(tt.takes), tt.name)
		assert.Equal(t, tt.size, p.most, tt.name)
	}
}

func TestNoQueueStarves(t *testing.T) {
	light, heavy := lasting(1, 10*ms), lasting(9, 10*ms)
	p := newPlay(2, false, heavy, light)
	p.measure(10 * time.Second)
	assert.Less(t, light.longest, 100*ms, "every tenth job is its own")

	light, heavy = lasting(1, ms), mixed(99, time.Second, 3*time.Second)
	p = newPlay(4, false, heavy, light)
	p.measure(time.Minute)
	assert.Less(t, light.longest, 5*time.Second, "it waits for one job, however little it weighs")
}

func TestAQueueThatRunsEmptyAndComesBack(t *testing.T) {
	tests := []struct {
		name         string
		heavy, light time.Duration // of a job
	}{
		{"equal jobs", 10 * ms, 10 * ms}, {"the light one is long", 10 * ms, 500 * ms}, {"the heavy one is long", 500 * ms, 10 * ms},
	}
	for _, tt := range tests {
		for _, gone := range []int{0, 1} {
			p := newPlay(10, false, lasting(9, tt.heavy), lasting(1, tt.light))
			near(t, []float64{.9, .1}, p.measure(20*time.Second), tt.name)
			p.drain(p.crowds[gone])
			p.pass(time.Second)
			assert.InDelta(t, 1, p.measure(20 * time.Second)[1-gone], .001, "%s: the other one has all", tt.name)
			p.fill(p.crowds[gone])
			p.pass(2 * time.Second) // until what held the slots meanwhile is made up for
			near(t, []float64{.9, .1}, p.measure(20*time.Second), tt.name+": nobody catches up")
		}
	}
}

func TestAQueueThatHasLittleIsServedAtOnce(t *testing.T) {
	rare, busy := lasting(1, 10*ms), lasting(9, 10*ms)
	p := newPlay(1, false, busy, rare)
	p.drain(rare)
	p.pass(time.Second)
	for range 20 {
		p.fill(rare)
		came := p.now
		for rare.began < came && p.now < came+time.Second {
			p.pass(ms)
		}
		assert.LessOrEqual(t, rare.began-came, 120*ms)
		p.drain(rare)
		p.pass(200 * ms)
	}
}

func TestWeightsAndLimitsChange(t *testing.T) {
	a, b := lasting(9, 10*ms), lasting(1, 30*ms)
	p := newPlay(10, false, a, b)
	near(t, []float64{.9, .1}, p.measure(10*time.Second), "before")
	p.slots.change(a.share, 1, 0)
	near(t, []float64{.5, .5}, p.measure(10*time.Second), "equal weights")
	p.slots.change(a.share, 3, 1)
	near(t, []float64{.1, .9}, p.measure(10*time.Second), "a limit")
	p.slots.change(a.share, 3, 0)
	near(t, []float64{.75, .25}, p.measure(time.Second), "without the limit, at once")
}

func TestStrictServesTheHeavierFirst(t *testing.T) {
	low, high, peer := lasting(1, 10*ms), lasting(5, 10*ms), lasting(5, 20*ms)
	p := newPlay(4, true, low, high, peer)
	p.pass(time.Second)
	got := p.measure(10 * time.Second)
	assert.Zero(t, got[0], "it is served while nothing waits above")
	near(t, []float64{.5, .5}, got[1:], "equals share")

	p.drain(high)
	p.pass(100 * ms)
	assert.InDelta(t, 1, p.measure(time.Second)[2], .001)
	p.drain(peer)
	p.pass(100 * ms)
	assert.InDelta(t, 1, p.measure(time.Second)[0], .001, "nothing waits above")
	p.fill(high)
	p.pass(15 * ms)
	assert.InDelta(t, 1, p.measure(time.Second)[1], .001, "what ran has ended")

	p.slots.change(high.share, 5, 1)
	p.pass(20 * ms)
	near(t, []float64{.75, .25}, p.measure(time.Second)[:2], "what the higher one may not use, the lower one has")
}

func TestOneLongJobDoesNotKeepAQueueFromItsSlots(t *testing.T) {
	first := true
	odd := &crowd{weight: 9, lasts: func() time.Duration {
		if first {
			first = false
			return time.Minute
		}
		return 10 * ms
	}}
	p := newPlay(10, false, odd, lasting(1, 10*ms))
	p.pass(time.Minute + 5*ms)
	near(t, []float64{.9, .1}, p.measure(time.Second), "right after it")
}

func TestJobsThatTakeLongerThanExpectedCountAsTheyGo(t *testing.T) {
	p := newPlay(10, false, lasting(9, 10*ms), lasting(1, time.Hour))
	got := p.measure(time.Minute)
	assert.Less(t, got[1], .35, "a few of the first ones at most")
}

func TestWhoComesDoesNotGetWhatAnotherMayNotUse(t *testing.T) {
	bound, busy, late := limited(lasting(90, 10*ms), 1), lasting(1, 10*ms), lasting(1, 10*ms)
	p := newPlay(10, false, bound, busy, late)
	p.drain(late)
	p.pass(10 * time.Second)
	p.fill(late)
	p.pass(50 * ms)
	near(t, []float64{.1, .45, .45}, p.measure(time.Second), "from the beginning")
}

// What a queue at its limit, or one that is being removed, has fallen behind by is nothing that others could have had.
func TestWhoComesIsWhereThoseAreThatWantSlots(t *testing.T) {
	for name, leaving := range map[string]bool{"at its limit": false, "leaving": true} {
		behind, busy, late := lasting(1, 10*time.Minute), lasting(1, 100*ms), lasting(1, 100*ms)
		if !leaving {
			behind.limit = 1
		}
		p := newPlay(10, false, behind, busy, late)
		behind.share.expected = 10 * time.Minute // by earlier jobs
		p.drain(late)
		p.pass(25 * time.Minute)
		if leaving {
			p.slots.retire(behind.share)
			p.pass(time.Minute)
		}
		p.fill(late)
		p.pass(2 * time.Second)
		got := p.measure(10 * time.Second)
		assert.InEpsilon(t, got[1], got[2], .1, "%s: %v", name, got)
	}
}

func TestWhoComesToQueuesAtTheirLimitsHasATurn(t *testing.T) {
	s := newSlots(4, false)
	first, second, idle, late := s.addShare(1, 2), s.addShare(1, 2), s.addShare(1, 0), s.addShare(1, 0)
	for _, sh := range []*share{first, second} {
		s.claimed(sh, s.take(sh), line(sh, 2), 1, false)
	}
	idle.paid, second.paid = 1000, 10
	assert.Zero(t, s.take(late))
	assert.InDelta(t, 10, late.paid, 1)
}

func TestARetiredShareTellsWhenItHasNothingLeft(t *testing.T) {
	s := newSlots(2, false)
	sh, other := s.addShare(1, 0), s.addShare(1, 0)
	n := s.take(sh)
	quiet := s.retire(sh)
	jobs := line(sh, n)
	assert.Empty(t, s.claimed(sh, n, jobs, 1, false), "what was still claimed is not started")
	isQuiet := func() bool {
		select {
		case <-quiet:
			return true
		default:
			return false
		}
	}
	assert.False(t, isQuiet())
	assert.Len(t, s.withdraw(func(*attempt) bool { return true }), n)
	assert.False(t, isQuiet(), "they are not settled")
	s.settled(sh, n)
	assert.True(t, isQuiet())
	assert.Zero(t, s.take(sh), "though slots are free")
	s.remove(sh)
	assert.Equal(t, []*share{other}, s.shares)
	assert.Equal(t, 2, s.take(other))
}

// A queue whose claim hangs gets nothing until it answers: it sets no pace for whoever comes meanwhile.
func TestWhoComesBesideAClaimThatHangsTakesNoMoreThanItsShare(t *testing.T) {
	busy, hangs, comes := lasting(1, 10*ms), lasting(1, 10*ms), lasting(1, 10*ms)
	p := newPlay(10, false, busy, hangs, comes)
	p.drain(comes)
	p.pass(time.Second)
	hangs.asleep = true
	for p.slots.take(hangs.share) == 0 { // a claim that nothing answers
		p.pass(ms)
	}
	wake := func(d time.Duration, crowds ...*crowd) { // as a pool does when a claim becomes late
		for end := p.now + d; p.now < end; {
			p.pass(10 * ms)
			for _, c := range crowds {
				if !c.asleep && c.share.claiming == 0 {
					p.feed(c)
				}
			}
		}
	}
	wake(3*time.Second, busy)
	p.fill(comes)
	busy.used, comes.used = 0, 0
	wake(time.Second, busy, comes)
	assert.InDelta(t, busy.used.Seconds(), comes.used.Seconds(), .5)
}
