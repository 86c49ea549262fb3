package model

const (
	maxJobs     = 2
	maxWorkers  = 2
	maxSessions = 3 // one more than workers: a dead session waits for its takeover
	maxSlots    = 2 // attempts of one worker
	maxClients  = 4
)

// token is a fencing token. Only the order of tokens matters, so states hold their ranks: see rankTokens.
type token = uint8

// State is all that the model remembers. It is comparable, has no pointers, and two states that behave the same are
// mostly equal: what nobody will look at again is zero.
type State struct {
	jobs     [maxJobs]queued
	sessions [maxSessions]session
	counter  token
	rows     [maxJobs]row
	workers  [maxWorkers]process
	clients  [maxClients]caller
	ghosts   [maxJobs]ghost
	left     Faults
	lostData bool   // the queue's server has lost its data once
	broken   breach // an event that must not happen has happened
}

// queued is what the queue keeps of one job: its entries in the lists as numbers, since their order is not modeled.
type queued struct {
	body              bool
	pending, suspects uint8
	void              uint8 // entries that no longer count
	scheduled         bool
	dead              rowState // how it ended, none while it isn't dead
	attempts, crashes uint8
	marked            bool // in cancels
}

// lease is where a worker's session stands in the queue.
type lease uint8

const (
	leaseNone    lease = iota // not registered
	leaseFresh                // renewed in time
	leaseExpired              // run out: others may see it
	leaseFenced               // being taken over
)

// session is a worker's session as the queue has it.
type session struct {
	lease     lease
	condemned bool // a reaper has seen it expired for the grace, and is about to take it over
	held      [maxJobs]token
}

func (s *session) registered() bool { return s.lease == leaseFresh || s.lease == leaseExpired }

// rowState is worker.State; scheduled and queued are one.
type rowState uint8

const (
	none rowState = iota
	waiting
	running
	retrying
	succeeded
	failed
	canceled
)

func (s rowState) final() bool { return s >= succeeded }

// The phases of worker.Status.Version.
const (
	phaseWaiting = iota
	phaseRunning
	phasePutBack
	phaseFinal
)

// row is a job's status in the store.
type row struct {
	state rowState
	token token
	phase uint8
}

func (r row) version() int { return int(r.token)<<2 | int(r.phase) }

// opens reports whether the row opens a round.
func (r row) opens() bool { return r.phase == phaseWaiting }

// refused reports whether the row says "not enqueued".
func (r row) refused() bool { return r.state == failed && r.token == 0 }

// power is whether a worker's process runs.
type power uint8

const (
	down power = iota
	up
	paused
)

// process is a worker: what a pool and its consumer keep in memory.
type process struct {
	power   power
	session uint8 // index + 1 in State.sessions; 0: it has none
	least   token // the highest token met in a status
	reply   claimReply
	beat    beatReply
	strange [maxJobs]stranger
	slots   [maxSlots]attempt
}

// claimReply is the answer to a claim, on its way.
type claimReply struct {
	under   bool // a claim is unanswered
	job     uint8
	attempt attempt
}

// beatReply is the answer to a heartbeat, on its way.
type beatReply struct {
	under  bool
	held   [maxJobs]token
	marked [maxJobs]bool
}

// stranger is a claim in the queue that the worker doesn't know, as of the last beat.
type stranger struct {
	token   token
	blocked bool // the claim that was unanswered at first sight still is
}

// progress is how far an attempt has come.
type progress uint8

const (
	idle    progress = iota
	claimed          // its running status is to be saved
	started          // its handler runs
	ended            // its outcome is to be saved
	settled          // its verdict is to be settled, or was given up
)

// verdict is worker.Action, as far as the queue tells them apart.
type verdict uint8

const (
	noVerdict verdict = iota
	complete
	retry
	release
	bury
	cancel
)

// attempt is one claim of one job inside a worker.
type attempt struct {
	at        progress
	job       uint8
	token     token
	inQueue   token // the token under which the queue has the claim
	number    uint8 // of the attempt, from 1
	crashes   uint8
	rejected  rowState // how it is to end without being run; none: it may run
	suspect   bool     // it may take the worker down
	outcome   rowState
	verdict   verdict
	overruled bool // its verdict is the row's
	settling  bool // a verdict was sent
	missing   bool // the queue lacked it at the last beat
	stopped   bool // its handler was told that the job is canceled
}

// caller is a client's operation under way. What it does is in World.Clients.
type caller struct {
	at       uint8
	job      uint8 // of a sweep
	token    token
	place    place
	row      row
	repeated bool
	reopened [maxJobs]token // what a sweeping process remembers
}

// place is worker.Place.
type place uint8

const (
	unknown place = iota
	waits
	held
	dead
)

// ghost is what nobody in the system knows: what has happened to a job, for the rules that it is judged by.
type ghost struct {
	accepted bool     // the queue had it once
	acked    bool     // a producer was told that it was enqueued
	tries    uint8    // attempts of this round that count
	deserved bool     // a handler of this round failed for good, or too many workers died
	over     rowState // how a settlement has ended this round
	canceled token    // of a cancel in this round whose caller was told of it
}
