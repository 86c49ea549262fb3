package redisqueue

import "time"

// expired is a worker whose lease ran out, with its deadline as Redis shows it; "0" once it is fenced.
type expired struct{ worker, deadline string }

// reaper decides when a worker whose lease ran out is dead: when it was seen so, on a Redis that answered, for a whole
// grace. All leases run out while Redis is away, and a reaper that was paused has seen nothing; so the looks may not be
// more than two beats apart, and a deadline that changed begins anew.
type reaper struct {
	gap   time.Duration // the most between two looks
	grace time.Duration
	looks map[string]*look
}

// look is how long a worker has been seen expired.
type look struct {
	deadline    string
	first, last time.Time
	fenced      bool // a takeover has begun here, so that the deadline may have become 0 by it
}

func newReaper(beat, grace time.Duration) reaper {
	return reaper{gap: 2 * beat, grace: grace, looks: make(map[string]*look)}
}

// look takes in the workers that Redis calls expired at a beat and returns those that are dead.
func (r *reaper) look(seen []expired, now time.Time) []expired {
	looks := make(map[string]*look, len(seen))
	var dead []expired
	for _, e := range seen {
		l := r.looks[e.worker]
		same := l != nil && (l.deadline == e.deadline || l.fenced && e.deadline == "0")
		if !same || now.Sub(l.last) > r.gap {
			l = &look{deadline: e.deadline, first: now}
		}
		l.last = now
		looks[e.worker] = l
		if now.Sub(l.first) >= r.grace {
			dead = append(dead, e)
		}
	}
	r.looks = looks
	return dead
}

// fence says that a takeover has begun, and perhaps fenced the worker: it goes on at the next look.
func (r *reaper) fence(worker string) {
	if l := r.looks[worker]; l != nil {
		l.fenced = true
	}
}

// forget says that a takeover is over.
func (r *reaper) forget(worker string) { delete(r.looks, worker) }
