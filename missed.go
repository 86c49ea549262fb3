package worker

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	maxMissed     = maxWaitingNotes / 2 // topics that are remembered
	maxResetTries = 100                 // in a row, about an hour and a half: by then a log has expired, too
)

// missed are topics of which statuses were dropped, until their readers have been sent to a snapshot. They are tried
// again and again, as no other status may ever come by which a reader could notice.
type missed struct {
	reset func(topics []string) // calls add again with what it cannot do

	mu     sync.Mutex
	topics map[string]bool
	tries  int // since the notifier worked last
	timer  *time.Timer
	ended  bool
}

// add remembers the topics of dropped statuses, as many as there is room for.
func (m *missed) add(dropped ...Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	for i := range dropped {
		if m.topics == nil {
			m.topics = make(map[string]bool)
		}
		if len(m.topics) < maxMissed {
			m.topics[dropped[i].Topic] = true
		}
	}
	if len(m.topics) == 0 || m.timer != nil {
		return
	}
	if m.tries++; m.tries > maxResetTries {
		m.topics, m.tries = nil, 0
		return
	}
	d := RetryPolicy{Base: time.Second, Max: time.Minute}.Delay(m.tries, 1)
	m.timer = time.AfterFunc(d/2+rand.N(d/2), m.flush)
}

func (m *missed) flush() {
	m.mu.Lock()
	topics := slices.Collect(maps.Keys(m.topics))
	m.topics, m.timer = nil, nil
	m.mu.Unlock()
	if len(topics) > 0 {
		m.reset(topics)
	}
}

// worked says that the notifier works: what waits need not wait any longer.
func (m *missed) worked() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries = 0
	if m.timer != nil {
		m.timer.Reset(0)
	}
}

// end forgets everything, for good.
func (m *missed) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended, m.topics = true, nil
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
}
