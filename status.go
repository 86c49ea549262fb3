package worker

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// State is where a job is in its life.
//
//	scheduled | queued → running → succeeded | retrying | failed | canceled
//
// Retrying will run again; failed never will, unless Client.Requeue opens a new round.
type State string

const (
	StateScheduled State = "scheduled" // waits for its time
	StateQueued    State = "queued"    // waits for a worker
	StateRunning   State = "running"   // its handler runs
	StateRetrying  State = "retrying"  // an attempt failed; it will run again
	StateSucceeded State = "succeeded" // final
	StateFailed    State = "failed"    // final
	StateCanceled  State = "canceled"  // final
)

// Final reports whether the state ends a round.
func (s State) Final() bool {
	return s == StateSucceeded || s == StateFailed || s == StateCanceled
}

// Status is one moment of a job's life, as stores keep it and users see it.
type Status struct {
	JobID string `json:"job_id"`
	Type  string `json:"type"`
	Queue string `json:"queue"`
	Topic string `json:"topic"`
	State State  `json:"state"`
	// Version orders the statuses of a job in one comparable number: token·2¹⁴ + phase·2¹² + sequence. A store
	// compares it; nothing else needs to know how it is made.
	Version     int64 `json:"version,string"` // a string, since JavaScript would round the number
	Attempt     int   `json:"attempt"`
	MaxAttempts int   `json:"max_attempts"` // zero: as many as the retry policy's Window has room for
	Crashes     int   `json:"crashes,omitempty"`
	// Progress is from 0 to 1.
	Progress float64 `json:"progress"`
	// Message and Error are valid UTF-8 without NUL, at most MaxTextSize bytes: the runtime sees to it.
	Message string          `json:"message,omitempty"`
	Error   string          `json:"error,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	// RunAt is when a scheduled or retrying job is due; zero in other states.
	RunAt time.Time `json:"run_at,omitzero"`
	// At is when the status was made, by the clock of the process that made it.
	At time.Time `json:"at"`
	// Job is the job itself, for hosts that need its payload. Read only.
	Job *Job `json:"-"`
}

// The phases of a claim, in the order in which its statuses may follow each other.
const (
	phaseWaiting = iota
	phaseRunning
	phasePutBack
	phaseFinal
)

const (
	sequenceBits = 12
	phaseBits    = 2
	maxSequence  = 1<<sequenceBits - 1
)

// version makes a Status.Version.
func version(token int64, phase, sequence int) int64 {
	return token<<(sequenceBits+phaseBits) | int64(phase)<<sequenceBits | int64(sequence)
}

// Token returns the fencing token that the status was written under: 0 for what a producer wrote.
func (s *Status) Token() int64 { return s.Version >> (sequenceBits + phaseBits) }

func (s *Status) phase() int { return int(s.Version>>sequenceBits) & (1<<phaseBits - 1) }

// opens reports whether the status opens a round: the first enqueue, or a Requeue.
func (s *Status) opens() bool { return s.phase() == phaseWaiting }

// ended reports whether a row, nil if there is none, says that a round of its job is over: what the queue still has of that is
// dropped with its next claim. A job that was refused at its enqueue has not ended in this sense.
func (s *Status) ended() bool { return s != nil && s.State.Final() && s.Token() > 0 }

// queue is the job's, which a host's store may not keep by itself: empty when nothing tells it.
func (s *Status) queue() string {
	if s.Queue == "" && s.Job != nil {
		return s.Job.Queue
	}
	return s.Queue
}

// BringsJob reports whether a store that keeps jobs must replace the one that it has by Status.Job: the status opens a
// round, or the job was edited while it waited. All others may leave Job alone.
func (s *Status) BringsJob() bool {
	return s.opens() || s.phase() == phasePutBack && s.Version&maxSequence > 0
}

// editedVersion is the version of the status that tells of an edit, by the token that the edit drew. Workers put jobs back
// with sequence 0. The next claim's token is larger, and so is the next edit's: whatever is written late changes nothing.
func editedVersion(token int64) int64 { return version(token, phasePutBack, 1) }

// Supersedes reports whether a store that holds row must replace it by s. It is the rule of StatusStore.Save for the
// versions of one job, for stores written in Go; SQL stores state the same in their WHERE.
//
//   - Succeeded is final for ever.
//   - Failed and canceled yield only to a status that opens a round with a later token, which Requeue draws. A failed
//     one of token 0 says "not enqueued" and yields to any claim and to any enqueue.
//   - A status that opens a round with a token of its own replaces nothing else.
//   - Otherwise the higher version wins.
func (s *Status) Supersedes(row *Status) bool {
	switch {
	case row.State == StateSucceeded:
		return false
	case row.State.Final() && row.Token() == 0:
		return s.opens() || s.Version > row.Version
	case row.State.Final():
		return s.opens() && s.Token() > row.Token()
	case s.opens() && s.Token() > 0:
		return false
	}
	return s.Version > row.Version
}

// Saved is the store's answer for one status.
type Saved struct {
	// OK says that the status was stored, now or by an earlier call.
	OK bool
	// Repeated says, with OK, that it was an earlier call: the row had this version already. A producer that repeats
	// itself goes by it, as a job that was accepted before must not fail by a refusal now. Stores that cannot tell leave
	// it false.
	Repeated bool
	// Current is the state that the store holds when not OK. A final one says that the job is over, or that the host
	// wants it to be: it isn't run, and settled as that. Any other says that something later has written; which of the
	// unfinished states it is makes no difference, so a store that doesn't keep them apart may answer with any.
	Current State
	// Row is the stored status when not OK, if the store keeps whole ones.
	Row *Status
}

// StatusStore keeps the last status of each job. Implementations are checked with workertest.TestStatusStore.
//
// A store may be a table that the host has anyway, with words of its own for the states and a column for the version. It
// may then keep some types of jobs only and answer OK for all others, which run as they would without a store.
type StatusStore interface {
	// Save records each status that moves its job forward, as Status.Supersedes tells; a status whose version equals
	// the row's was stored before and is OK. There is at most one status per job in a call. Producers call it at any
	// time, and each pool has up to two calls under way, never with two statuses of one claim.
	//
	// The answers are in the order of the statuses; a nil slice means that all are OK. On an error they are ignored
	// and the same statuses come again, so Save may have stored some. A Permanent error says that the data cannot be
	// stored (so is an equal version with another queue or type, where the store keeps these); any other is the
	// store's own trouble, is tried again, and makes the pool stop claiming until it is over.
	Save(ctx context.Context, statuses ...Status) ([]Saved, error)
}

// Getter is a StatusStore that can be read.
type Getter interface {
	// Get returns the job's last status, and ErrJobNotFound when there is none. Status.Job is set when the store
	// keeps it.
	Get(ctx context.Context, id string) (*Status, error)
}

// Unfinished is a StatusStore whose jobs that are not over can be listed: what Client.Sweep goes through.
type Unfinished interface {
	// Unfinished returns up to limit rows in no final state that have not changed for idle by the store's own clock, and
	// a cursor for the next call, which is empty when there are no more. An empty cursor begins anew. The order is the
	// store's own; a row that stays as it is is on exactly one page. Status.Job need not be set: who wants it reads the
	// row with Get.
	Unfinished(ctx context.Context, idle time.Duration, cursor string, limit int) (rows []Status, next string, err error)
}

// SweepLock is a StatusStore that lets one process sweep at a time. All times are by the store's clock.
type SweepLock interface {
	// LockSweep takes the lock for owner, or prolongs it, until lease has passed. It reports false when another owner
	// holds it, or when a sweep ended less than rest ago.
	LockSweep(ctx context.Context, owner string, lease, rest time.Duration) (bool, error)
	// UnlockSweep notes that the owner's sweep has ended and gives the lock back, if the owner holds it.
	UnlockSweep(ctx context.Context, owner string) error
}

// Notifier tells users what became of their jobs. It is called with statuses that were saved, from one goroutine at a
// time, in order for each job; it may be slow or fail without harm to jobs.
type Notifier interface {
	// Notify tells of the statuses. The slice is the caller's again when it returns.
	Notify(ctx context.Context, statuses ...Status) error
}

// Resetter is a Notifier that can send the readers of a topic to a snapshot. The pool calls it when a job turns out to
// be over in a store that doesn't say how (Saved without a Row): who recorded the end may not have come to tell of it.
type Resetter interface {
	// Reset makes every reader of the topics, present or later, come upon an Event with Reset set.
	Reset(ctx context.Context, topics ...string) error
}

// NotifierFunc is a function that is a Notifier.
type NotifierFunc func(ctx context.Context, statuses ...Status) error

// Notify calls f.
func (f NotifierFunc) Notify(ctx context.Context, statuses ...Status) error {
	return f(ctx, statuses...)
}

// Event is what a Subscriber delivers. Exactly one of Status, Plain, Reset and CaughtUp is set.
type Event struct {
	// Position says where in the topic's log the reader is after this event. It is empty for what isn't in the log.
	Position string
	// Status is a status of one of the topic's jobs. Read only.
	Status *Status
	// Plain is what another program published on the topic's channel.
	Plain []byte
	// Reset says that events are missing here, as the log no longer holds them: read a snapshot.
	Reset bool
	// CaughtUp comes once, when all that the log held at the time of the call was delivered: what follows is live. Its
	// Position is the end of the log, empty when there was none.
	CaughtUp bool
}

// Subscriber delivers what a Notifier was told.
type Subscriber interface {
	// Subscribe delivers the topic's events after a position, oldest first: what the log holds, then CaughtUp, then
	// live ones, until ctx ends and the channel is closed. An empty position is the beginning of the log. After a
	// position that the log doesn't have, or has no longer, a Reset comes first.
	Subscribe(ctx context.Context, topic, after string) (<-chan Event, error)
}

// cleanText makes s storable anywhere: valid UTF-8, no NUL, at most MaxTextSize bytes, cut between characters.
func cleanText(s string) string {
	if len(s) > MaxTextSize {
		cut := MaxTextSize
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	return s
}
