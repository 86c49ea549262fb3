package redisqueue

import (
	"maps"
	"sync"

	"github.com/real-staging-ai/go-worker"
)

// ledger is what a worker believes to hold. The heartbeat compares it with what Redis says; it alone decides what a
// difference means, without a clock and without Redis.
type ledger struct {
	mu        sync.Mutex
	held      map[string]holding  // by job id
	strangers map[string]stranger // held in Redis, but not here, at the last beat
	claims    int                 // claims begun
	claiming  bool                // the last one is unanswered
	doubts    int                 // beats that a claim of unknown outcome keeps suspects away for
	suspects  int                 // held ones that may run
}

// holding is one job that the worker holds.
type holding struct {
	token    int64 // as it was handed out
	inRedis  int64 // as Redis has it: a later one once another entry of the job was claimed
	suspect  bool  // it may take this worker down
	settling int   // verdicts that were sent and not refused: by each of them Redis may have let go of it
	missing  bool  // Redis did not have it at the last beat
}

// stranger is a claim in Redis that nobody here knows, as from a claim whose reply was lost.
type stranger struct {
	token  int64
	claims int // claims begun when it was first seen
}

// held is one claim as the two sides compare it.
type held struct {
	id    string
	token int64
}

// empty reports whether the worker holds nothing.
func (l *ledger) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) == 0
}

func newLedger() *ledger {
	return &ledger{held: make(map[string]holding), strangers: make(map[string]stranger)}
}

// beginClaim says that a claim is about to be sent, and reports whether it may take a suspect that runs: only while
// none is held, and none can be held unknowingly.
func (l *ledger) beginClaim() (suspect bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims++
	l.claiming = true
	return l.suspects == 0 && l.doubts == 0 && len(l.strangers) == 0
}

// endClaim says that the claim was answered with jobs; those with threshold crashes are suspects. With unknown set it
// was not, and may still be executed. It returns the jobs without those that this worker holds already: an id was in
// the lists a second time, so the claim goes on under its new token.
func (l *ledger) endClaim(jobs []*worker.Job, threshold int, unknown bool) []*worker.Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claiming = false
	if unknown {
		l.doubts = 2
	}
	fresh := jobs[:0]
	for _, job := range jobs {
		if mine, ok := l.held[job.ID]; ok && mine.settling == 0 {
			mine.inRedis = job.Token
			l.held[job.ID] = mine
			continue
		}
		suspect := job.Reject == nil && job.Crashes >= threshold
		l.forgetLocked(job.ID)
		l.held[job.ID] = holding{token: job.Token, inRedis: job.Token, suspect: suspect}
		if suspect {
			l.suspects++
		}
		fresh = append(fresh, job)
	}
	return fresh
}

// inRedis returns the token under which Redis has the claim that a job was handed out by.
func (l *ledger) inRedis(job *worker.Job) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inRedisLocked(job)
}

// allInRedis returns the same of the verdicts' jobs.
func (l *ledger) allInRedis(verdicts []worker.Verdict) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	tokens := make([]int64, len(verdicts))
	for i, v := range verdicts {
		tokens[i] = l.inRedisLocked(v.Job)
	}
	return tokens
}

func (l *ledger) inRedisLocked(job *worker.Job) int64 {
	if mine, ok := l.held[job.ID]; ok && mine.token == job.Token {
		return mine.inRedis
	}
	return job.Token
}

// settling says that verdicts are about to be sent.
func (l *ledger) settling(verdicts []worker.Verdict) { l.addSettling(verdicts, 1) }

// refused says that the verdicts were not executed as they were sent last; earlier ones without an answer may have been.
func (l *ledger) refused(verdicts []worker.Verdict) { l.addSettling(verdicts, -1) }

func (l *ledger) addSettling(verdicts []worker.Verdict, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range verdicts {
		if h, ok := l.held[v.Job.ID]; ok && h.token == v.Job.Token {
			h.settling += n
			l.held[v.Job.ID] = h
		}
	}
}

// sentOnce returns those of the verdicts that Redis ignored which settled nothing: an ignored one that was sent before, and
// not answered, has done its work by then.
func (l *ledger) sentOnce(ignored []worker.Verdict) (some []worker.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range ignored {
		if h, ok := l.held[v.Job.ID]; !ok || h.token != v.Job.Token || h.settling < 2 {
			some = append(some, v)
		}
	}
	return some
}

// settled says that Redis has executed the verdicts, and reports whether this worker may take a suspect again by that.
func (l *ledger) settled(verdicts []worker.Verdict) (freed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.suspects
	for _, v := range verdicts {
		if h, ok := l.held[v.Job.ID]; ok && h.token == v.Job.Token {
			l.forgetLocked(v.Job.ID)
		}
	}
	return before > 0 && l.suspects == 0
}

// drop forgets a claim that Redis no longer has.
func (l *ledger) drop(h held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mine, ok := l.held[h.id]; ok && mine.token == h.token {
		l.forgetLocked(h.id)
	}
}

func (l *ledger) forgetLocked(id string) {
	if l.held[id].suspect {
		l.suspects--
	}
	delete(l.held, id)
}

// token returns the token that a job is held under.
func (l *ledger) token(id string) (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.held[id]
	return h.token, ok
}

// compare takes in what Redis says at a beat that the worker holds. It returns the claims to give back, unknown here at
// two beats with no claim unanswered since before the first; and those that are lost, held here but missing there at
// two beats with no verdict under way or unanswered. The caller drops a lost one when somebody was told.
func (l *ledger) compare(redis map[string]int64) (strange, lost []held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[string]stranger)
	for id, token := range redis {
		if mine, ok := l.held[id]; ok && mine.inRedis == token {
			continue
		}
		s, again := l.strangers[id]
		if !again || s.token != token {
			s = stranger{token: token, claims: l.claims}
		} else if !l.claiming || l.claims > s.claims {
			strange = append(strange, held{id, token})
		}
		seen[id] = s
	}
	l.strangers = seen
	if len(seen) == 0 && l.doubts > 0 {
		l.doubts--
	}
	for id, mine := range maps.All(l.held) {
		token, ok := redis[id]
		missing := mine.settling == 0 && (!ok || token != mine.inRedis)
		if missing && mine.missing {
			lost = append(lost, held{id, mine.token})
		}
		mine.missing = missing
		l.held[id] = mine
	}
	return strange, lost
}
