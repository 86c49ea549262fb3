package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxUniqueKeyLength is the limit of a unique key, in bytes.
	MaxUniqueKeyLength = 255
	// DefaultUniqueFor is for how long a key is taken at most where UniquePolicy.For is zero.
	DefaultUniqueFor = 24 * time.Hour
	// MaxUniqueFor is the limit of UniquePolicy.For.
	MaxUniqueFor = 366 * 24 * time.Hour
)

// Unique makes a job the only one of its key on its queue: while it has the key, jobs of other ids that come with it are
// not enqueued, and their producers get a *DuplicateError. Jobs on other queues, and jobs without Unique, don't count.
type Unique struct {
	// Key is what there may be one job of: 1 to 255 bytes without control characters. Types of jobs share the keys of a
	// queue, so a key may well begin with its type.
	Key string
	UniquePolicy
}

// UniquePolicy says for how long a job has its key, and what becomes of those that come meanwhile. The zero value is the
// usual one: until the job is final.
type UniquePolicy struct {
	// Until says when the key is free again.
	Until UniqueUntil
	// For is when the key is free at the latest, whatever became of the job: so long after the job is due, as the producer's
	// clock tells of an absolute time, or with ForPeriod after it was enqueued. Nothing renews the key, so For should be
	// longer than the job may wait and run, with its retries: a key that has run out lets the next job in beside the first.
	// Zero means DefaultUniqueFor; the limit is MaxUniqueFor.
	For time.Duration
	// Replace makes this job take the place of the one that has the key, if that is of the same type and still waits:
	// payload, time and all else become this job's, but the waiting one keeps its id, its topic, what it counts of
	// attempts, and its place in line unless the new time is a later one. It is how bursts are debounced. One that runs is
	// not replaced: the error is a *DuplicateError. One that is claimed and has its key UntilStarted may see what it was
	// enqueued with only: it gives the key up, and this job is enqueued behind it.
	//
	// When the outcome is unknown it may have taken the place: repeated after the one has run, the job runs again. When its
	// status could not be recorded, the error says so: it runs, and the store keeps the older job, which would run should Redis
	// lose the newer one. A status store that is no Getter cannot tell that a job was over when its worker died, and is dropped
	// with its next claim: what has taken its place by then is dropped as well.
	Replace bool
}

// UniqueUntil says when a unique key is free again.
type UniqueUntil int

const (
	// UntilFinal keeps the key until the job has ended, in whichever way, but no longer than For: one waits or runs at a
	// time, unless it takes longer than that.
	UntilFinal UniqueUntil = iota
	// UntilStarted keeps the key until the handler is about to be called for the first time: one waits, and what comes
	// while it runs is enqueued behind it.
	UntilStarted
	// ForPeriod keeps the key for the period For after the enqueue, whether the job has ended or not: one in a period.
	ForPeriod
)

// String returns the name as logs show it.
func (u UniqueUntil) String() string {
	switch u {
	case UntilFinal:
		return "until final"
	case UntilStarted:
		return "until started"
	case ForPeriod:
		return "for period"
	}
	return fmt.Sprintf("until(%d)", int(u))
}

// UniqueBy makes the job the only one of its key on its queue. The queue must be a Uniquer.
func UniqueBy(key string, policy UniquePolicy) JobOption {
	return func(j *Job) { j.Unique = &Unique{Key: key, UniquePolicy: policy} }
}

// Expiry returns for how long from now the job's key is taken, if nothing frees it before: for queues.
func (u *Unique) Expiry(wait time.Duration) time.Duration {
	d := u.For
	if d == 0 {
		d = DefaultUniqueFor
	}
	if u.Until == ForPeriod || wait <= 0 {
		return d
	}
	return d + min(wait, 100*MaxUniqueFor)
}

// check is a part of checkHeader.
func (u *Unique) check() error {
	if u == nil {
		return nil
	}
	if err := checkName("unique key", u.Key, MaxUniqueKeyLength); err != nil {
		return err
	}
	switch {
	case u.Until < UntilFinal || u.Until > ForPeriod:
		return fmt.Errorf("unique %v is unknown", u.Until)
	case u.For < 0:
		return negative("unique For", u.For)
	case u.For > 0 && u.For < time.Millisecond:
		return fmt.Errorf("unique For is %v: the least is 1ms", u.For)
	case u.For > MaxUniqueFor:
		return fmt.Errorf("unique For is %v: the limit is %v", u.For, MaxUniqueFor)
	}
	return nil
}

// DuplicateError says that a job was not enqueued as another one has its unique key, and will not be by itself. Ask with
// errors.As.
type DuplicateError struct {
	Key    string // the unique key
	Holder string // the id of the job that has it
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("unique key %q is taken by job %q", e.Key, e.Holder)
}

func isDuplicate(err error) bool { return errors.As(err, new(*DuplicateError)) }

// Uniquer is a Queue that keeps jobs unique, as their Unique says. It adds to what all queues do:
//
//   - Enqueue takes the key of a job that is new, in one step with making it available. One whose key another id has is
//     listed in the *EnqueueError, with a *DuplicateError. An id that waits or is held is left as it is, whoever has the key.
//   - Settle frees the key of a job that ends, by ActionComplete, ActionBury or ActionCancel, in one step with that, and
//     RemoveCanceled that of a job which it puts among the dead; but not one that is taken ForPeriod.
//   - Reopen takes the key again, or changes nothing and answers a *DuplicateError.
//   - A key is freed only for the job that has it, and is free by itself after Unique.Expiry.
type Uniquer interface {
	// Holders tells which jobs keep the given ones out, in their order. All have a Unique. It is a look: Enqueue decides.
	Holders(ctx context.Context, jobs ...*Job) ([]Holder, error)
	// Replace makes a waiting job another one, in one step: of the same id, queue and unique key. before is the job as
	// Holders told of it. After's Delay or RunAt say when it is due; one that is due already keeps its place in line, unless
	// after is due later. Its checkpoint is dropped, its attempts and crashes stay, its key expires as after says. It
	// returns PlaceWaiting when that is done. When it is not, all is as it was: PlaceHeld says that the job is claimed,
	// PlaceDead that it has ended or a cancel is under way, PlaceUnknown that it is no longer what it was, or no longer has
	// the key: look again. One that is claimed and has the key UntilStarted may be at work any moment, and gives the key up
	// in this step: that is PlaceUnknown, too. With PlaceWaiting comes a token, drawn in the same step as that of Edited.
	Replace(ctx context.Context, before, after *Job) (Place, int64, error)
}

// Holder is the job that has a unique key.
type Holder struct {
	// ID is its id; empty when the key is free, the job that was asked about has it, or that one waits or is held anyway.
	ID string
	// Job is the job, for those that ask with Replace set; nil when the queue doesn't have it any more or it doesn't decode.
	Job *Job
}

// UniqueReleaser is a Uniquer that frees keys for whoever asks: what Client.ReleaseUnique needs.
type UniqueReleaser interface {
	// ReleaseUnique frees a queue's unique key, whichever job has it and until when, and returns that job's id: empty when
	// the key was free. The job stays as it is, and leaves the key to whoever takes it next. Repeating it is safe while
	// nobody has. An empty key is an error.
	ReleaseUnique(ctx context.Context, queue, key string) (holder string, err error)
}

// Unlocker is a Consumer that can free unique keys before their jobs end: the pool calls it for jobs that have theirs
// UntilStarted.
type Unlocker interface {
	// Unlock frees the keys of jobs that this worker holds, each if the job still has it; of one that it no longer holds
	// under its token nothing happens. It wraps ErrLeaseLost when the session is over. Repeating it is safe.
	Unlock(ctx context.Context, jobs ...*Job) error
}
