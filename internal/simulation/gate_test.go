package simulation

import "sync"

// gate holds back whoever comes to it while it is shut. The zero value is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while it is open; closed when it opens
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pass waits until the gate is open, or over is closed.
func (g *gate) pass(over <-chan struct{}) {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return
		}
		select {
		case <-shut:
		case <-over:
			return
		}
	}
}
