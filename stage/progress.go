package stage

import "sync"

// The steps' shares of a job's progress: opening is quick, the model is what users wait for.
const (
	fromOpen  = 0.0
	fromModel = 0.1
	fromStore = 0.9
	done      = 1.0
)

// progress makes one progress of the steps' own: it never goes back, and a step that is over says no more.
type progress struct {
	report func(fraction float64, message string)

	mu   sync.Mutex
	step int
	last float64
}

// begin ends the step before and says what the next one does.
func (p *progress) begin(from float64, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step++
	p.say(from, message)
}

// tell says what the current step does now.
func (p *progress) tell(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.say(p.last, message)
}

// within returns a function that reports the progress of the current step, from 0 to 1, as the share of the whole that
// ends with to. It works until the next step begins.
func (p *progress) within(to float64) func(fraction float64, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	step, from := p.step, p.last
	return func(fraction float64, message string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.step == step {
			p.say(from+clamp(fraction)*(to-from), message)
		}
	}
}

func (p *progress) say(fraction float64, message string) {
	p.last = max(p.last, fraction)
	p.report(p.last, message)
}

// clamp brings a fraction between 0 and 1; what is not a number becomes 0.
func clamp(fraction float64) float64 {
	if !(fraction > 0) {
		return 0
	}
	return min(fraction, 1)
}
