package worker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// touchy panics when it is looked at.
type touchy struct {
	ping
	Sound bool `json:"sound"`
}

func (p touchy) Validate() error {
	if !p.Sound {
		panic("ouch")
	}
	return nil
}

// What the host's code makes of a first tick may be wrong in every way: NewPool says so.
func TestAPayloadOrAnOptionThatPanicsIsAProblem(t *testing.T) {
	for name, change := range map[string]func(*worker.Periodic){
		"payload": func(p *worker.Periodic) { p.Payload = touchy{} },
		"payload of a tick": func(p *worker.Periodic) {
			p.Payload, p.PayloadAt = nil, func(time.Time) (worker.Payload, error) { return touchy{}, nil }
		},
		"option": func(p *worker.Periodic) { p.Options = []worker.JobOption{func(*worker.Job) { panic("ouch") }} },
	} {
		cfg := newRig(t, noop).cfg
		p := minutely(worker.MissedSkip)
		change(&p)
		cfg.Periodic = []worker.Periodic{p}
		require.NotPanics(t, func() {
			_, err := worker.NewPool(cfg)
			assert.ErrorContains(t, err, `Periodic 0, "ping"`, name)
			assert.ErrorContains(t, err, "ouch", name)
			assert.ErrorAs(t, err, new(*worker.PanicError), name)
		}, name)
	}
}
