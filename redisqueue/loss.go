package redisqueue

import (
	"fmt"
	"sync"
	"time"
)

// DataLoss is what a worker noticed at a heartbeat: Redis no longer has what it had acknowledged, as after a restart from
// an old snapshot, a failover to a replica that was behind, or FLUSHALL.
type DataLoss struct {
	Queue  string
	Worker string // its name in Redis
	Sign   LossSign
	Detail string    // the sign in figures, for people
	At     time.Time // when it was noticed
}

// LossSign says by what a loss of data was noticed.
type LossSign string

const (
	// SignSessionGone says that Redis doesn't know the worker, though nobody could have taken over from it: it was in
	// touch less than lease and grace ago. It looks the same when Redis's clock was ahead meanwhile and has come back.
	SignSessionGone LossSign = "session gone"
	// SignLeaseEarlier says that the worker's lease runs out earlier than Redis had acknowledged.
	SignLeaseEarlier LossSign = "lease earlier"
	// SignTokensBack says that the fencing counter is below a token that this process was given.
	SignTokensBack LossSign = "tokens back"
	// SignJobsMissing says that Redis lacks jobs that the worker holds, with no verdict under way or unanswered.
	SignJobsMissing LossSign = "jobs missing"
)

// witness remembers what Redis acknowledged to one session last, and judges by that what it says later. It has no clock
// of its own and asks nobody.
type witness struct {
	patience time.Duration // in which nobody can take over from a worker that is in touch
	slack    time.Duration // that the two clocks may differ by, for other reasons than a step
	last     contact
	deadline int64 // of the lease, in ms by Redis's clock
	first    int64 // the deadline that the session began with
}

// contact is one call that Redis has answered.
type contact struct {
	sent, received time.Time
	clock          int64 // Redis's own, in ms, at some moment in between
}

// acknowledged says that Redis has given or renewed the lease.
func (w *witness) acknowledged(c contact, lease time.Duration) {
	w.last, w.deadline = c, c.clock+ceilMillis(lease)
	if w.first == 0 {
		w.first = w.deadline
	}
}

// renewed judges the deadline that Redis had when it renewed the lease. A beat whose reply was lost made it later, never
// earlier, unless Redis's clock may have stepped back. It may have stepped forth again since; but no data from before the
// session has a deadline of its lease.
func (w *witness) renewed(c contact, deadline int64) (sign LossSign, detail string) {
	if w.first <= deadline && deadline < w.deadline && w.behind(c) <= w.slack {
		return SignLeaseEarlier, fmt.Sprintf("the lease ran until %d, acknowledged was %d", deadline, w.deadline)
	}
	return "", ""
}

// gone judges that Redis doesn't know the worker. A clock that may have stepped ahead lets a lease run out at once.
func (w *witness) gone(c contact) (sign LossSign, detail string) {
	if since := c.received.Sub(w.last.sent); since < w.patience && w.ahead(c) <= w.slack {
		return SignSessionGone, fmt.Sprintf("the lease was renewed %v before", since.Round(time.Millisecond))
	}
	return "", ""
}

// ahead and behind are by how much Redis's clock has gone ahead of the local one since the last contact, or has fallen behind
// it, at most: when in a call Redis read its clock nobody knows, and a call may have taken long.
func (w *witness) ahead(c contact) time.Duration  { return w.theirs(c) - c.sent.Sub(w.last.received) }
func (w *witness) behind(c contact) time.Duration { return c.received.Sub(w.last.sent) - w.theirs(c) }

// theirs is how much time has passed since by Redis's clock.
func (w *witness) theirs(c contact) time.Duration {
	return time.Duration(c.clock-w.last.clock) * time.Millisecond
}

// tokens are the fencing tokens that this process was given on one queue. They rise, whatever Redis forgets.
type tokens struct {
	mu      sync.Mutex
	highest int64
	counted int64 // what Redis's counter cannot be below, unless it lost data
}

// saw says that a claim brought a token.
func (t *tokens) saw(token int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.highest = max(t.highest, token)
	t.counted = max(t.counted, token)
}

// given returns the highest token, and what the counter has reached.
func (t *tokens) given() (highest, counted int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.highest, t.counted
}

// judge compares Redis's counter with what it had reached before it was read. A loss is told of once.
func (t *tokens) judge(counter, counted int64) (sign LossSign, detail string) {
	if counter >= counted {
		return "", ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counted == counted { // else a claim has raised the counter again meanwhile
		t.counted = counter
	}
	return SignTokensBack, fmt.Sprintf("the counter is %d, a claim was given %d", counter, counted)
}

// losses are the tokens of all queues of a Queue, and when it last told of a loss.
type losses struct {
	mu     sync.Mutex
	told   time.Time
	tokens map[string]*tokens // by queue
}

// of returns the tokens of a queue.
func (l *losses) of(queue string) *tokens {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tokens == nil {
		l.tokens = make(map[string]*tokens)
	}
	if l.tokens[queue] == nil {
		l.tokens[queue] = &tokens{}
	}
	return l.tokens[queue]
}

// isNew reports whether a sign at this moment is that of a loss of which nobody was told: other sessions see the same
// one, each at a beat of its own and by one sign after the other.
func (l *losses) isNew(at time.Time, apart time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.told.IsZero() && at.Sub(l.told) < apart {
		return false
	}
	l.told = at
	return true
}

// report tells of a loss, once.
func (q *Queue) report(l DataLoss) {
	lease := q.config.Lease
	if !q.losses.isNew(l.At, lease+q.config.Grace+2*lease/beatsPerLease) {
		return
	}
	q.config.Logger.Error("redis has lost data: what it had acknowledged is gone", "queue", l.Queue, "worker", l.Worker,
		"sign", string(l.Sign), "detail", l.Detail)
	if q.config.OnDataLoss != nil {
		go q.callHook(l) // who is slow here must not cost a lease
	}
}

func (q *Queue) callHook(l DataLoss) {
	defer func() {
		if p := recover(); p != nil {
			q.config.Logger.Error("OnDataLoss panicked", "panic", p)
		}
	}()
	q.config.OnDataLoss(l)
}
