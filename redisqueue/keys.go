package redisqueue

import (
	"fmt"

	"github.com/real-staging-ai/go-worker"
)

// keys are the names of one queue's keys in Redis. They share one hash tag, so that the scripts that touch several of
// them run on a cluster.
type keys struct {
	prefix string
	own    string // the unique key of the job that a call is about, empty when it has none
}

// The keys of a queue, as the headers of the scripts name them. The inflight hashes are one for each worker, the
// overtaking strings one for each claim that needs it.
const (
	keyPending     = "pending"     // LIST of job ids, oldest left
	keySuspects    = "suspects"    // LIST of ids that have taken down workers, claimed before pending
	keyJobs        = "jobs"        // HASH id → encoded job
	keyHistory     = "history"     // HASH id → "attempts crashes [due [trace]]", for dead ones "attempts crashes state cause"
	keyCheckpoints = "checkpoints" // HASH id → bytes
	keyCancels     = "cancels"     // HASH id → token of the cancel
	keyVoid        = "void"        // HASH id → how many entries in pending and suspects no longer count
	keyWorkers     = "workers"     // ZSET worker → lease deadline in Redis time; 0 once fenced
	keyScheduled   = "scheduled"   // ZSET id → due
	keyDead        = "dead"        // ZSET id → time of death
	keyPaused      = "paused"      // HASH "since" → ms, while nothing is to be claimed
	keyWake        = "wake"        // LIST of at most one token
	keyToken       = "token"       // STRING, the fencing counter
	keyTicks       = "ticks"       // HASH name of a schedule → its last tick in ms
	keyOvertaking  = "overtaking"  // STRING, number of a checkpoint that an earlier one must not follow; of one claim, an hour
	keyInflight    = "inflight"    // HASH id → fencing token, of one worker
	keyInfo        = "info"        // HASH worker → what it tells of its process, as JSON
	keyRates       = "rates"       // HASH minute and letter → settlements; an hour
	keyUnique      = "unique"      // STRING id of the job that has a unique key; one for each key
	keyUniques     = "unique..."   // those of several keys; last in a header
	keyOthers      = "inflight..." // the inflight hashes of all workers that a call names; last in a header
)

// keysOf returns the keys of a queue. Neither namespace nor queue contains a brace: New and worker.CheckQueueName see
// to it.
func keysOf(namespace, queue string) keys {
	return keys{prefix: fmt.Sprintf("{%s:%s}:", namespace, queue)}
}

// name returns the key of a name above other than the inflight ones and those of several unique keys.
func (k keys) name(key string) string {
	if key == keyUnique && k.own != "" {
		return k.unique(k.own)
	}
	return k.prefix + key
}

// unique returns where it stands which job has a unique key.
func (k keys) unique(key string) string { return k.prefix + keyUnique + ":" + key }

// of returns the keys for a call about a job of that unique key: without one, a key that is nobody's stands in its place.
func (k keys) of(u *worker.Unique) keys {
	if u != nil {
		k.own = u.Key
	}
	return k
}

// inflight returns the key of what a worker holds.
func (k keys) inflight(worker string) string { return k.prefix + keyInflight + ":" + worker }

// queuesKey returns the key of the SET of all queues' names. It is the one key of a namespace that belongs to no queue.
func queuesKey(namespace string) string { return namespace + ":queues" }
