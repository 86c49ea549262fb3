package predict

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Limits are the bounds of a Limiter. In a zero field there is none.
type Limits struct {
	// Concurrency is how many predictions are under way at once, of those that a slot is held for. One that the next
	// attempt goes on with counts, but never waits.
	Concurrency int
	// PerMinute is how many predictions are created in a minute. Replicate allows 600.
	PerMinute float64
	// Burst is how many of them may be created at once. Zero means 1.
	Burst int
	// MaxWait is how long a job waits in its slot for its turn. One that would wait longer is put off, without an attempt
	// being counted, and comes back some seconds after its turn; then those that came later may be before it. It is also
	// how long a job keeps its turn while its original is opened; one whose original takes longer waits once more, as it
	// may come from a stranger's server. Zero means 5 seconds.
	MaxWait time.Duration
}

// Limiter bounds what the jobs of one process ask of an API: give one to all Models that share a token. Processes don't
// know of each other, so each gets its share of what the token may.
type Limiter struct {
	limits Limits

	mu      sync.Mutex
	running int
	queue   []chan struct{} // of those that wait for one to end, oldest first
	tokens  float64         // creations that are free now; negative ones are promised
	counted time.Time       // when tokens was right
	closed  time.Time       // nothing is created before: the API said so
}

// NewLimiter makes a Limiter, or reports all that is wrong with its limits.
func NewLimiter(limits Limits) (*Limiter, error) {
	var problems []error
	for name, value := range map[string]float64{"Concurrency": float64(limits.Concurrency),
		"PerMinute": limits.PerMinute, "Burst": float64(limits.Burst), "MaxWait": float64(limits.MaxWait)} {
		if !(value >= 0) {
			problems = append(problems, fmt.Errorf("%s is %v: it must not be negative", name, value))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("limiter: %w", err)
	}
	limits.Burst = or(limits.Burst, 1)
	limits.MaxWait = or(limits.MaxWait, 5*time.Second)
	return &Limiter{limits: limits, tokens: float64(limits.Burst), counted: time.Now()}, nil
}

// busyError says that it is not the job's turn soon.
type busyError struct{ after time.Duration }

func (e *busyError) Error() string { return "the limits on predictions are reached" }

// enter waits for the turn to create a prediction. Whoever entered leaves when it is over.
func (l *Limiter) enter(ctx context.Context) error {
	if l == nil {
		return nil
	}
	began := time.Now()
	if err := l.awaitPlace(ctx); err != nil {
		return err
	}
	err := l.awaitToken(ctx, l.limits.MaxWait-time.Since(began))
	if err != nil {
		l.leave()
	}
	return err
}

// turn is the turn of one that cannot enter yet. It lasts for MaxWait.
type turn struct {
	of  *Limiter
	end *time.Timer // nil: there are no bounds
}

// await waits for a turn as enter does. Whoever has one drops it.
func (l *Limiter) await(ctx context.Context) (turn, error) {
	if l == nil {
		return turn{}, nil
	}
	if err := l.enter(ctx); err != nil {
		return turn{}, err
	}
	return turn{of: l, end: time.AfterFunc(l.limits.MaxWait, l.giveBack)}, nil
}

// enter makes use of the turn, or waits for another one when it is over.
func (t turn) enter(ctx context.Context) error {
	if t.end == nil {
		return nil
	}
	if t.end.Stop() {
		if t.of.open(time.Now()) {
			return nil
		}
		t.of.giveBack()
	}
	return t.of.enter(ctx)
}

// drop leaves the turn to the next one, if no use was made of it.
func (t turn) drop() {
	if t.end != nil && t.end.Stop() {
		t.of.giveBack()
	}
}

// giveBack undoes an enter of one that has created nothing.
func (l *Limiter) giveBack() {
	l.refund()
	l.leave()
}

// open reports whether the API lets anything be created.
func (l *Limiter) open(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !now.Before(l.closed)
}

// join counts a prediction that is under way already.
func (l *Limiter) join() {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running++
	}
}

// leave gives the place to whoever waits longest.
func (l *Limiter) leave() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.admitLocked()
}

func (l *Limiter) admitLocked() {
	for len(l.queue) > 0 && l.running < l.limits.Concurrency {
		l.running++
		close(l.queue[0])
		l.queue = l.queue[1:]
	}
}

// refund takes back the creation of whoever entered and created nothing.
func (l *Limiter) refund() {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tokens++
	}
}

// closeFor keeps everybody from creating for a while.
func (l *Limiter) closeFor(d time.Duration) {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if until := time.Now().Add(d); until.After(l.closed) {
			l.closed = until
		}
	}
}

func (l *Limiter) awaitPlace(ctx context.Context) error {
	l.mu.Lock()
	if l.limits.Concurrency == 0 || l.running < l.limits.Concurrency && len(l.queue) == 0 {
		l.running++
		l.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	l.queue = append(l.queue, mine)
	l.mu.Unlock()

	timer := time.NewTimer(l.limits.MaxWait)
	defer timer.Stop()
	var err error
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = &busyError{l.limits.MaxWait}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.queue, mine); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		return err
	}
	l.running-- // it was admitted in this very moment
	l.admitLocked()
	return err
}

// awaitToken waits until one more prediction may be created, if that is within patience.
func (l *Limiter) awaitToken(ctx context.Context, patience time.Duration) error {
	patience = max(patience, 0) // what is there at once is never refused
	wait := l.reserve(time.Now(), patience)
	if wait > patience {
		return &busyError{wait}
	}
	err := sleep(ctx, wait)
	if err != nil {
		l.refund()
	}
	return err
}

// reserve takes a token, which may be one that there will be, and returns how long until then. When that is longer than
// patience, none is taken.
func (l *Limiter) reserve(now time.Time, patience time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := l.closed.Sub(now)
	if rate := l.limits.PerMinute; rate > 0 {
		l.tokens = min(l.tokens+now.Sub(l.counted).Minutes()*rate, float64(l.limits.Burst))
		l.counted = now
		if missing := 1 - l.tokens; missing > 0 {
			wait = max(wait, time.Duration(missing/rate*float64(time.Minute)))
		}
	}
	if wait <= patience {
		l.tokens--
	}
	return max(wait, 0)
}

// sleep returns after d, or with the cause of the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
