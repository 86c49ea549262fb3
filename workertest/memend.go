package workertest

import (
	"context"
	"slices"
	"time"
)

// Close implements worker.Consumer.
func (s *session) Close(context.Context) error {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.endLocked(0)
	return nil
}

// crash makes the session's lease run out.
func (s *session) crash() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.over || s.spare != nil {
		return
	}
	if s.renewal != nil {
		s.renewal.Stop()
	}
	s.expires = s.queue.now().Add(s.queue.lease())
	s.spare = s.queue.afterFunc(s.queue.lease(), func() {
		if recovered := s.expire(); recovered != nil {
			recovered()
		}
	})
}

// expire ends a session whose lease has run out. It returns what tells one of the other sessions, nil when there is
// nobody or nothing to tell.
func (s *session) expire() (recovered func()) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.over {
		return nil
	}
	jobs := len(s.held)
	s.endLocked(1)
	close(s.lost)
	for _, heir := range s.lane.sessions {
		if heir.spare != nil {
			continue
		}
		if jobs > 0 && heir.onRecovered != nil {
			return func() { heir.onRecovered(jobs) }
		}
		return nil
	}
	return nil
}

// renewLocked tells of a renewal after each fifth of a lease, until the session ends or crashes.
func (s *session) renewLocked() {
	if s.onRenewal == nil {
		return
	}
	s.renewal = time.AfterFunc(s.queue.lease()/5, func() {
		s.queue.mu.Lock()
		alive := !s.over && s.spare == nil
		if alive {
			s.renewLocked()
		}
		s.queue.mu.Unlock()
		if alive {
			s.onRenewal(nil)
		}
	})
}

// endLocked ends the session and gives back what it holds with so many more crashes.
func (s *session) endLocked(crashes int) {
	if s.over {
		return
	}
	s.over = true
	if s.spare != nil {
		s.spare()
	}
	for _, timer := range []*time.Timer{s.resend, s.renewal} {
		if timer != nil {
			timer.Stop()
		}
	}
	var held []*entry
	for _, e := range s.held {
		if crashes > 0 {
			e.crashes += crashes
			e.runnable, e.trace = time.Time{}, ""
		}
		held = append(held, e)
	}
	s.suspect = nil
	clear(s.held)
	s.watch.signal()
	s.lane.sessions = slices.DeleteFunc(s.lane.sessions, func(other *session) bool { return other == s })
	s.lane.giveBack(held)
}
